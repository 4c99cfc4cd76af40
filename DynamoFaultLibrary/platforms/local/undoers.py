"""How what platform `local` does to this machine comes off again: one idempotent function an action.

| action | needs | does |
|---|---|---|
| ``cuda`` | ``path`` of a toggle, ``generation`` that is ours | switches it off; all processes have seen it then |
| ``continue`` | ``processes``: pids and start times | SIGCONT to each that is the same still; none is stopped then |
| ``heal`` | ``namespace``, ``table`` | takes the packet filter of a partition out; it is gone then |
| ``end`` | ``leader``: pid and start time, ``mark`` | SIGKILL to its process group; nobody is left in it then |
| ``remove`` | ``path`` | deletes a directory tree; it is gone then |
| ``unlink`` | ``link`` | deletes a network interface; it is gone then |
| ``respawn`` | ``name``, ``victim``: its leader then | starts a replica again; only its supervisor can |

What is not this library's own is left alone, whatever a recipe says: files that do not lie below ``work/`` in the
state directory, interfaces whose names do not begin with ``dynf``, processes that have another start time.

The supervisor imports this without site-packages: it needs no package.
"""

import os
import shutil
import signal
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.guard.job import is_guard
from DynamoFaultLibrary.ledger.store import RUN_VARIABLE
from DynamoFaultLibrary.ledger.undo import Rank, Reach, Recipe, Undoer
from DynamoFaultLibrary.net.filter import PacketFilter
from DynamoFaultLibrary.net.links import delete_link, link_exists
from DynamoFaultLibrary.net.namespace import HeldNamespace, inside
from DynamoFaultLibrary.platforms.local.toggle import LocalToggle
from DynamoFaultLibrary.plugins import LOCAL
from DynamoFaultLibrary.processes import (
    STOPPED,
    ProcessId,
    group_members,
    has_environment,
    marked_processes,
)

DEPLOYMENT_VARIABLE = "DYNAMO_FAULT_DEPLOYMENT"
"""Set in each process that a deployment starts: how a group is known as ours after its leader has died."""

TIMEOUT = 2.0
"""Seconds that one undo may take before it counts as failed."""

AFTERMATH = 5.0
"""Seconds within which guards must have undone everything after the last robot."""

END_TIMEOUT = 30.0
"""Seconds that processes may take to end after SIGKILL: a driver may need many to tear down what one had on a GPU."""

LINK_PREFIX = "dynf"
"""How the names of this library's network interfaces begin."""


def local_recipe(action: str, **rest: Any) -> Recipe:
    """An undo recipe of this platform."""
    return {"platform": LOCAL, "action": action, **rest}


def _own_path(recipe: Recipe) -> Path:
    """The path of a recipe, if it lies below the work directory of this library, all links followed."""
    path, work = Path(recipe["path"]), Path(recipe["state"]) / "work"
    if work.resolve() not in path.resolve().parents:
        raise RecoveryError(f"'{path}' does not lie below '{work}', so it is left alone")
    return path


def _continue(recipe: Recipe) -> str:
    processes = [ProcessId.from_json(data) for data in recipe["processes"]]
    present = [process for process in processes if process.send(signal.SIGCONT)]
    if not wait_until(lambda: not any(process.state == STOPPED for process in present), TIMEOUT):
        stopped = [process.pid for process in present if process.state == STOPPED]
        raise RecoveryError(f"processes {stopped} are still stopped {TIMEOUT} s after SIGCONT")
    gone = len(processes) - len(present)
    return f"{_processes(len(present))} continued" + (f", {gone} gone" if gone else "")


