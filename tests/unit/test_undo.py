import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.guard.job import MARK as GUARD_MARK
from DynamoFaultLibrary.ledger.store import RUN_VARIABLE
from DynamoFaultLibrary.ledger.undo import sweep, undo
from DynamoFaultLibrary.platforms.local import undoers
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.plugins import LOCAL
from DynamoFaultLibrary.processes import STOPPED, ProcessId, group_members, read_command

Eventually = Callable[[Callable[[], bool]], None]
MARK = f"unit-test-{os.getpid()}"
"""Other tests may run on this machine, too."""
OURS = {DEPLOYMENT_VARIABLE: MARK}
FAMILY = "/bin/sleep 60 & echo $!; read end"
"""Prints its child's pid, and leaves that child behind when its input ends."""


def continuing(*processes: ProcessId) -> dict[str, Any]:
    return {"action": "continue", "processes": [process.to_json() for process in processes]}


def ending(leader: ProcessId, mark: str = MARK) -> dict[str, Any]:
    return {"action": "end", "leader": leader.to_json(), "mark": mark}


def test_a_stopped_process_runs_again(sleeper: Any, eventually: Eventually) -> None:
    sleeper.identity.send(signal.SIGSTOP)
    eventually(lambda: sleeper.identity.state == STOPPED)
    assert undo(continuing(sleeper.identity)) == "1 process continued"
    assert sleeper.identity.state in ("R", "S")


def test_continuing_twice_does_no_harm(sleeper: Any, eventually: Eventually) -> None:
    sleeper.identity.send(signal.SIGSTOP)
    eventually(lambda: sleeper.identity.state == STOPPED)
    assert undo(continuing(sleeper.identity)) == undo(continuing(sleeper.identity))
    assert sleeper.identity.is_running


def test_a_process_with_another_start_time_is_not_continued(sleeper: Any, eventually: Eventually) -> None:
    sleeper.identity.send(signal.SIGSTOP)
    eventually(lambda: sleeper.identity.state == STOPPED)
    stranger = ProcessId(sleeper.pid, sleeper.identity.started + 1)
    assert undo(continuing(stranger)) == "0 processes continued, 1 gone"
    assert sleeper.identity.state == STOPPED


def test_processes_that_are_gone_are_passed_over(start: Callable[..., Any], eventually: Eventually) -> None:
    gone, stopped = start("/bin/true"), start("/bin/sleep", "60")
    gone.process.wait(5)
    stopped.identity.send(signal.SIGSTOP)
    eventually(lambda: stopped.identity.state == STOPPED)
    assert undo(continuing(gone.identity, stopped.identity)) == "1 process continued, 1 gone"
    assert stopped.identity.state in ("R", "S")


def test_ending_kills_the_whole_group(start: Callable[..., Any]) -> None:
    leader = start("/bin/sh", "-c", "(/bin/sleep 60 & echo $!; wait) & exec /bin/sleep 60", env=OURS)
    grandchild = ProcessId.of(int(leader.line()))
    assert grandchild is not None
    members = group_members(leader.pid)
    assert {leader.identity, grandchild} < set(members)
    assert len(members) == 3
    assert undo(ending(leader.identity)) == "3 processes ended"
    assert not grandchild.is_running
    assert group_members(leader.pid) == []
    assert leader.process.wait(5) == -signal.SIGKILL


def test_ending_reaches_stopped_processes(sleeper: Any, eventually: Eventually) -> None:
    sleeper.identity.send(signal.SIGSTOP)
    eventually(lambda: sleeper.identity.state == STOPPED)
    undo(ending(sleeper.identity))
    assert not sleeper.identity.is_running


def test_a_process_may_take_its_time_to_end(monkeypatch: pytest.MonkeyPatch) -> None:
    """A GPU's memory is freed first: 2 s were too short (row 25). Time passes by itself here, 0.1 s a look."""
    slow = ProcessId(2**22 - 1, 1)
    looks = iter(range(1_000_000))
    monkeypatch.setattr(undoers, "group_members", lambda group: [])
    monkeypatch.setattr(undoers, "marked_processes", lambda name, mark: [slow] if next(looks) < 250 else [])

    def wait(condition: Callable[[], bool], limit: float) -> bool:
        return any(condition() for _ in range(round(limit / 0.1)))

    monkeypatch.setattr(undoers, "wait_until", wait)
    assert undo(ending(slow)) == "1 process ended"


