"""The supervisor: the guard of a run that also starts, watches and ends all that the run puts on this machine.

When robot is gone, each process group is ended after the faults are undone, and each directory removed. Its children
die with it (PR_SET_PDEATHSIG), and should it be killed itself, its sentinel takes off what is left.

Started by `DynamoFaultLibrary.platforms.local.client`.
"""

import logging
import signal
import sys
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import FaultLibraryError, LedgerError, RecoveryError
from DynamoFaultLibrary.guard.guard import Guard, run_guard
from DynamoFaultLibrary.ledger import Entry
from DynamoFaultLibrary.ledger.recovery import GONE_WITH_DEPLOYMENT
from DynamoFaultLibrary.ledger.store import make_private
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.local.child import Child, ProcessSpec
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE, local_recipe
from DynamoFaultLibrary.processes import ProcessId, become_subreaper, group_members

logger = logging.getLogger("guard")


@dataclass(eq=False)
class Supervisor(Guard):
    """Hosts the process groups and directories of one client's deployments."""

    children: dict[str, Child] = field(default_factory=dict)
    directories: dict[str, Entry] = field(default_factory=dict)
    waiting: dict[int, str] = field(default_factory=dict)
    """Ids of calls that wait for a process to end, and its name."""

    def serve(self) -> None:
        """See `Guard`. Orphans of the children become children, too."""
        become_subreaper()
        super().serve()

    def answer(self, identity: int, call: str, arguments: dict[str, Any]) -> None:
        """See `Guard`."""
        if call == "wait_exit":
            self._wait_exit(identity, **arguments)  # replies when it has something to say
        else:
            super().answer(identity, call, arguments)

    def child_ended(self, pid: int, status: int) -> None:
        """Note the end of a group's leader, and tell who waits for it."""
        for child in self.children.values():
            if child.identity.pid == pid and child.exit is None:
                child.ended(status)
                for identity in [key for key, name in self.waiting.items() if name == child.spec.name]:
                    self._end_waiting(identity)

    def undo_entry(self, entry: Entry) -> str:
        """See `Guard`. A replica that is to be started again is one of ours."""
        name = _respawned(entry)
        if not name:
            return super().undo_entry(entry)
        return f"started again as {self._restart(name, ProcessId.from_json(entry.undo['victim'])).identity}"

    def end_hosted(self) -> None:
        """End the process groups, then remove the directories."""
        try:
            self._end(list(self.children.values()))
        finally:
            self._undo_all(list(self.directories.values()))

    # Calls of the client

    def call_start(self, spec: dict[str, Any]) -> dict[str, Any]:
        """Start a process group; it goes into the ledger so that anybody can end it."""
        return self._start(ProcessSpec(**spec), generation=0).to_json()

    def call_restart(self, name: str, victim: dict[str, Any], argv: list[str] | None = None) -> dict[str, Any]:
        """End what is left of the group that `victim` led and start it again, unless that was done already.

        With `argv` it is another command from now on.
        """
        return self._restart(name, ProcessId.from_json(victim), argv).to_json()

    def call_change_environment(self, name: str, changes: dict[str, str | None]) -> None:
        """Set (or, with None, unset) variables of a process group from its next start on."""
        child = self._child(name)
        changed = {**child.spec.env, **changes}
        child.spec = replace(child.spec, env={key: value for key, value in changed.items() if value is not None})

    def call_status(self) -> list[dict[str, Any]]:
        """All process groups, ended ones included."""
        return [child.to_json() for child in self.children.values()]

    def call_end(self, names: list[str]) -> None:
        """Kill process groups for good: nobody is left in them, and no fault's expiry starts one again.

        Those that an earlier try has ended are left alone, so that it can be tried again.
        """
        there = [name for name in names if name in self.children]
        self._end([self.children[name] for name in there])
        for name in there:
            del self.children[name]
        for entry in list(self.guarded.values()):
            if _respawned(entry) in names:
                self.call_release(entry.id)
                self.close(entry, GONE_WITH_DEPLOYMENT)

    def call_own_directory(self, path: str) -> None:
        """Make a directory that goes away with this run."""
        entry = self.ledger.intend("directory", {"path": path}, local_recipe("remove", path=path), is_fault=False)
        make_private(Path(path).parent)
        Path(path).mkdir(mode=0o700)
        self.directories[path] = entry

    def call_remove_directory(self, path: str) -> None:
        """Remove such a directory now, unless that was done."""
        if path in self.directories:
            self._undo_all([self.directories[path]])
            del self.directories[path]

    def _wait_exit(self, identity: int, name: str, timeout: float) -> None:
        """Reply with the state of a process group when its leader has ended, or after `timeout` seconds."""
        self.waiting[identity] = name
        if self._child(name).exit is not None:
            self._end_waiting(identity)
        else:
            self.loop.call_later(f"wait {identity}", timeout, lambda: self._end_waiting(identity))

    def _end_waiting(self, identity: int) -> None:
        self.loop.cancel(f"wait {identity}")
        self.reply(identity, self._child(self.waiting.pop(identity)).to_json())

    def _restart(self, name: str, victim: ProcessId, argv: list[str] | None = None) -> Child:
        child = self._child(name)
        if child.identity != victim and child.exit is None:
            return child
        self._end([child])
        return self._start(replace(child.spec, argv=argv or child.spec.argv), child.generation + 1)

    def _start(self, spec: ProcessSpec, generation: int) -> Child:
        identity = Child.start(spec)
        recipe = local_recipe("end", leader=identity.to_json(), mark=spec.env.get(DEPLOYMENT_VARIABLE, ""))
        try:
            entry = self.ledger.intend("process", {"name": spec.name}, recipe, is_fault=False)
        except LedgerError:
            undo(recipe)
            raise
        child = Child(spec, identity, entry, generation)
        self.children[spec.name] = child
        logger.info("started %s as pid %d", spec.name, identity.pid)
        return child

    def _end(self, children: list[Child]) -> None:
        """Kill process groups and wait until nobody is left in them."""
        for child in children:
            for member in group_members(child.identity.pid):
                member.send(signal.SIGKILL)
        try:
            self._undo_all([child.entry for child in children])
        finally:
            self.reap()

    def _undo_all(self, entries: list[Entry]) -> None:
        if failures := [failure for entry in entries if (failure := self.try_undo(entry))]:
            raise RecoveryError("; ".join(failures))

    def _child(self, name: str) -> Child:
        if name not in self.children:
            raise FaultLibraryError(f"the supervisor has no process group '{name}'; it has {list(self.children)}")
        return self.children[name]


def _respawned(entry: Entry) -> str:
    """The process group that is started again to undo a fault; empty for other faults."""
    return str(entry.undo["name"]) if entry.undo.get("action") == "respawn" else ""


if __name__ == "__main__":
    run_guard(Supervisor, sys.argv)
