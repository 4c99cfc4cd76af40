"""The other end of a sending process: starts it, commands it, waits for its events."""

import json
import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import psutil

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import LoadError, NothingComes, Unanswered
from DynamoFaultLibrary.load.folder import RECORDS_FILE
from DynamoFaultLibrary.modules import module_environment

Why = Callable[[], str]
"""Says why nothing more can come from a server; empty when something may."""


class SenderProcess:
    """One sending process. It dies by itself when this process does: its standard input ends."""

    def __init__(self, directory: Path, module: str = "DynamoFaultLibrary.load.sender") -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.records = directory / RECORDS_FILE
        self.log = directory / "sender.log"
        self.progress: dict[str, Any] = {}
        """The last event of that name: how the load goes."""
        self._changed = threading.Condition()
        self._events: list[dict[str, Any]] = []
        self._ended = False
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [sys.executable, "-m", module, str(self.records)],
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

    @property
    def how_it_ended(self) -> str:
        """The signal or exit status by which the process has ended."""
        status = self._process.wait()
        return f"killed by {signal.Signals(-status).name}" if status < 0 else f"exit status {status}"

    def join(self, timeout: float = 5.0) -> None:
        """Wait for the end of a process that has closed its output."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(timeout)

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
            raise LoadError(
                f"the process {self.pid} that sends requests has ended, so it takes none; see {self.log}"
            ) from error

    def wait_for(
        self,
        matches: Callable[[dict[str, Any]], bool],
        timeout: timedelta,
        what: str,
        on_progress: Callable[[dict[str, Any]], None] | None = None,
        nothing_comes: Why = lambda: "",
    ) -> dict[str, Any]:
        """Wait for the first event that `matches`, those that came before included.

        Raises:
            NothingComes: `nothing_comes` says why it cannot come any more.
            LoadError: it did not come in time, or the process is gone.
        """
        deadline = monotonic() + timeout.total_seconds()
        seen, why = 0, ""
        with self._changed:
            while True:
                for event in self._events[seen:]:
                    if matches(event):
                        return event
                seen = len(self._events)
                if self._ended:
                    raise LoadError(f"waited for {what}, but the sending process {self.pid} is gone; see {self.log}")
                if why:
                    raise NothingComes(f"waited for {what}, but {why}; records so far: {self.records}")
                why = nothing_comes()  # what came before that is looked at once more
                left = deadline - monotonic()
                if left <= 0:
                    raise Unanswered(f"waited {timeout.total_seconds():g} s for {what}; records so far: {self.records}")
                if on_progress is not None and self.progress:
                    on_progress(self.progress)
                # Short waits: Robot's timeouts interrupt this thread only between them.
                self._changed.wait(min(left, 0.2))

    def find(self, matches: Callable[[dict[str, Any]], bool]) -> dict[str, Any] | None:
        """The first event that `matches` among those that have come."""
        with self._changed:
            return next((event for event in self._events if matches(event)), None)

    def close(self, timeout: float = 5.0) -> None:
        """Cancel what is in flight, let it be recorded, and end the process; one that is late, with all it started."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            started = psutil.Process(self._process.pid).children(recursive=True)
            os.killpg(self._process.pid, signal.SIGKILL)
            for child in started:  # aiperf and its own are in another group
                with suppress(psutil.NoSuchProcess):
                    child.kill()
            self._process.wait(timeout)

    def _collect(self) -> None:
        stream = self._process.stdout
        assert stream is not None  # noqa: S101  # it was opened as a pipe
        for line in stream:
            if not line.endswith("\n"):
                break  # it was killed while it wrote
            event = {**json.loads(line), "arrived_s": monotonic()}
            with self._changed:
                if event["event"] == "progress":
                    self.progress = event
                else:
                    self._events.append(event)
                self._changed.notify_all()
        with self._changed:
            self._ended = True
            self._changed.notify_all()
