"""Robot's end of the supervisor: starts it, calls it."""

import itertools
import json
import os
import socket
import subprocess
import sys
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, LedgerError, RecoveryError
from DynamoFaultLibrary.ledger import Entry, Ledger
from DynamoFaultLibrary.modules import module_environment
from DynamoFaultLibrary.pabot import pabot_above, pabot_helpers
from DynamoFaultLibrary.platforms.local.child import Exit, ProcessSpec
from DynamoFaultLibrary.platforms.local.job import Job
from DynamoFaultLibrary.platforms.local.undoers import END_TIMEOUT
from DynamoFaultLibrary.processes import ProcessId

_MODULE = "DynamoFaultLibrary.platforms.local.supervisor"
_REPLY_TIMEOUT = 30.0
_END_TIMEOUT = _REPLY_TIMEOUT + END_TIMEOUT
_ERRORS: dict[str, type[FaultLibraryError]] = {error.__name__: error for error in (RecoveryError, LedgerError)}


class ProcessStatus:
    """What the supervisor knows of one process group."""

    def __init__(self, data: dict[str, Any]) -> None:
        self.name: str = data["name"]
        self.process = ProcessId.from_json(data["process"])
        self.generation: int = data["generation"]
        self.exit = Exit(**data["exit"]) if data["exit"] else None
        self.log = Path(data["log"])


class SupervisorClient:
    """Calls to one supervisor process. Closing it, or dying, makes the supervisor undo everything and end."""

    def __init__(self, ledger: Ledger, on_gone: Callable[[], str] = lambda: "") -> None:
        """Start one. `on_gone` is called when it turns out to be gone; it says what went with it."""
        self._on_gone = on_gone
        self._ids = itertools.count()
        self._connection, theirs = socket.socketpair()
        self._received = b""
        self.log = ledger.path.with_suffix(f".{os.getpid()}.log")
        ledger.make_place()
        job = Job(theirs.fileno(), ledger.run, ledger.owner.process, *_runner_processes())
        with theirs, self.log.open("ab") as log:
            self._launcher = subprocess.Popen(
                [
                    sys.executable,
                    "-S",
                    "-m",
                    _MODULE,
                    job.to_text(),
                ],  # it needs no site-packages, and robot waits for it
                pass_fds=[theirs.fileno()],
                env=module_environment(),
                start_new_session=True,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd="/",
            )

    def close(self) -> None:
        """Hang up; the supervisor undoes what is left and ends. Returns when it has."""
        try:
            self._connection.shutdown(socket.SHUT_WR)
            self._connection.settimeout(_END_TIMEOUT)
            while self._connection.recv(65536):
                pass
        except OSError:
            pass
        self._connection.close()

    def start(self, spec: ProcessSpec) -> ProcessStatus:
        """Start a process group."""
        return ProcessStatus(self._call("start", spec=spec.to_json()))

    def restart(self, name: str, victim: ProcessId, argv: list[str] | None = None) -> ProcessStatus:
        """End what is left of the group that `victim` led, and start it again, from now on as `argv` if given.

        Once is enough.
        """
        return ProcessStatus(
            self._call("restart", reply_timeout=_END_TIMEOUT, name=name, victim=victim.to_json(), argv=argv)
        )

    def change_environment(self, name: str, changes: Mapping[str, str | None]) -> None:
        """Set (or, with None, unset) variables of a process group from its next start on."""
        self._call("change_environment", name=name, changes=dict(changes))

    def status(self) -> dict[str, ProcessStatus]:
        """All process groups by name."""
        found = [ProcessStatus(data) for data in self._call("status")]
        return {status.name: status for status in found}

    def wait_exit(self, name: str, timeout: timedelta) -> ProcessStatus:
        """Wait until a group's leader has ended, `timeout` at most; look at `exit` to see which it was."""
        limit = timeout.total_seconds()
        return ProcessStatus(self._call("wait_exit", reply_timeout=limit + _REPLY_TIMEOUT, name=name, timeout=limit))

    def end(self, names: list[str]) -> None:
        """Kill process groups for good; returns when nobody is left in them."""
        self._call("end", reply_timeout=_END_TIMEOUT, names=names)

    def own_directory(self, path: Path) -> None:
        """Make a directory that goes away with this run."""
        self._call("own_directory", path=str(path))

    def remove_directory(self, path: Path) -> None:
        """Remove such a directory now."""
        self._call("remove_directory", path=str(path))

    def guard(self, entry: Entry) -> None:
        """Have a fault undone at its expiry, or when this process dies."""
        self._call("guard", entry=entry.to_json())

    def release(self, entry: Entry) -> None:
        """Stop guarding a fault."""
        self._call("release", identity=entry.id)

    def _call(self, call: str, reply_timeout: float = _REPLY_TIMEOUT, **arguments: Any) -> Any:
        identity = next(self._ids)
        request = {"id": identity, "call": call, "arguments": arguments}
        try:
            self._launcher.wait(reply_timeout)  # at the first call only: the supervisor itself is not our child
            self._connection.settimeout(reply_timeout)
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            reply = self._reply_to(identity)
        except subprocess.TimeoutExpired as error:
            raise DeploymentError(f"the supervisor has not started in {reply_timeout:g} s; see {self.log}") from error
        except TimeoutError as error:
            raise DeploymentError(
                f"the supervisor has not answered '{call}' in {reply_timeout:g} s; see {self.log}"
            ) from error
        except OSError as error:
            self._connection.close()
            raise DeploymentError(
                f"the supervisor is gone ({error.strerror or error}), and what it had started with it"
                f"{self._on_gone()}; 'Deploy Graph' starts another; see {self.log}"
            ) from error
        if "error" in reply:
            name, message = reply["error"]
            raise _ERRORS.get(name, DeploymentError)(message)
        return reply["result"]

    def _reply_to(self, identity: int) -> dict[str, Any]:
        while True:
            line, complete, rest = self._received.partition(b"\n")
            if complete:
                self._received = rest
                reply: dict[str, Any] = json.loads(line)
                if reply["id"] == identity:
                    return reply  # others answer calls that were given up
                continue
            data = self._connection.recv(65536)
            if not data:
                raise ConnectionResetError("end of file")
            self._received += data


def _runner_processes() -> tuple[ProcessId | None, list[ProcessId]]:
    pabot = pabot_above()
    return (ProcessId.of(pabot.pid), pabot_helpers(pabot)) if pabot else (None, [])
