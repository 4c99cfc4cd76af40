"""One thread that waits for all. No asyncio: importing it would double the time that a run waits for its guard."""

import logging
import math
import os
import selectors
import signal
import socket
from collections.abc import Callable

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.processes import ProcessId

logger = logging.getLogger("guard")

LONGEST_SLEEP = 3600.0
"""Seconds that the loop sleeps at a time: a selector takes no number that is too large."""


class Loop:
    """Waits for readable descriptors, signals and deadlines; everything else happens in their callbacks."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._deadlines: dict[str, tuple[float, Callable[[], object]]] = {}
        self.running = True

    def watch(self, descriptor: int, callback: Callable[[], object]) -> None:
        """Call back whenever `descriptor` is readable."""
        self._selector.register(descriptor, selectors.EVENT_READ, callback)

    def on_end(self, process: ProcessId, callback: Callable[[], object]) -> None:
        """Call back once when a process has ended, at once if it has."""
        try:
            descriptor = os.pidfd_open(process.pid)
        except ProcessLookupError:
            callback()
            return

        def ended() -> None:
            self._selector.unregister(descriptor)
            os.close(descriptor)
            callback()

        self.watch(descriptor, ended)

    def on_child(self, callback: Callable[[], object]) -> None:
        """Call back after a child has changed its state."""
        reading, writing = socket.socketpair()
        for end in (reading, writing):
            end.setblocking(False)
        signal.set_wakeup_fd(writing.fileno(), warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda number, frame: None)

        def woken(kept: socket.socket = writing) -> None:
            reading.recv(4096)
            callback()

        self.watch(reading.fileno(), woken)

    def call_later(self, key: str, seconds: float, callback: Callable[[], object]) -> None:
        """Call back once after so many seconds; the same key replaces an earlier deadline."""
        self._deadlines[key] = (monotonic() + seconds, callback)

    def cancel(self, key: str) -> None:
        """Drop a deadline."""
        self._deadlines.pop(key, None)

    def run(self) -> None:
        """Go on until `running` is false."""
        while self.running:
            due = min((moment for moment, _ in self._deadlines.values()), default=None)
            left = LONGEST_SLEEP if due is None else min(max(0.0, due - monotonic()), LONGEST_SLEEP)
            for event, _ in self._selector.select(left):
                event.data()
            now = monotonic()
            for key in [key for key, (moment, _) in self._deadlines.items() if moment <= now]:
                self._call_due(key, now)

    def _call_due(self, key: str, now: float) -> None:
        """Call back, unless another callback has cancelled or moved this deadline since."""
        moment, callback = self._deadlines.get(key, (math.inf, None))
        if callback is None or moment > now:
            return
        self.cancel(key)
        try:
            callback()
        except Exception:
            logger.exception("what was due for '%s' failed", key)
