"""The guard: a process of its own that takes off what a run has put on, whatever kills the run.

It is no descendant of robot (pabot kills those first) and talks with robot over one socket, in lines of JSON. End of
file on that socket means that robot is gone, in whatever way: then each fault is undone, and the guard ends. Should it
be killed itself, its sentinel takes off what is left.

A platform that hosts no processes starts it as it is (``python -S -m DynamoFaultLibrary.guard``), another one extends
`Guard` with what robot may call (methods ``call_…``) and with what only it can undo.
"""

import logging
import os
import signal
import socket
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic, utc_now
from DynamoFaultLibrary.errors import FaultLibraryError, LedgerError
from DynamoFaultLibrary.guard.job import Job
from DynamoFaultLibrary.guard.loop import Loop
from DynamoFaultLibrary.guard.messages import Messages
from DynamoFaultLibrary.guard.sentinel import Sentinel
from DynamoFaultLibrary.ledger import Entry, Ledger, State
from DynamoFaultLibrary.ledger.recovery import problems, recover_owned, undoer_for
from DynamoFaultLibrary.ledger.undo import undo, undoer_of
from DynamoFaultLibrary.owner import RENEWAL_S, Owner, renew

logger = logging.getLogger("guard")
IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""What a guard ignores: a signal to all processes of a run is to end robot, and the guard outlives that."""

GRACE = 3.0
"""Seconds that robot gets to tear down after pabot was killed."""


@dataclass(eq=False)
class Guard:
    """Serves one client until the end of its life."""

    job: Job
    ledger: Ledger
    sentinel: Sentinel
    client: Messages
    loop: Loop = field(default_factory=Loop)
    guarded: dict[str, Entry] = field(default_factory=dict)

    def serve(self) -> None:
        """Answer calls until the client is gone, then undo everything."""
        self.loop.on_child(self.reap)
        self.loop.watch(self.job.descriptor, self._receive)
        if self.job.pabot:
            self.loop.on_end(self.job.pabot, self._pabot_is_gone)
        self.loop.call_later("lease", 0, self._renew_lease)
        self.loop.run()
        self._finish()

    # What a platform may have its own way

    def answer(self, identity: int, call: str, arguments: dict[str, Any]) -> None:
        """Carry out a call and reply."""
        self.reply(identity, getattr(self, f"call_{call}")(**arguments))

    def child_ended(self, pid: int, status: int) -> None:
        """A child other than the sentinel was reaped, with this wait status."""

    def undo_entry(self, entry: Entry) -> str:
        """Undo a fault whose run goes on; returns what was done."""
        return undo(entry.undo, self.ledger.state)

    def end_hosted(self) -> None:
        """The run is over and its faults are off: end what else was started."""

    # Calls of the client

    def call_guard(self, entry: dict[str, Any]) -> None:
        """Undo this fault when its time is over or the client is gone. Guarding it again moves its expiry.

        Raises:
            RecoveryError: this process cannot know how to undo it, so it must not be injected.
        """
        guarded = Entry.from_json(entry)
        undoer_of(guarded.undo)
        self.guarded[guarded.id] = guarded
        if guarded.expires_at:
            left = (guarded.expires_at - utc_now()).total_seconds()
            self.loop.call_later(guarded.id, left, lambda: self._expire(guarded.id))

    def call_release(self, identity: str) -> None:
        """Stop guarding a fault: the client has undone it."""
        self.guarded.pop(identity, None)
        self.loop.cancel(identity)

    def _receive(self) -> None:
        try:
            requests = self.client.receive()
        except OSError:
            self.loop.running = False
            return
        for request in requests:
            try:
                self.answer(request["id"], request["call"], request["arguments"])
            except Exception as error:
                if not isinstance(error, FaultLibraryError | OSError):
                    logger.exception("call %s failed", request["call"])
                self.reply(request["id"], error=error)

    def reply(self, identity: int, result: Any = None, error: Exception | None = None) -> None:
        """Answer a call."""
        message: dict[str, Any] = {"id": identity, "result": result}
        if error is not None:
            message["error"] = [type(error).__name__, str(error)]
        try:
            self.client.send(message)
        except OSError:
            self.loop.running = False

    def reap(self) -> None:
        """See which children have ended."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return
            if pid == 0:
                return
            if pid == self.sentinel.pid:
                self._restart_sentinel()
            else:
                self.child_ended(pid, status)

    def _restart_sentinel(self) -> None:
        logger.warning("the sentinel was ended from outside; starting another")
        try:
            self.sentinel.start()
        except OSError as error:  # no process or descriptor is left for it; go on without
            logger.error("no sentinel can be started: %s", error)

    def _renew_lease(self) -> None:
        """Show other machines that the run is alive."""
        self.loop.call_later("lease", RENEWAL_S, self._renew_lease)
        renew(self._lease)

    @property
    def _lease(self) -> Path:
        return self.ledger.lease(self.ledger.owner)

    # Undoing

    def _expire(self, identity: str) -> None:
        """Undo a fault, and with it those that come off by the same deed. What fails is tried again at the end."""
        if identity not in self.guarded:
            return
        recipe = self.guarded[identity].undo
        for entry in [entry for entry in self.guarded.values() if entry.undo == recipe]:
            if self.try_undo(entry, "its time was over: ") is None:
                self.call_release(entry.id)

    def try_undo(self, entry: Entry, reason: str = "") -> str | None:
        """Undo what is not closed, and return what went wrong, whatever it was: there are others to undo."""
        try:
            if entry.state.is_open:
                self.close(entry, reason + self.undo_entry(entry))
        except Exception as error:
            logger.error("%s is not undone: %r", entry.id, error, exc_info=not isinstance(error, FaultLibraryError))
            return str(error) or repr(error)
        return None

    def close(self, entry: Entry, detail: str) -> None:
        """Record that an entry is undone. A ledger that cannot be written changes nothing about that."""
        logger.info("%s undone: %s", entry.id, detail)
        try:
            self.ledger.mark(entry, State.RECOVERED, detail)
        except LedgerError as error:
            logger.error("%s", error)

    def _finish(self) -> None:
        """Undo what we know of, then what the ledger alone knows: the client may have died before it told us."""
        began = monotonic()
        logger.info("the client is gone; undoing %d faults", len(self.guarded))
        for entry in reversed(self.guarded.values()):
            if not undoer_for(entry).goes_with_deployment:
                self.try_undo(entry, "the run ended: ")
        for step in (self.end_hosted, self._recover_by_ledger, partial(self._lease.unlink, missing_ok=True)):
            try:
                step()
            except Exception as error:
                logger.error("%r", error)
        logger.info("finished after %.3f s", monotonic() - began)
        if self.job.pabot and not self.job.pabot.is_running:
            self._end_pabots_helpers()  # robot may be gone before we have seen pabot's end

    def _recover_by_ledger(self) -> None:
        for line in problems([recover_owned(self.ledger)]):
            logger.error("%s", line)

    # Pabot

    def _pabot_is_gone(self) -> None:
        """The kernel has told robot; end it if it does not listen, and pabot's own server at once."""
        logger.info("pabot is gone; robot has %.1f s to tear down", GRACE)
        self._end_pabots_helpers()
        self.loop.call_later("pabot", GRACE, lambda: self.job.client.send(signal.SIGKILL))

    def _end_pabots_helpers(self) -> None:
        for helper in self.job.pabot_helpers:
            helper.send(signal.SIGKILL)


def run_guard(guard: type[Guard], words: list[str]) -> None:
    """Be the guard that a command line asks for: detach from the caller, then serve. Logs to standard error."""
    job = Job.from_words(words)
    if os.fork() > 0:
        os._exit(0)
    for number in IGNORED:
        signal.signal(number, signal.SIG_IGN)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    logger.info("%s %d of run %s, client %d", guard.__name__.lower(), os.getpid(), job.run, job.client.pid)
    ledger = Ledger(job.run, Owner(job.client))
    sentinel = Sentinel(ledger, job.descriptor)
    sentinel.start()
    guard(job, ledger, sentinel, Messages(socket.socket(fileno=job.descriptor))).serve()
    sentinel.dismiss()
