"""Robot's end of a guard: starts it, calls it."""

import itertools
import os
import socket
import subprocess
import sys
from collections.abc import Callable
from functools import partial
from typing import Any

from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, LedgerError, RecoveryError
from DynamoFaultLibrary.guard.job import Job
from DynamoFaultLibrary.guard.messages import Messages
from DynamoFaultLibrary.ledger import Entry, Ledger
from DynamoFaultLibrary.ledger.recovery import problems, recover_dead_runs, recover_owned
from DynamoFaultLibrary.modules import module_environment
from DynamoFaultLibrary.owner import renew
from DynamoFaultLibrary.pabot import pabot_above, pabot_helpers
from DynamoFaultLibrary.processes import ProcessId

REPLY_TIMEOUT = 30.0
UNDO_TIMEOUT = 2 * REPLY_TIMEOUT
"""Seconds that a reply may take when processes are ended before it; a driver may need many to let go of a GPU."""

_ERRORS: dict[str, type[FaultLibraryError]] = {error.__name__: error for error in (RecoveryError, LedgerError)}


class GuardClient:
    """Calls to one guard process. Closing it, or dying, makes the guard undo everything and end."""

    module = "DynamoFaultLibrary.guard"
    called = "guard"
    """What messages call it."""

    def __init__(self, ledger: Ledger, on_gone: Callable[[], str] = lambda: "") -> None:
        """Start one. `on_gone` is called when it turns out to be gone; it says what went with it.

        Raises:
            DeploymentError: it cannot be started.
            LedgerError: there is no place for a ledger.
        """
        recover_dead_runs(ledger.path)
        self._ledger = ledger
        self._on_gone = on_gone
        self._ids = itertools.count()
        self._connection, theirs = socket.socketpair()
        self._messages = Messages(self._connection)
        self.log = ledger.path.with_suffix(f".{os.getpid()}.log")
        ledger.make_place()
        job = Job(theirs.fileno(), ledger.run, ledger.owner.process, *_runner_processes())
        try:
            with theirs, open(self.log, "ab", opener=partial(os.open, mode=0o600)) as log:
                self._launcher = subprocess.Popen(
                    [sys.executable, "-S", "-m", self.module, *job.to_words()],  # robot waits for it: no site-packages
                    pass_fds=[theirs.fileno()],
                    env=module_environment(),
                    start_new_session=True,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    cwd="/",
                )
            renew(ledger.lease(ledger.owner))  # the guard goes on with that, but not before it has started
        except OSError as error:
            self._connection.close()
            raise DeploymentError(
                f"the {self.called} cannot be started with log '{self.log}': {error.strerror}"
            ) from error

    def close(self) -> None:
        """Hang up; the guard undoes what is left and ends. Returns when it has.

        Raises:
            RecoveryError: something is left.
        """
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(UNDO_TIMEOUT)
            while True:
                self._messages.receive()
        except OSError:
            pass
        self._connection.close()
        self._launcher.poll()
        if left := problems([recover_owned(self._ledger)]):
            raise RecoveryError("; ".join(left))

    def guard(self, entry: Entry) -> None:
        """Have a fault undone at its expiry, or when this process dies."""
        self.call("guard", entry=entry.to_json())

    def release(self, entry: Entry) -> None:
        """Stop guarding a fault."""
        self.call("release", identity=entry.id)

    def call(self, call: str, reply_timeout: float = REPLY_TIMEOUT, **arguments: Any) -> Any:
        """Have the guard carry out its method ``call_…``; returns what it replies.

        Raises:
            DeploymentError: the guard has not started, does not answer in `reply_timeout` seconds, or is gone; or
                something else went wrong there.
            RecoveryError, LedgerError: as raised by the guard.
        """
        try:
            self._connection.settimeout(reply_timeout)
            reply = self._ask({"id": next(self._ids), "call": call, "arguments": arguments})
        except TimeoutError as error:
            done = "started" if self._launcher.poll() is None else f"answered '{call}'"
            raise DeploymentError(f"the {self.called} has not {done} in {reply_timeout:g} s; see {self.log}") from error
        except OSError as error:
            self._connection.close()
            left = problems([recover_owned(self._ledger)])  # nothing, unless its sentinel could not do all
            gone = f"the {self.called} is gone ({error.strerror or error}){self._on_gone()}"
            raise DeploymentError("; ".join([gone, *left, f"see {self.log}"])) from error
        self._launcher.poll()  # a zombie since the first call: the guard itself is not our child
        if "error" in reply:
            name, message = reply["error"]
            raise _ERRORS.get(name, DeploymentError)(message)
        return reply["result"]

    def _ask(self, request: dict[str, Any]) -> dict[str, Any]:
        self._messages.send(request)
        while True:
            for reply in self._messages.receive():
                if reply["id"] == request["id"]:
                    return reply  # others answer calls that were given up


def _runner_processes() -> tuple[ProcessId | None, list[ProcessId]]:
    pabot = pabot_above()
    return (ProcessId.of(pabot.pid), pabot_helpers(pabot)) if pabot else (None, [])
