"""All events of a run in time order, as JSON lines on disk and in memory for the picture."""

import json
import logging
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic, utc_now, utc_text

logger = logging.getLogger(__name__)


class EventKind(StrEnum):
    """What an event is about; it decides the colour in the picture."""

    DEPLOY = "deploy"
    LOAD = "load"
    PHASE = "phase"
    FAULT = "fault"
    EVIDENCE = "evidence"
    RECOVERED = "recovered"
    GOOD = "good"


@dataclass(frozen=True)
class Event:
    """Something happened; `monotonic_s` compares with the records of requests, `data` is for programs."""

    at: str
    monotonic_s: float
    kind: EventKind
    text: str
    test: str
    data: dict[str, Any] = field(default_factory=dict)


class Timeline:
    """Collects events; each goes to the file at once."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.test = ""
        self._path: Path | None = None

    def write_to(self, path: Path) -> None:
        """Write all further events to that file."""
        path.parent.mkdir(parents=True, exist_ok=True)
        self._path = path

    def add(self, kind: EventKind, text: str, monotonic_s: float | None = None, **data: Any) -> Event:
        """Note an event, at `monotonic_s` if it was before now."""
        now = monotonic()
        moment = now if monotonic_s is None else monotonic_s
        at = utc_text(utc_now() - timedelta(seconds=now - moment))
        event = Event(at, moment, kind, text, self.test, data)
        self.events.append(event)
        if self._path is not None:
            try:
                with self._path.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(asdict(event)) + "\n")
            except OSError as error:  # faults come off and graphs go though nobody can note it
                logger.warning("'%s' is not in '%s': %s", text, self._path, error.strerror)
        return event

    def of_test(self, test: str) -> list[Event]:
        """Events of one test in time order."""
        return sorted((event for event in self.events if event.test == test), key=lambda event: event.monotonic_s)