def test_ending_twice_does_no_harm(start: Callable[..., Any]) -> None:
    leader = start("/bin/sleep", "60", env=OURS)
    assert undo(ending(leader.identity)) == "1 process ended"
    assert undo(ending(leader.identity)) == "0 processes ended"
    leader.process.wait(5)
    assert undo(ending(leader.identity)) == "0 processes ended"


def test_members_are_ended_after_their_leader_has_died(start: Callable[..., Any]) -> None:
    leader = start("/bin/sh", "-c", FAMILY, env=OURS)
    left = ProcessId.of(int(leader.line()))
    assert left is not None
    leader.release()
    assert ProcessId.of(leader.pid) is None
    assert left.is_running
    assert undo(ending(leader.identity)) == "1 process ended"
    assert not left.is_running


def test_members_of_another_deployment_are_not_ended_after_their_leader_has_died(start: Callable[..., Any]) -> None:
    leader = start("/bin/sh", "-c", FAMILY, env={DEPLOYMENT_VARIABLE: "another"})
    left = ProcessId.of(int(leader.line()))
    assert left is not None
    leader.release()
    with pytest.raises(RecoveryError, match=rf"processes \[{left.pid}\] are in the dead leader's group {leader.pid}"):
        undo(ending(leader.identity))
    assert left.is_running


def test_a_process_that_has_left_its_group_is_known_by_its_mark(start: Callable[..., Any]) -> None:
    leader = start("/bin/sh", "-c", "/usr/bin/setsid /bin/sleep 60 & echo $!; wait", env=OURS)
    runaway = ProcessId.of(int(leader.line()))
    assert runaway is not None
    undo(ending(leader.identity))
    assert not runaway.is_running


def test_a_group_whose_leader_has_another_start_time_is_not_ended(start: Callable[..., Any]) -> None:
    leader = start("/bin/sh", "-c", FAMILY)
    child = ProcessId.of(int(leader.line()))
    assert child is not None
    stranger = ProcessId(leader.pid, leader.identity.started + 1)
    assert undo(ending(stranger)) == "0 processes ended"
    assert leader.identity.is_running
    assert child.is_running


def test_a_member_that_has_cleared_its_environment_is_ended_with_its_living_leader(
    start: Callable[..., Any], eventually: Eventually
) -> None:
    leader = start("/bin/sh", "-c", "/usr/bin/env -i /bin/sleep 60 & echo $!; wait", env=OURS)
    member = ProcessId.of(int(leader.line()))
    assert member is not None
    eventually(lambda: read_command(member.pid) == "/bin/sleep 60")
    undo(ending(leader.identity))
    assert not member.is_running


