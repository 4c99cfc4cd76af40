"""Results folders of upstream's older fault tests (origins 2 and 3): ``test.log.txt``, ``client_N.log.txt`` a client.

Facts: ``legacy_client.py`` and ``legacy_parse_results.py`` in tests/fault_tolerance/deploy of ai-dynamo/dynamo 03d1b8a.
A line of a client is a request with all its attempts; its time, to the second, is that of its end. Neither file names a
time zone; they are read as UTC.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.table import OUTCOMES, Row, Table, rows_of
from DynamoFaultLibrary.load.windows import FaultWindow

LOG_FILE = "test.log.txt"
CLIENTS = "client_*.log.txt"
_LEAST_LETTERS = 100
"""Upstream's rule: a shorter answer has failed."""
_STARTING, _READY, _INJECTING = "Starting Deployment ", " is ready", "Injecting failure for:"
_NONE = float("nan")


def is_upstream(directory: Path) -> bool:
    """Whether clients of upstream have written there."""
    return next(directory.glob(CLIENTS), None) is not None


def read_table(directory: Path) -> Table:
    """Read the requests of all clients; a torn last line is left out.

    Raises:
        LoadError: a file cannot be read, or a line is of another tool.
    """
    what = "request of upstream's client"
    return Table.from_rows(row for path in sorted(directory.glob(CLIENTS)) for row in rows_of(path, _row, what))


def _row(data: dict[str, Any]) -> Row:
    ended, took, attempts = _moment(data["time"]), data["total_time"], data["results"]
    last = attempts[-1]
    usage = (last["result"] or {}).get("usage") or {}
    status = last["status"]
    return (
        ended - took,
        ended,
        took,
        _NONE,
        _NONE,
        _NONE,
        usage.get("prompt_tokens") or 0,
        usage.get("completion_tokens") or 0,
        len(attempts) - 1,
        0,
        status if isinstance(status, int) else _NONE,
        OUTCOMES.index(_outcome(status, last["result"])),
        _NONE,
        ended - last["request_elapsed_time"] if len(attempts) > 1 else _NONE,
        _NONE,
    )


def _outcome(status: int | str, result: dict[str, Any] | None) -> Outcome:
    if isinstance(status, str):  # the text of an exception
        return Outcome.TIMEOUT if "timed out" in status.lower() else Outcome.CONNECTION
    if status != 200:
        return Outcome.HTTP_ERROR
    choices = (result or {}).get("choices")
    if not choices:
        return Outcome.MALFORMED
    message = choices[0].get("message") or {}
    words = message.get("content") or message.get("reasoning_content") or choices[0].get("text") or ""
    return Outcome.OK if len(words) >= _LEAST_LETTERS else Outcome.TRUNCATED


@dataclass(frozen=True)
class ScenarioLog:
    """What upstream's test says of itself."""

    startup_s: float | None
    faults: list[FaultWindow]

    @classmethod
    def of(cls, load: Path) -> "ScenarioLog":
        """By the log in the load's folder, or in one of the two above it, where aiperf's clients have their own."""
        found = next((place for place in [load, *load.parents[:2]] if (place / LOG_FILE).exists()), None)
        return cls(None, []) if found is None else cls._read(found)

    @classmethod
    def _read(cls, directory: Path) -> "ScenarioLog":
        text = (directory / LOG_FILE).read_text(encoding="utf-8", errors="replace")
        moments: dict[str, list[float]] = {_STARTING: [], _READY: [], _INJECTING: []}
        for line in text.splitlines():
            what = next((mark for mark in moments if mark in line and (mark != _READY or "Deployment " in line)), None)
            moment = re.search(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", line)
            if what and moment:
                moments[what].append(_moment(moment[0]))
        startup = moments[_READY][0] - moments[_STARTING][0] if moments[_READY] and moments[_STARTING] else None
        return cls(startup, [FaultWindow(_failure(directory), at, at, None) for at in moments[_INJECTING]])


def _failure(directory: Path) -> str:
    """The name of the folder ends with it: ``test_fault_scenario[vllm-agg-tp-1-dp-1-decode_worker]``."""
    scenario = re.search(r"\[(.+)\]", directory.name)
    return scenario[1].rpartition("-")[2] if scenario else "failure"


def _moment(text: str) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()
