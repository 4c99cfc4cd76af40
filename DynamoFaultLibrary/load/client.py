"""The other end of a sending process: starts it, commands it, waits for its events."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Record, RequestSpec, read_records
from DynamoFaultLibrary.runner import module_environment

RECORDS_FILE = "requests.jsonl"


class SenderProcess:
    """One sending process. It dies by itself when this process does: its standard input ends."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.records = directory / RECORDS_FILE
        self.log = directory / "sender.log"
        self._changed = threading.Condition()
        self._events: list[dict[str, Any]] = []
        self._ended = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "DynamoFaultLibrary.load.sender", str(self.records)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
                env=module_environment(),
                start_new_session=True,
            )
        threading.Thread(target=self._collect, name=f"events of {directory.name}", daemon=True).start()

    @property
    def pid(self) -> int:
        """Its process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process lives."""
        return self._process.poll() is None

    def command(self, do: str, **arguments: Any) -> None:
        """Send a command.

        Raises:
            LoadError: the process is gone.
        """
        try:
            stream = self._process.stdin
            if stream is None or stream.closed:
                raise BrokenPipeError("closed")
            stream.write(json.dumps({"do": do, **arguments}) + "\n")
            stream.flush()
        except (BrokenPipeError, ValueError) as error:
            raise LoadError(f"the sending process {self.pid} is gone ({error}); see {self.log}") from error

    def wait_for(self, matches: Callable[[dict[str, Any]], bool], timeout: timedelta, what: str) -> dict[str, Any]:
        """Wait for the first event that `matches`, those that came before included.

        Raises:
            LoadError: it did not come in time, or the process is gone.
        """
        deadline = monotonic() + timeout.total_seconds()
        seen = 0
        with self._changed:
            while True:
                for event in self._events[seen:]:
                    if matches(event):
                        return event
                seen = len(self._events)
                if self._ended:
                    raise LoadError(f"waited for {what}, but the sending process {self.pid} is gone; see {self.log}")
                left = deadline - monotonic()
                if left <= 0:
                    raise LoadError(f"waited {timeout.total_seconds():g} s for {what}; records so far: {self.records}")
                # Short waits: Robot's timeouts interrupt this thread only between them.
                self._changed.wait(min(left, 0.2))

    def find(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """The first event that `matches` among those that have come."""
        with self._changed:
            return next((event for event in self._events if matches(event)), None)

    def close(self, timeout: float = 5.0) -> None:
        """Cancel what is in flight, let it be recorded, and end the process."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            self._process.wait(timeout)

    def _collect(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  # it was opened as a pipe
        for line in stream:
            with self._changed:
                self._events.append(json.loads(line))
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()


@dataclass
class Request:
    """A request that was started. `record` is there once it has ended."""

    spec: RequestSpec
    sender: SenderProcess
    record: Record | None = None

    def __str__(self) -> str:
        how = "streaming" if self.spec.streaming else "unary"
        return f"request '{self.spec.id}' ({how} {self.spec.endpoint.value}, {self.spec.max_tokens} tokens)"

    @property
    def id(self) -> str:
        """Our id of it, the ``x-request-id`` header."""
        return self.spec.id

    def wait(self, timeout: timedelta) -> Record:
        """Wait for its end.

        Raises:
            LoadError: it has not ended in time.
        """
        if self.record is None:
            event = self.sender.wait_for(
                lambda e: e["event"] == "done" and e["record"]["id"] == self.id, timeout, f"the end of {self}"
            )
            self.record = Record.from_json(event["record"])
        return self.record

    def has_ended_before(self, moment_s: float) -> bool:
        """Whether its end is known and was before `moment_s` on the monotonic clock."""
        event = self.sender.find(lambda e: e["event"] == "done" and e["record"]["id"] == self.id)
        return event is not None and event["record"]["ended_monotonic_s"] < moment_s

    def wait_for_tokens(self, tokens: int, timeout: timedelta) -> None:
        """Wait until it has streamed so many tokens.

        Raises:
            LoadError: it has not in time, or it ended before.
        """
        self.sender.command("watch", id=self.id, tokens=tokens)
        event = self.sender.wait_for(
            lambda e: e["event"] == "tokens" and e["id"] == self.id and e["tokens"] == tokens,
            timeout,
            f"{tokens} tokens of {self}",
        )
        if not event["reached"]:
            raise LoadError(f"{self} has ended before it had {tokens} tokens; see {self.sender.records}")


@dataclass
class Load:
    """A load that was started."""

    plan: LoadPlan
    sender: SenderProcess
    scope: str = ""
    """Full name of the test that it belongs to; empty: to its suite."""
    was_stopped: bool | None = None
    """Whether it was stopped before its end; None while it runs."""

    def stop(self) -> None:
        """Start no more requests."""
        self.sender.command("stop")

    def wait(self, timeout: timedelta) -> None:
        """Wait until its last request has ended, and end its process.

        Raises:
            LoadError: it has not ended in time.
        """
        if self.was_stopped is None:
            event = self.sender.wait_for(
                lambda e: e["event"] == "finished", timeout, f"the end of load '{self.plan.name}'"
            )
            self.was_stopped = bool(event["was_stopped"])
            self.sender.close()

    def give_up(self) -> None:
        """Cancel what is in flight and end its process, if it runs."""
        if self.was_stopped is None:
            self.sender.close()
            self.was_stopped = True

    def records(self) -> list[Record]:
        """Its records so far.

        Raises:
            LoadError: there are none.
        """
        records = read_records(self.sender.records)
        if not records:
            raise LoadError(f"load '{self.plan.name}' has no finished request yet ({self.sender.records})")
        return records
