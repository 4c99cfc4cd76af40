import json
import os
import signal
import subprocess
from collections.abc import Callable
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.processes import (
    STOPPED,
    ProcessId,
    all_pids,
    group_members,
    read_command,
    read_stat,
    read_variable,
)

Eventually = Callable[[Callable[[], bool]], None]


def ended_pid() -> int:
    process = subprocess.Popen(["/bin/true"])
    process.wait(5)
    return process.pid


def test_this_process_knows_itself() -> None:
    current = ProcessId.current()
    assert current.pid == os.getpid()
    assert current == ProcessId.of(os.getpid())
    assert current.is_running
    assert current.state == "R"


def test_a_pid_without_a_process_has_no_identity() -> None:
    assert ProcessId.of(ended_pid()) is None
    assert read_stat(ended_pid()) is None


def test_a_sleeping_process_is_in_state_s(sleeper: Any, eventually: Eventually) -> None:
    eventually(lambda: sleeper.identity.state == "S")
    assert sleeper.identity.is_running


def test_a_stopped_process_is_in_state_t_and_runs_still(sleeper: Any, eventually: Eventually) -> None:
    assert sleeper.identity.send(signal.SIGSTOP)
    eventually(lambda: sleeper.identity.state == STOPPED)
    assert sleeper.identity.is_running
    assert sleeper.identity.send(signal.SIGCONT)
    eventually(lambda: sleeper.identity.state == "S")


def test_a_zombie_is_in_state_z_and_does_not_run(sleeper: Any, eventually: Eventually) -> None:
    assert sleeper.identity.send(signal.SIGKILL)
    eventually(lambda: sleeper.identity.state == "Z")
    assert not sleeper.identity.is_running
    assert sleeper.identity.command == ""


def test_a_process_that_was_reaped_has_no_state(sleeper: Any) -> None:
    sleeper.identity.send(signal.SIGKILL)
    assert sleeper.process.wait(5) == -signal.SIGKILL
    assert sleeper.identity.state is None
    assert not sleeper.identity.is_running


def test_a_signal_reaches_a_process(sleeper: Any) -> None:
    assert sleeper.identity.send(signal.SIGTERM)
    assert sleeper.process.wait(5) == -signal.SIGTERM


def test_a_signal_to_a_dead_pid_is_not_sent() -> None:
    assert not ProcessId(ended_pid(), 1).send(signal.SIGKILL)


def test_a_signal_to_a_zombie_is_not_sent(sleeper: Any, eventually: Eventually) -> None:
    sleeper.identity.send(signal.SIGKILL)
    eventually(lambda: sleeper.identity.state == "Z")
    assert not sleeper.identity.send(signal.SIGKILL)


def test_a_signal_to_a_reused_pid_is_not_sent(sleeper: Any) -> None:
    former = ProcessId(sleeper.pid, sleeper.identity.started - 1)
    assert former.state is None
    assert not former.send(signal.SIGKILL)
    assert former.command == ""
    assert sleeper.process.poll() is None


def test_a_command_line_is_read_with_spaces(sleeper: Any, eventually: Eventually) -> None:
    eventually(lambda: read_command(sleeper.pid) == "/bin/sleep 60")
    assert sleeper.identity.command == "/bin/sleep 60"


def test_a_command_line_of_nobody_is_empty() -> None:
    assert read_command(ended_pid()) == ""


def test_a_process_name_with_parentheses_and_spaces_does_not_confuse(start: Callable[..., Any], tmp_path: Any) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/sleep")
    child = start(str(program), "60")
    stat = read_stat(child.pid)
    assert stat is not None
    assert (stat.pid, stat.group, stat.started) == (child.pid, child.pid, child.identity.started)


def test_variables_are_those_that_a_process_was_started_with(start: Callable[..., Any], eventually: Eventually) -> None:
    child = start("/bin/sleep", "60", env={"UNIT_TEST": "a=b", "UNIT_TEST_EMPTY": ""})
    eventually(lambda: read_command(child.pid) == "/bin/sleep 60")
    assert read_variable(child.pid, "UNIT_TEST") == "a=b"
    assert read_variable(child.pid, "UNIT_TEST_EMPTY") == ""
    assert read_variable(child.pid, "UNIT") is None


def test_variables_of_nobody_are_unset() -> None:
    assert read_variable(ended_pid(), "PATH") is None


def test_a_group_has_its_leader_and_its_children(start: Callable[..., Any]) -> None:
    leader = start("/bin/sh", "-c", "/bin/sleep 60 & echo $!; wait")
    child = ProcessId.of(int(leader.line()))
    assert set(group_members(leader.pid)) == {leader.identity, child}


def test_a_zombie_is_no_member_of_its_group(sleeper: Any, eventually: Eventually) -> None:
    sleeper.identity.send(signal.SIGKILL)
    eventually(lambda: sleeper.identity.state == "Z")
    assert group_members(sleeper.pid) == []


def test_all_pids_include_children(sleeper: Any) -> None:
    assert {os.getpid(), sleeper.pid} <= set(all_pids())


@given(st.integers(1, 2**22), st.integers(0, 2**63))
def test_an_identity_is_the_same_after_it_was_json(pid: int, started: int) -> None:
    identity = ProcessId(pid, started)
    assert ProcessId.from_json(json.loads(json.dumps(identity.to_json()))) == identity
