"""Robot's end of the supervisor: starts it, calls it."""

import itertools
import json
import os
import socket
import subprocess
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.ledger import Entry, Ledger
from DynamoFaultLibrary.platforms.local.child import Exit, ProcessSpec
from DynamoFaultLibrary.platforms.local.job import Job
from DynamoFaultLibrary.processes import ProcessId
from DynamoFaultLibrary.runner import module_environment, pabot_above, pabot_helpers

_MODULE = "DynamoFaultLibrary.platforms.local.supervisor"
_REPLY_TIMEOUT = 10.0


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

    def __init__(self, ledger: Ledger) -> None:
        self._ids = itertools.count()
        self._connection, theirs = socket.socketpair()
        self._lines = self._connection.makefile("rb")
        self.log = ledger.path.with_suffix(f".{os.getpid()}.log")
        ledger.make_place()
        job = Job(theirs.fileno(), ledger.run, ledger.owner.process, *_runner_processes())
        with theirs, self.log.open("ab") as log:
            self._launcher = subprocess.Popen(
                [sys.executable, "-m", _MODULE, job.to_text()],
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
            self._connection.settimeout(_REPLY_TIMEOUT)
            while self._lines.read1(65536):
                pass
        except OSError:
            pass
        self._connection.close()

    def start(self, spec: ProcessSpec) -> ProcessStatus:
        """Start a process group."""
        return ProcessStatus(self._call("start", spec=spec.to_json()))

    def restart(self, name: str) -> ProcessStatus:
        """Start a process group again with the same specification, unless it runs."""
        return ProcessStatus(self._call("restart", name=name))

    def status(self) -> dict[str, ProcessStatus]:
        """All process groups by name."""
        found = [ProcessStatus(data) for data in self._call("status")]
        return {status.name: status for status in found}

    def wait_exit(self, name: str, timeout: timedelta) -> ProcessStatus:
        """Wait until a group's leader has ended, `timeout` at most; look at `exit` to see which it was."""
        limit = timeout.total_seconds()
        return ProcessStatus(self._call("wait_exit", reply_timeout=limit + _REPLY_TIMEOUT, name=name, timeout=limit))

    def end(self, names: list[str]) -> None:
        """Kill process groups; returns when nobody is left in them."""
        self._call("end", names=names)

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
            self._connection.settimeout(reply_timeout)
            self._launcher.wait(reply_timeout)  # at the first call only: the supervisor itself is not our child
            self._connection.sendall(json.dumps(request).encode() + b"\n")
            while line := self._lines.readline():
                reply = json.loads(line)
                if reply["id"] == identity:
                    break
            else:
                raise ConnectionResetError("end of file")
        except OSError as error:
            when = datetime.now().isoformat(timespec="seconds")
            raise DeploymentError(
                f"the supervisor did not answer '{call}' at {when}: {error}; what it started is gone, see {self.log}"
            ) from error
        if "error" in reply:
            raise DeploymentError(str(reply["error"]))
        return reply["result"]


def _runner_processes() -> tuple[ProcessId | None, list[ProcessId]]:
    pabot = pabot_above()
    return (ProcessId.of(pabot.pid), pabot_helpers(pabot)) if pabot else (None, [])
