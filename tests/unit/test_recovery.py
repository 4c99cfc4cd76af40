import os
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.ledger import Ledger, Owner, State, read_ledger
from DynamoFaultLibrary.ledger.recovery import ledgers, problems, recover, recover_dead_runs
from DynamoFaultLibrary.owner import renew
from DynamoFaultLibrary.platforms.local.toggle import LocalToggle
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.processes import STOPPED, ProcessId

Eventually = Callable[[Callable[[], bool]], None]


@pytest.fixture
def nobody() -> Owner:
    process = subprocess.Popen(["/bin/true"])
    process.wait(5)
    return Owner(ProcessId(process.pid, 1))


@pytest.fixture
def dead(tmp_path: Path, nobody: Owner) -> Ledger:
    return Ledger("dead", nobody, tmp_path / "state")


def leave_directory(ledger: Ledger, path: Path) -> Path:
    path.mkdir(parents=True)
    ledger.intend("directory", {"path": str(path)}, {"action": "remove", "path": str(path)}, is_fault=False)
    return path


def open_kinds(ledger: Ledger) -> list[str]:
    return [entry.kind for entry in read_ledger(ledger.path).open_entries]


def test_all_that_a_dead_run_left_is_undone(
    dead: Ledger, tmp_path: Path, start: Callable[..., Any], eventually: Eventually
) -> None:
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    child = start("/bin/sleep", "60", env={DEPLOYMENT_VARIABLE: "d"})
    identity = child.identity.to_json()
    dead.intend("process", {}, {"action": "end", "leader": identity, "mark": "d"}, is_fault=False)
    fault = dead.intend("Stall Process", {}, {"action": "continue", "processes": [identity]})
    dead.mark(fault, State.ACTIVE)
    child.identity.send(signal.SIGSTOP)
    eventually(lambda: child.identity.state == STOPPED)
    found = recover(dead.path)
    assert found.is_clean
    assert [entry.kind for entry in found.recovered] == ["Stall Process", "process", "directory"]
    assert not work.exists()
    assert child.process.wait(5) == -signal.SIGKILL
    assert [entry.state for entry in read_ledger(dead.path).entries.values()] == [State.RECOVERED] * 3


def test_recovering_twice_does_no_harm(dead: Ledger, tmp_path: Path) -> None:
    leave_directory(dead, tmp_path / "state" / "work" / "w")
    recover(dead.path)
    before = dead.path.read_bytes()
    again = recover(dead.path)
    assert again.is_clean
    assert again.recovered == []
    assert dead.path.read_bytes() == before


def test_what_a_living_run_holds_is_left_alone(ledger: Ledger, tmp_path: Path) -> None:
    work = leave_directory(ledger, tmp_path / "state" / "work" / "w")
    found = recover(ledger.path)
    assert work.exists()
    assert not found.is_clean
    assert [entry.kind for entry in found.alive] == ["directory"]
    assert open_kinds(ledger) == ["directory"]


def test_force_takes_it_from_a_living_run_too(ledger: Ledger, tmp_path: Path) -> None:
    work = leave_directory(ledger, tmp_path / "state" / "work" / "w")
    assert recover(ledger.path, force=True).is_clean
    assert not work.exists()


def test_a_dry_run_tells_and_does_nothing(dead: Ledger, tmp_path: Path) -> None:
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    before = dead.path.read_bytes()
    assert [entry.kind for entry in recover(dead.path, dry_run=True).recovered] == ["directory"]
    assert work.exists()
    assert dead.path.read_bytes() == before


def test_a_replica_of_a_dead_run_is_not_started_again(dead: Ledger) -> None:
    dead.intend("Kill Worker", {}, {"action": "respawn", "name": "agg/Worker-0"})
    assert recover(dead.path).is_clean
    (entry,) = read_ledger(dead.path).entries.values()
    assert (entry.state, entry.detail) == (State.RECOVERED, "its deployment is gone")


@pytest.mark.parametrize("recipe", [{"action": "explode"}, {"action": "continue"}, {"platform": "moon"}])
def test_an_entry_that_cannot_be_undone_is_reported_and_the_others_are_undone(
    dead: Ledger, tmp_path: Path, recipe: dict[str, Any]
) -> None:
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    bad = dead.intend("strange", {}, recipe)
    found = recover(dead.path)
    assert not work.exists()
    assert not found.is_clean
    assert [entry.id for entry, _ in found.failed] == [bad.id]
    assert problems([found])[0].startswith(f"{bad.id} is not undone: ")
    assert open_kinds(dead) == ["strange"]


