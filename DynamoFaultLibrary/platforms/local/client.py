"""Robot's end of the supervisor: a guard that also hosts processes."""

from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path

from DynamoFaultLibrary.guard.client import REPLY_TIMEOUT, UNDO_TIMEOUT, GuardClient
from DynamoFaultLibrary.platforms.local.child import ProcessSpec, ProcessStatus
from DynamoFaultLibrary.processes import ProcessId


class SupervisorClient(GuardClient):
    """Calls to one supervisor process. Closing it, or dying, makes the supervisor undo and end everything."""

    module = "DynamoFaultLibrary.platforms.local.supervisor"
    called = "supervisor"

    def start(self, spec: ProcessSpec) -> ProcessStatus:
        """Start a process group."""
        return ProcessStatus.from_json(self.call("start", spec=spec.to_json()))

    def restart(self, name: str, victim: ProcessId, argv: list[str] | None = None) -> ProcessStatus:
        """End what is left of the group that `victim` led, and start it again, from now on as `argv` if given.

        Once is enough.
        """
        return ProcessStatus.from_json(
            self.call("restart", UNDO_TIMEOUT, name=name, victim=victim.to_json(), argv=argv)
        )

    def change_environment(self, name: str, changes: Mapping[str, str | None]) -> None:
        """Set (or, with None, unset) variables of a process group from its next start on."""
        self.call("change_environment", name=name, changes=dict(changes))

    def status(self) -> dict[str, ProcessStatus]:
        """All process groups by name."""
        found = [ProcessStatus.from_json(data) for data in self.call("status")]
        return {status.name: status for status in found}

    def wait_exit(self, name: str, timeout: timedelta) -> ProcessStatus:
        """Wait until a group's leader has ended, `timeout` at most; look at `exit` to see which it was."""
        limit = timeout.total_seconds()
        return ProcessStatus.from_json(self.call("wait_exit", limit + REPLY_TIMEOUT, name=name, timeout=limit))

    def end(self, names: list[str]) -> None:
        """Kill process groups for good; returns when nobody is left in them."""
        self.call("end", UNDO_TIMEOUT, names=names)

    def own_directory(self, path: Path) -> None:
        """Make a directory that goes away with this run."""
        self.call("own_directory", path=str(path))

    def remove_directory(self, path: Path) -> None:
        """Remove such a directory now."""
        self.call("remove_directory", path=str(path))