def _end(recipe: Recipe) -> str:
    leader = ProcessId.from_json(recipe["leader"])
    mark = str(recipe["mark"])

    known: set[ProcessId] = set()

    def ours() -> list[ProcessId]:
        """The group, and whoever left it but carries its mark."""
        found = ProcessId.of(leader.pid)
        members = group_members(leader.pid)
        if found == leader:
            known.update(members)
        elif found is None:  # the leader is dead, but its pid is not given to others while its group has members
            known.update(member for member in members if not has_environment(member.pid))
        return list({*(known & set(members)), *(marked_processes(DEPLOYMENT_VARIABLE, mark) if mark else [])})

    before = ours()
    for member in before:
        member.send(signal.SIGKILL)

    def gone() -> bool:
        left = ours()
        for member in left:
            member.send(signal.SIGKILL)
        return not left

    if not wait_until(gone, END_TIMEOUT):
        left = [member.pid for member in ours()]
        raise RecoveryError(f"process group {leader.pid} still has members {left} {END_TIMEOUT:g} s after SIGKILL")
    if ProcessId.of(leader.pid) is None and (unknown := group_members(leader.pid)):
        pids = [member.pid for member in unknown]
        raise RecoveryError(f"processes {pids} are in the dead leader's group {leader.pid}, but do not carry its mark")
    return f"{_processes(len(before))} ended"


def _heal(recipe: Recipe) -> str:
    table, place = str(recipe["table"]), HeldNamespace.from_json(recipe["namespace"])
    try:
        with place.opened() as namespace:
            if namespace is None:
                return "its network is gone"
            with inside(namespace), PacketFilter() as packets:
                was_there = packets.delete_table(table)
                left = packets.tables()
    except OSError as error:
        raise RecoveryError(f"packet filter '{table}' cannot be taken out: {error.strerror}") from error
    if table in left:
        raise RecoveryError(f"packet filter '{table}' is still there")
    return "packet filter taken out" if was_there else "packet filter was out"


def _unlink(recipe: Recipe) -> str:
    link = str(recipe["link"])
    if not link.startswith(LINK_PREFIX):
        raise RecoveryError(f"network interface '{link}' is none of this library's, so it is left alone")
    try:
        was_there = delete_link(link)
    except OSError as error:
        raise RecoveryError(f"network interface '{link}' cannot be deleted: {error.strerror}") from error
    if not wait_until(lambda: not link_exists(link), TIMEOUT):
        raise RecoveryError(f"network interface '{link}' is still there")
    return "deleted" if was_there else "was gone"


def _remove(recipe: Recipe) -> str:
    path = _own_path(recipe)
    if not path.exists():
        return "was gone"

    def gone() -> bool:
        shutil.rmtree(path, ignore_errors=True)
        return not path.exists()

    if not wait_until(gone, TIMEOUT):
        raise RecoveryError(f"directory '{path}' cannot be removed")
    return "removed"


def _switch_cuda_off(recipe: Recipe) -> str:
    return LocalToggle(_own_path(recipe)).undo(int(recipe["generation"]), TIMEOUT)


def _processes(count: int) -> str:
    return "1 process" if count == 1 else f"{count} processes"


def _respawn(recipe: Recipe) -> str:
    raise RecoveryError(f"only the supervisor of its deployment can start '{recipe.get('name')}' again")


def sweep(run: str) -> list[str]:
    """End the processes of a run that were started with its name in their environment: its guards, last of all.

    Whoever has named a run may carry that name too, so this is for a launcher that has made it up.
    """

    def left() -> list[ProcessId]:
        return [process for process in marked_processes(RUN_VARIABLE, run) if process.pid != os.getpid()]

    for process in left():
        if not is_guard(process.pid):
            process.send(signal.SIGKILL)
    if wait_until(lambda: not left(), AFTERMATH, 0.02):
        return []
    for process in left():
        process.send(signal.SIGKILL)
    wait_until(lambda: not left(), TIMEOUT, 0.02)
    return [f"{process} of run '{run}' is still there after SIGKILL: {process.command}" for process in left()]


UNDOERS = {
    "continue": Undoer(_continue, Rank.FAULT),
    "cuda": Undoer(_switch_cuda_off, Rank.FAULT, Reach.FILES),
    "heal": Undoer(_heal, Rank.FAULT),
    "end": Undoer(_end, Rank.PROCESS),
    "remove": Undoer(_remove, Rank.PLACE, Reach.FILES),
    "unlink": Undoer(_unlink, Rank.PLACE),
    "respawn": Undoer(_respawn, Rank.REPLACEMENT, goes_with_deployment=True),
}