def test_only_what_is_of_concern_is_undone(dead: Ledger, tmp_path: Path) -> None:
    works = [leave_directory(dead, tmp_path / "state" / "work" / name) for name in ("a", "b")]
    recover(dead.path, concerns=lambda entry: entry.target["path"].endswith("a"))
    assert [work.exists() for work in works] == [False, True]


def test_corrupt_lines_are_reported_and_passed_over(dead: Ledger, tmp_path: Path) -> None:
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    with dead.path.open("ab") as file:
        file.write(b'{"id": "torn')
    found = recover(dead.path)
    assert not work.exists()
    assert len(found.corrupt) == 1
    assert open_kinds(dead) == []


def test_a_ledger_that_is_not_there_cannot_be_recovered(tmp_path: Path) -> None:
    """Another run may put it aside meanwhile: the error ended a launcher before it had written its results."""
    path = tmp_path / "runs" / "none.jsonl"
    found = recover(path)
    assert found.refused == f"cannot read ledger '{path}': No such file or directory"
    assert (found.is_clean, problems([found])) == (False, [found.refused])
    assert not path.exists()


def test_ledgers_are_listed_the_oldest_first(tmp_path: Path, nobody: Owner) -> None:
    assert ledgers(tmp_path) == []
    made = [Ledger(run, nobody, tmp_path) for run in ("b", "a", "c")]
    for age, ledger in enumerate(made):
        ledger.intend("k", {}, {})
        subprocess.run(["/usr/bin/touch", "-d", f"2026-01-0{age + 1}", ledger.path], check=True)
    assert ledgers(tmp_path) == [ledger.path for ledger in made]


def test_a_new_run_recovers_dead_ones_and_puts_their_ledgers_aside(
    ledger: Ledger, dead: Ledger, tmp_path: Path
) -> None:
    own = leave_directory(ledger, tmp_path / "state" / "work" / "own")
    theirs = leave_directory(dead, tmp_path / "state" / "work" / "theirs")
    recover_dead_runs(ledger.path)
    assert own.exists()
    assert not theirs.exists()
    assert ledgers(ledger.path.parents[1]) == [ledger.path]
    (aside,) = (ledger.path.parent / "done").iterdir()
    assert aside.parent.stat().st_mode & 0o777 == 0o700
    assert aside.name.startswith("dead.")
    assert [entry.state for entry in read_ledger(aside).entries.values()] == [State.RECOVERED]


def test_a_new_run_leaves_other_living_runs_alone(ledger: Ledger, tmp_path: Path, sleeper: Any) -> None:
    other = Ledger("other", Owner(sleeper.identity), ledger.path.parents[1])
    work = leave_directory(other, tmp_path / "state" / "work" / "w")
    entry = other.intend("closed", {}, {"action": "remove", "path": str(tmp_path / "gone")})
    other.mark(entry, State.RECOVERED)
    recover_dead_runs(ledger.path)
    assert work.exists()
    assert other.path.exists()
    assert open_kinds(other) == ["directory"]


def test_a_ledger_that_could_not_be_recovered_stays_where_it_is(ledger: Ledger, dead: Ledger) -> None:
    dead.intend("strange", {}, {"action": "explode"})
    recover_dead_runs(ledger.path)
    assert open_kinds(dead) == ["strange"]


def test_a_ledger_that_cannot_be_read_does_not_stop_a_new_run(ledger: Ledger, dead: Ledger, tmp_path: Path) -> None:
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    (dead.path.parent / "broken.jsonl").mkdir()
    recover_dead_runs(ledger.path)
    assert not work.exists()


def test_a_place_that_cannot_be_written_does_not_stop_a_new_run(ledger: Ledger, dead: Ledger) -> None:
    """Nothing is put aside then; the raw error ended `Deploy Graph`."""
    dead.mark(dead.intend("k", {}, {"action": "nothing"}), State.RECOVERED)
    (dead.path.parent / "done").write_text("no directory")
    recover_dead_runs(ledger.path)
    assert dead.path.exists()


def test_a_ledger_that_another_run_puts_aside_meanwhile_is_passed_over(
    ledger: Ledger, dead: Ledger, tmp_path: Path
) -> None:
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    (dead.path.parent / "gone.jsonl").symlink_to(tmp_path / "moved away")
    recover_dead_runs(ledger.path)
    assert not work.exists()


