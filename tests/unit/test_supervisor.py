"""The supervisor's loop, and that nothing which fails to come off ends it."""

import logging
import math
import os
import signal
import socket
import struct
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.ledger import Entry, Ledger, State, read_ledger
from DynamoFaultLibrary.platforms.local.child import ProcessSpec
from DynamoFaultLibrary.platforms.local.job import Job
from DynamoFaultLibrary.platforms.local.sentinel import Sentinel
from DynamoFaultLibrary.platforms.local.supervisor import Loop, Supervisor
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.processes import ProcessId


def test_what_an_earlier_try_has_ended_is_ended(supervisor: Supervisor) -> None:
    """`Delete Graph` could not be tried again: "the supervisor has no process group"."""
    supervisor.call_end(["fake/Frontend-0"])
    supervisor.call_remove_directory("/no/such/directory")


def test_a_deadline_in_the_far_future_does_not_end_the_loop() -> None:
    """`OverflowError: timeout is too large` ended the supervisor with its graphs (row 22)."""
    loop, seen = Loop(), []
    loop.call_later("far", 1e12, lambda: seen.append("far"))
    loop.call_later("never", math.inf, lambda: seen.append("never"))
    reading, writing = os.pipe()

    def stop() -> None:
        loop.running = False

    loop.watch(reading, stop)
    os.write(writing, b"!")
    loop.run()
    os.close(reading)
    os.close(writing)
    assert seen == []


def test_a_deadline_that_another_one_cancels_or_moves_is_not_met() -> None:
    """Those that were due at the same moment ran all the same (row 23)."""
    loop, seen = Loop(), []

    def first() -> None:
        seen.append("first")
        loop.cancel("cancelled")
        loop.call_later("moved", 1e6, lambda: seen.append("moved"))
        loop.running = False

    loop.call_later("first", -1, first)
    loop.call_later("cancelled", -1, lambda: seen.append("cancelled"))
    loop.call_later("moved", -1, lambda: seen.append("moved too early"))
    loop.run()
    assert seen == ["first"]


def test_what_fails_when_it_is_due_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()

    def stop() -> None:
        loop.running = False

    loop.call_later("bad", -1, lambda: struct.unpack("i", b""))
    loop.call_later("good", -1, stop)
    with caplog.at_level(logging.ERROR):
        loop.run()
    assert "what was due for 'bad' failed" in caplog.text


@pytest.fixture
def supervisor(ledger: Ledger) -> Iterator[Supervisor]:
    ours, theirs = socket.socketpair()
    job = Job(theirs.fileno(), ledger.run, ProcessId.current())
    made = Supervisor(job, ledger, cast("Sentinel", None), theirs)
    yield made
    for child in made.children.values():
        child.identity.send(signal.SIGKILL)
        os.waitpid(child.identity.pid, 0)
    ours.close()
    theirs.close()


def guarded(supervisor: Supervisor, recipe: dict[str, Any], kind: str = "Stall Process") -> Entry:
    entry = supervisor.ledger.intend(kind, {}, recipe, expires_at=utc_now() + timedelta(hours=1))
    supervisor.call_guard(entry.to_json())
    return entry


def state_of(supervisor: Supervisor, entry: Entry) -> tuple[str, str]:
    found = read_ledger(supervisor.ledger.path).entries[entry.id]
    return found.state.value, found.detail


@pytest.mark.parametrize("error", [OSError(5, "input/output error"), MemoryError(), RuntimeError("odd")])
def test_an_undo_that_breaks_in_any_way_is_tried_again_at_the_end(
    supervisor: Supervisor, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An OSError ended the supervisor (row 23)."""
    entry = guarded(supervisor, {"action": "continue", "processes": []})
    with monkeypatch.context() as patch:

        def fail(*ignored: Any) -> str:
            raise error

        patch.setattr("DynamoFaultLibrary.platforms.local.supervisor.undo", fail)
        supervisor._expire(entry.id)
        assert state_of(supervisor, entry)[0] == "intent"
        assert list(supervisor.guarded) == [entry.id]
    supervisor._finish()
    assert state_of(supervisor, entry)[0] == "recovered"


def test_a_fault_that_was_released_does_not_expire(supervisor: Supervisor) -> None:
    entry = guarded(supervisor, {"action": "continue", "processes": []})
    supervisor.call_release(entry.id)
    supervisor._expire(entry.id)
    assert state_of(supervisor, entry)[0] == "intent"


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


def test_the_end_of_a_run_undoes_what_only_the_ledger_knows(supervisor: Supervisor) -> None:
    entry = supervisor.ledger.intend("Stall Process", {}, {"action": "continue", "processes": []})
    supervisor._finish()
    assert state_of(supervisor, entry)[0] == State.RECOVERED


def test_a_sentinel_that_cannot_be_started_again_does_not_end_the_supervisor(
    supervisor: Supervisor, eventually: Callable[[Callable[[], bool]], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Where processes run out, all graphs went with it (kin of row 23)."""
    pid = os.posix_spawn("/bin/true", ["true"], {})

    class Refused:
        def __init__(self) -> None:
            self.pid = pid

        def start(self) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    supervisor.sentinel = cast("Sentinel", Refused())

    def is_told() -> bool:
        supervisor._reap()
        return "no sentinel can be started" in caplog.text

    eventually(is_told)
