import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.cuda_toggle import Counters, ShimmedProcess, new_generation
from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.local.toggle import LocalToggle
from DynamoFaultLibrary.processes import STOPPED, ProcessId

ME = ProcessId.current()
Leave = Callable[..., None]


@pytest.fixture
def toggle(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> LocalToggle:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path))
    made = LocalToggle(tmp_path / "work" / "w0" / "cuda_fault_enabled")
    made.prepare()
    return made


def test_a_prepared_toggle_is_off_and_has_room_for_counters(toggle: LocalToggle) -> None:
    assert not toggle.is_on
    assert toggle.counters_directory.is_dir()
    assert toggle.counters() == []


def test_preparing_it_again_leaves_a_fault_on(toggle: LocalToggle) -> None:
    toggle.switch_on("xid=79", 17)
    toggle.prepare()
    assert (toggle.is_on, toggle.generation) == (True, 17)


def test_its_first_byte_says_whether_it_is_on_and_the_page_never_shrinks(toggle: LocalToggle) -> None:
    toggle.switch_on("xid=79 gpu=all", 17)
    data = toggle.path.read_bytes()
    assert data.startswith(b"1\ndynamo-fault-cuda 1\ngeneration 17\nrule xid=79 gpu=all\nend\n")
    assert (toggle.is_on, toggle.generation, len(data)) == (True, 17, 4096)
    inode = toggle.path.stat().st_ino
    off = toggle.switch_off()
    assert (toggle.is_on, toggle.generation, toggle.path.stat().st_ino) == (False, off, inode)
    assert b"rule" not in toggle.path.read_bytes()
    assert b"\nrelease\n" in toggle.path.read_bytes()


def test_what_a_shell_writes_is_read_too(toggle: LocalToggle) -> None:
    toggle.path.write_text("1\n")
    assert (toggle.is_on, toggle.generation) == (True, 0)
    toggle.path.write_text("")
    assert not toggle.is_on
    toggle.path.unlink()
    assert not toggle.is_on


def test_counters_are_read(toggle: LocalToggle, leave: Leave) -> None:
    leave(toggle, on=True, generation=5, launches=7)
    (counters,) = toggle.counters()
    assert (counters.process, counters.is_on, counters.generation) == (ShimmedProcess(ME.pid, ME.started), True, 5)
    assert (counters.failures, counters.failed["launch"]) == (7, 7)
    assert counters.first_failed_s == 3.0


def test_what_is_no_counters_file_is_passed_over(toggle: LocalToggle) -> None:
    (toggle.counters_directory / "1-2").write_bytes(b"DFCUDA1\0")
    (toggle.counters_directory / "1-3").write_bytes(b"x" * 4096)
    assert toggle.counters() == []
    assert Counters.parse(b"") is None


def test_undo_switches_off_and_again_does_no_harm(toggle: LocalToggle) -> None:
    generation = new_generation()
    toggle.switch_on("xid=79", generation)
    assert undo(toggle.recipe(generation)) == "off, and seen by 0 processes"
    assert not toggle.is_on
    assert undo(toggle.recipe(generation)) == "was off"


def test_undo_leaves_alone_what_somebody_else_has_switched_on(toggle: LocalToggle) -> None:
    toggle.switch_on("xid=79", 1)
    toggle.path.write_text("1\n")
    assert undo(toggle.recipe(1)) == f"left alone: '{toggle.path}' was written by somebody else"
    assert toggle.is_on


def test_undo_after_the_deployment_is_gone(toggle: LocalToggle) -> None:
    gone = LocalToggle(toggle.path.parents[1] / "gone" / "cuda_fault_enabled")
    assert undo(gone.recipe(1)) == "the toggle is gone with its deployment"


def test_undo_fails_when_a_process_has_not_read_it(
    toggle: LocalToggle, leave: Leave, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("DynamoFaultLibrary.platforms.local.undoers.TIMEOUT", 0.05)
    toggle.switch_on("xid=79", 1)
    leave(toggle, on=True, generation=1, launches=1)
    with pytest.raises(RecoveryError, match=rf"^pid {os.getpid()} did not read .* within 0.05 s after it was"):
        undo(toggle.recipe(1))
    assert not toggle.is_on


def test_a_dead_process_need_not_read_it(toggle: LocalToggle, leave: Leave) -> None:
    toggle.switch_on("xid=79", 1)
    leave(toggle, ProcessId(ME.pid, ME.started + 1), on=True, generation=1, launches=1)
    assert undo(toggle.recipe(1)) == "off, and seen by 0 processes"


def test_a_stopped_process_cannot_read_it(
    toggle: LocalToggle, leave: Leave, start: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    child = start("/bin/sleep", "60")
    toggle.switch_on("xid=79", 1)
    leave(toggle, child.identity, on=True, generation=1, launches=1)
    child.identity.send(signal.SIGSTOP)
    eventually(lambda: child.identity.state == STOPPED)
    assert undo(toggle.recipe(1)) == "off, and seen by 1 process"