def test_what_a_ledger_of_another_user_says_is_not_done(
    ledger: Ledger, dead: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Root and a shared state directory: only root who says so acts on it (row 28)."""
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    is_root = os.geteuid() == 0
    if is_root:
        os.chown(dead.path, 4711, 4711)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)
    for options in ({}, {"force": True}) if is_root else ({}, {"force": True}, {"foreign": True}):
        assert "'dynamo-fault recover --force'" in recover(dead.path, **options).refused
    recover_dead_runs(ledger.path)
    assert work.exists()
    if is_root:
        assert recover(dead.path, force=True, foreign=True).is_clean
        assert not work.exists()


def test_an_undo_that_breaks_does_not_keep_the_others_from_theirs(
    dead: Ledger, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An OSError in one undo ended the whole recovery (row 23)."""
    work = leave_directory(dead, tmp_path / "state" / "work" / "w")
    broken = dead.intend("network", {}, {"action": "unlink", "link": "dynf-x"})

    def fail(link: str) -> bool:
        raise MemoryError

    monkeypatch.setattr("DynamoFaultLibrary.platforms.local.undoers.delete_link", fail)
    found = recover(dead.path)
    assert [(entry.id, why) for entry, why in found.failed] == [(broken.id, "MemoryError()")]
    assert not work.exists()


def test_a_ledger_that_names_no_platforms_is_recovered(
    tmp_path: Path, start: Callable[..., Any], eventually: Eventually
) -> None:
    """As versions before the port's second edition wrote it, with an entry of each action (issue 12)."""
    mark = f"unit-test-{os.getpid()}"
    child = start("/bin/sleep", "60", env={DEPLOYMENT_VARIABLE: mark})
    child.identity.send(signal.SIGSTOP)
    eventually(lambda: child.identity.state == STOPPED)
    text = (Path(__file__).parent / "testdata" / "ledger_without_platforms.jsonl").read_text()
    filled = {"@host@": os.uname().nodename, "/STATE": str(tmp_path), "mocker-agg-1": mark, "72000001": str(child.pid)}
    for placeholder, value in (filled | {"72000002": str(child.identity.started)}).items():
        text = text.replace(placeholder, value)
    path = tmp_path / "runs" / "old.jsonl"
    path.parent.mkdir()
    path.write_text(text)
    view = read_ledger(path)
    assert view.corrupt == []
    (place,) = (Path(entry.undo["path"]) for entry in view.entries.values() if entry.undo["action"] == "remove")
    toggle = LocalToggle(place / "cuda" / "Worker-0" / "cuda_fault_enabled")
    toggle.prepare()
    toggle.switch_on("xid=79", 1)
    found = recover(path)
    assert (found.is_clean, found.failed) == (True, [])
    assert [(entry.undo["action"], entry.detail) for entry in found.recovered] == [
        ("nothing", "there is nothing to undo"),
        ("cuda", "off, and seen by 0 processes"),
        ("heal", "its network is gone"),
        ("continue", "1 process continued"),
        ("end", "1 process ended"),
        ("unlink", "was gone"),
        ("remove", "removed"),
        ("respawn", "its deployment is gone"),
    ]
    assert not child.identity.is_running
    assert not place.exists()


@pytest.fixture
def away(tmp_path: Path) -> Ledger:
    """That of a run on another machine, whose pid is one of ours here."""
    return Ledger("away", Owner(ProcessId.current(), "host-b"), tmp_path / "state")


def test_what_is_on_another_machine_is_left_alone_with_the_machine_to_go_to(
    away: Ledger, ledger: Ledger, tmp_path: Path
) -> None:
    """It was closed as recovered, though nothing was done where it is (issue 12)."""
    work = leave_directory(away, tmp_path / "state" / "work" / "w")
    fault = away.intend("Stall Process", {}, {"action": "continue", "processes": []})
    before = away.path.read_bytes()
    for options in ({}, {"force": True}, {"dry_run": True}):
        found = recover(away.path, **options)
        assert [entry.kind for entry in found.elsewhere] == ["Stall Process", "directory"]
        assert (found.is_clean, found.recovered, found.failed) == (False, [], [])
    assert problems([found])[0] == (
        f"{fault.id} is not undone: run 'dynamo-fault recover --run away' on machine 'host-b'"
    )
    recover_dead_runs(ledger.path)
    assert away.path.read_bytes() == before
    assert work.exists()


def test_what_is_on_a_machine_that_is_gone_is_given_up_and_its_files_are_removed(away: Ledger, tmp_path: Path) -> None:
    work = leave_directory(away, tmp_path / "state" / "work" / "w")
    away.intend("Stall Process", {}, {"action": "continue", "processes": []})
    away.intend("Kill Replica", {}, {"action": "respawn", "name": "w"})
    dry = recover(away.path, force=True, foreign=True, dry_run=True)
    found = recover(away.path, force=True, foreign=True)
    for each in (dry, found):
        assert [entry.kind for entry in each.recovered] == ["directory"]
        assert [entry.kind for entry in each.given_up] == ["Stall Process", "Kill Replica"]
    assert found.is_clean
    assert not work.exists()
    entries = list(read_ledger(away.path).entries.values())
    assert [entry.state for entry in entries] == [State.RECOVERED, State.IRREVERSIBLE, State.IRREVERSIBLE]
    assert entries[1].detail == "given up: nothing was done on machine 'host-b', which is gone"


def test_what_a_run_holds_that_lives_on_another_machine_is_not_given_up(away: Ledger, tmp_path: Path) -> None:
    leave_directory(away, tmp_path / "state" / "work" / "w")
    renew(away.lease(away.owner))
    assert [entry.kind for entry in recover(away.path).alive] == ["directory"]
    found = recover(away.path, force=True, foreign=True)
    assert [entry.kind for entry in found.elsewhere] == ["directory"]
    assert open_kinds(away) == ["directory"]


def test_what_an_old_version_left_on_another_machine_can_be_given_up(tmp_path: Path) -> None:
    old = Ledger("old", Owner(ProcessId.current(), "host-b", boot=""), tmp_path / "state")
    old.intend("Stall Process", {}, {"action": "continue", "processes": []})
    assert [entry.kind for entry in recover(old.path).alive] == ["Stall Process"]
    assert len(recover(old.path, force=True, foreign=True).given_up) == 1


def test_what_can_be_undone_from_anywhere_is_undone_for_a_dead_run_on_another_machine(away: Ledger) -> None:
    away.intend("Cancel Request", {}, {"action": "nothing"})
    renew(away.lease(away.owner))
    assert [entry.kind for entry in recover(away.path).alive] == ["Cancel Request"]
    away.lease(away.owner).unlink()
    assert [entry.detail for entry in recover(away.path).recovered] == ["there is nothing to undo"]


def test_what_processes_had_is_gone_when_this_machine_has_started_anew(
    tmp_path: Path, start: Callable[..., Any]
) -> None:
    """A pid and a start time may be another process' then: its whole group was killed."""
    innocent = start("/bin/sleep", "60")
    before = Ledger("before", Owner(ProcessId.current(), boot="another"), tmp_path / "state")
    work = leave_directory(before, tmp_path / "state" / "work" / "w")
    before.intend("process", {}, {"action": "end", "leader": innocent.identity.to_json(), "mark": ""}, is_fault=False)
    found = recover(before.path)
    assert [entry.detail for entry in found.recovered] == ["gone: this machine has started anew since", "removed"]
    assert innocent.identity.is_running
    assert not work.exists()


def test_a_replica_is_not_called_gone_with_its_deployment_while_that_is_there(dead: Ledger) -> None:
    killed = dead.intend("Kill Replica", {}, {"action": "respawn", "name": "agg/Worker-0"})
    stays = dead.intend("process", {}, {"action": "end"}, is_fault=False)
    found = recover(dead.path)
    assert [(entry, why) for entry, why in found.failed if entry.id == killed.id] == [
        (killed, f"its deployment is not gone: {stays.id}")
    ]
    assert open_kinds(dead) == ["process", "Kill Replica"]


def test_a_dry_run_says_what_could_not_be_undone(dead: Ledger) -> None:
    """It said that it would be."""
    strange = dead.intend("strange", {}, {"platform": "moon", "action": "heal"})
    found = recover(dead.path, dry_run=True)
    assert (found.recovered, [entry.id for entry, _ in found.failed]) == ([], [strange.id])


def test_a_ledger_that_is_put_aside_leaves_no_lease_behind(ledger: Ledger, dead: Ledger, tmp_path: Path) -> None:
    leave_directory(dead, tmp_path / "state" / "work" / "w")
    renew(dead.lease(dead.owner))
    recover_dead_runs(ledger.path)
    assert sorted(path.name for path in dead.path.parent.iterdir()) == ["done"]
