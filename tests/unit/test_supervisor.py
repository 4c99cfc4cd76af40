"""What the supervisor hosts, and what becomes of it when faults come off. The rest of it is a guard."""

import os
import signal
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from guarding import guarded, state_of

from DynamoFaultLibrary.guard.job import Job
from DynamoFaultLibrary.guard.messages import Messages
from DynamoFaultLibrary.guard.sentinel import Sentinel
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.platforms.local.child import ProcessSpec
from DynamoFaultLibrary.platforms.local.supervisor import Supervisor
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.processes import ProcessId


def test_what_an_earlier_try_has_ended_is_ended(supervisor: Supervisor) -> None:
    """`Delete Graph` could not be tried again: "the supervisor has no process group"."""
    supervisor.call_end(["fake/Frontend-0"])
    supervisor.call_remove_directory("/no/such/directory")


@pytest.fixture
def supervisor(ledger: Ledger) -> Iterator[Supervisor]:
    ours, theirs = socket.socketpair()
    job = Job(theirs.fileno(), ledger.run, ProcessId.current())
    made = Supervisor(job, ledger, Sentinel(ledger, job.descriptor), Messages(theirs))
    yield made
    for child in made.children.values():
        child.identity.send(signal.SIGKILL)
        os.waitpid(child.identity.pid, 0)
    ours.close()
    theirs.close()


def start(supervisor: Supervisor, tmp_path: Path, name: str = "d/W-0") -> dict[str, Any]:
    log = str(tmp_path / "w.log")
    spec = ProcessSpec(name, ["/bin/sleep", "60"], {DEPLOYMENT_VARIABLE: name}, str(tmp_path), log)
    return supervisor.call_start(spec.to_json())


def test_faults_that_ended_the_same_replica_come_off_by_one_start(supervisor: Supervisor, tmp_path: Path) -> None:
    """Two kills (kin of row 9): whichever expires first, the other one is made good too."""
    child = start(supervisor, tmp_path)
    recipe = {"action": "respawn", "name": "d/W-0", "victim": child["process"]}
    first, second = guarded(supervisor, recipe, "Kill Worker"), guarded(supervisor, recipe, "Terminate Process")
    supervisor._expire(second.id)
    assert {state_of(supervisor, entry)[0] for entry in (first, second)} == {"recovered"}
    assert supervisor.children["d/W-0"].generation == 1
    assert supervisor.guarded == {}


def test_a_fault_does_not_start_a_replica_of_a_deleted_deployment(
    supervisor: Supervisor, tmp_path: Path, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """A time to live that ended while the graph was deleted started the replica again, for ever (row 23)."""
    child = start(supervisor, tmp_path)
    entry = guarded(supervisor, {"action": "respawn", "name": "d/W-0", "victim": child["process"]}, "Kill Worker")
    supervisor.call_end(["d/W-0"])
    os.waitpid(child["process"]["pid"], os.WNOHANG) if supervisor.children else None
    assert (supervisor.children, supervisor.guarded) == ({}, {})
    assert state_of(supervisor, entry) == ("recovered", "its deployment is gone")
    supervisor._expire(entry.id)
    assert supervisor.children == {}
    assert not ProcessId.from_json(child["process"]).is_running