def test_members_are_ended_with_a_leader_that_is_a_zombie(start: Callable[..., Any], eventually: Eventually) -> None:
    leader = start("/bin/sh", "-c", "/usr/bin/env -i /bin/sleep 60 & echo $!; read end; exit 3", env=OURS)
    member = ProcessId.of(int(leader.line()))
    assert member is not None
    leader.process.stdin.close()
    eventually(lambda: leader.identity.state == "Z")
    assert undo(ending(leader.identity)) == "1 process ended"
    assert not member.is_running


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where directories of ours lie."""
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path))
    return tmp_path / "work"


def test_a_directory_is_removed_with_all_in_it(work: Path) -> None:
    tree = work / "d"
    (tree / "deep" / "er").mkdir(parents=True)
    (tree / "deep" / "file").write_text("x")
    recipe = {"action": "remove", "path": str(tree)}
    assert undo(recipe) == "removed"
    assert not tree.exists()
    assert work.exists()


@pytest.mark.parametrize("place", ["/nowhere", "{work}", "{work}/../file", "{work}/link", "{work}/link/deep", "file"])
def test_what_does_not_lie_below_our_own_work_is_left_alone(work: Path, place: str) -> None:
    """A ledger that somebody else could write removed any directory (row 28)."""
    outside = work.parent / "file"
    (outside / "deep").mkdir(parents=True)
    work.mkdir()
    (work / "link").symlink_to(outside)
    for action in ("remove", "cuda"):
        with pytest.raises(RecoveryError, match=r"does not lie below .*, so it is left alone"):
            undo({"action": action, "path": place.format(work=work), "generation": 1})
    assert (outside / "deep").is_dir()
    assert (work / "link").is_symlink()


def test_a_network_interface_of_others_is_left_alone() -> None:
    with pytest.raises(RecoveryError, match="network interface 'lo' is none of this library's"):
        undo({"action": "unlink", "link": "lo"})


def test_removing_twice_does_no_harm(work: Path) -> None:
    recipe = {"action": "remove", "path": str(work / "d")}
    assert undo(recipe) == "was gone"
    assert undo(recipe) == "was gone"


def test_a_directory_that_cannot_be_removed_is_an_error(work: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DynamoFaultLibrary.platforms.local.undoers.TIMEOUT", 0.05)
    monkeypatch.setattr("shutil.rmtree", lambda path, ignore_errors: None)
    (work / "d").mkdir(parents=True)
    with pytest.raises(RecoveryError, match=r"directory '.*/work/d' cannot be removed"):
        undo({"action": "remove", "path": str(work / "d")})


def test_a_replica_is_started_again_by_its_supervisor_only() -> None:
    with pytest.raises(RecoveryError, match="only the supervisor of its deployment can start 'agg/Worker-0' again"):
        undo({"action": "respawn", "name": "agg/Worker-0"})


@pytest.mark.parametrize("recipe", [{"action": "explode"}, {"platform": "local", "action": None}, {}])
def test_an_unknown_action_is_an_error_with_the_known_ones(recipe: dict[str, Any]) -> None:
    with pytest.raises(RecoveryError) as raised:
        undo(recipe)
    assert str(raised.value) == (
        f"platform 'local' has no undo action '{recipe.get('action')}'; "
        "it has continue, cuda, heal, end, remove, unlink, respawn"
    )


def test_what_left_no_trace_is_undone_on_any_platform() -> None:
    assert undo({"action": "nothing"}) == undo({"platform": "moon", "action": "nothing"}) == "there is nothing to undo"


def test_a_recipe_of_a_platform_that_is_not_installed_says_what_is_missing() -> None:
    with pytest.raises(RecoveryError) as raised:
        undo({"platform": "moon", "action": "heal"})
    assert str(raised.value) == (
        "install the package of its platform: there is no platform 'moon'; installed are local"
    )


def test_undoing_on_this_machine_imports_no_package_and_looks_for_none(work: Path) -> None:
    """The supervisor runs without site-packages, and robot waits for it to start."""
    (work / "d").mkdir(parents=True)
    script = (
        "import sys; from DynamoFaultLibrary.ledger.undo import undo; from DynamoFaultLibrary.platforms.local.undoers "
        f"import local_recipe; print(undo(local_recipe('remove', path={str(work / 'd')!r}))); "
        "print('importlib.metadata' in sys.modules)"
    )
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    told = subprocess.run(
        [sys.executable, "-S", "-c", script], check=False, env=environment, capture_output=True, text=True
    )
    assert (told.stdout.split(), told.stderr) == (["removed", "False"], "")


@pytest.mark.parametrize("action", ["continue", "cuda", "end", "remove"])
def test_a_recipe_that_lacks_what_its_action_needs_is_an_error_with_the_recipe(action: str) -> None:
    with pytest.raises(RecoveryError, match=action):
        undo({"action": action})


MARKED = {RUN_VARIABLE: f"unit-test-{os.getpid()}"}
GUARD = ("/bin/sh", "-c", "/bin/echo up; read end; exit 0", GUARD_MARK)


def test_a_sweep_ends_what_bears_the_runs_name_and_lets_its_guard_finish(start: Callable[..., Any]) -> None:
    robot, other = start("/bin/sleep", "60", env=MARKED), start("/bin/sleep", "60", env={RUN_VARIABLE: "another"})
    guard = start(*GUARD, env=MARKED)
    assert guard.line() == "up"
    threading.Thread(target=lambda: (robot.process.wait(5), guard.release())).start()
    assert sweep(LOCAL, MARKED[RUN_VARIABLE]) == []
    assert robot.process.wait(5) == -signal.SIGKILL
    assert guard.process.wait(5) == 0
    assert other.identity.is_running
    assert sweep(LOCAL, MARKED[RUN_VARIABLE]) == []


def test_a_guard_that_does_not_end_is_killed(start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(undoers, "AFTERMATH", 0.05)
    guard = start(*GUARD, env=MARKED)
    assert guard.line() == "up"
    assert sweep(LOCAL, MARKED[RUN_VARIABLE]) == []
    assert guard.process.wait(5) == -signal.SIGKILL


def test_what_a_sweep_cannot_end_is_told(sleeper: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("AFTERMATH", "TIMEOUT"):
        monkeypatch.setattr(undoers, name, 0.05)
    monkeypatch.setattr(undoers, "marked_processes", lambda name, run: [sleeper.identity])
    monkeypatch.setattr(ProcessId, "send", lambda self, number: True)
    assert sweep(LOCAL, "r") == [f"pid {sleeper.pid} of run 'r' is still there after SIGKILL: /bin/sleep 60"]
