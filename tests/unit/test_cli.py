"""The commands: a wrong use is one sentence and an exit status, never a traceback; what they print can be read."""

import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from DynamoFaultLibrary import doctor
from DynamoFaultLibrary.cli import fault_table, main
from DynamoFaultLibrary.ledger import Ledger, Owner, State
from DynamoFaultLibrary.owner import renew
from DynamoFaultLibrary.processes import ProcessId

COMMANDS = ("run", "faults", "graph", "recover", "load", "report", "doctor")
NOW = datetime(2026, 11, 21, 14, 0, tzinfo=UTC)


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    (tmp_path / "file").touch()
    (tmp_path / "empty").mkdir()
    return tmp_path / "state"


def call(*arguments: str) -> Result:
    return CliRunner().invoke(main, arguments)


def refused(result: Result) -> str:
    """The sentence of a command that was used wrongly; click puts its usage before it."""
    assert result.exit_code in {1, 2}, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    *usage, sentence = result.stderr.strip().splitlines()
    assert all(line.startswith(("Usage: ", "Try ")) or not line for line in usage), usage
    assert sentence.startswith("Error: ")
    return sentence.removeprefix("Error: ")


@pytest.mark.parametrize("command", COMMANDS[1:])
def test_an_option_that_does_not_exist_is_refused(command: str, state: Path) -> None:
    assert refused(call(command, "--nope")).startswith("No such option '--nope'")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nonsense",), "No such command 'nonsense'"),
        (("run",), "name the suites to run, such as suites/"),
        (("run", "--processes", "0", "suites"), "Invalid value for '--processes': 0 is not in the range"),
        (("run", "--processes", "many", "suites"), "Invalid value for '--processes': 'many' is not a valid integer"),
        (("run", "-d", "file", "empty"), "cannot write results to 'file': "),
        (("run", "-d", "file/below", "empty"), "cannot write results to 'file/below': Not a directory"),
        (("faults", "run-1"), "Got unexpected extra argument (run-1)"),
        (("recover",), "name a run with --run, or use --all"),
        (("recover", "--run", "x", "--all"), "name a run with --run, or use --all"),
        (("recover", "--run", "../x"), "no run '../x' in "),
        (("doctor", "more"), "Got unexpected extra argument (more)"),
        (("report",), "Missing argument 'DIRECTORIES...'"),
        (("report", "file"), "'file' is not a folder"),
        (("report", "nowhere"), "'nowhere' is not a folder"),
        (("report", "empty"), "no load below 'empty': "),
        (("report", "empty", "--sla", "-1"), "Invalid value for '--sla': expected seconds above 0, not '-1'"),
        (("report", "empty", "--sla", "nan"), "Invalid value for '--sla': expected seconds above 0, not 'nan'"),
        (("load",), "Missing argument 'URL'"),
        (("load", "localhost"), "a load needs an address such as http://127.0.0.1:8000, not 'localhost'"),
        (("load", "http://"), "a load needs an address such as http://127.0.0.1:8000, not 'http://'"),
        (("load", "http://[::1"), "a load needs an address such as http://127.0.0.1:8000, not 'http://[::1'"),
        (("load", "http://127.0.0.1:1", "--concurrency", "many"), "Invalid value for '--concurrency': "),
        (("load", "http://127.0.0.1:1", "--max-errors", "-1"), "Invalid value for '--max-errors': "),
    ],
    ids=" ".join,
)
def test_a_wrong_use_is_refused_in_one_sentence(arguments: tuple[str, ...], said: str, state: Path) -> None:
    assert refused(call(*arguments)).startswith(said)


@pytest.mark.parametrize("arguments", ["faults", "faults --all", "recover --all", "recover --run x"])
def test_a_state_directory_that_cannot_be_read_says_nothing_of_faults(arguments: str, state: Path) -> None:
    """It said 'no fault is active', with exit status 0."""
    state.touch()
    assert refused(call(*arguments.split())) == f"cannot read '{state}/runs', where the ledgers are: Not a directory"


def test_without_a_run_there_is_no_fault(state: Path) -> None:
    result = call("faults")
    assert (result.exit_code, result.stdout) == (0, f"no fault is active according to {state}\n")


@pytest.mark.parametrize("where", ["file", "file/below"])
def test_results_of_a_load_that_cannot_be_written_are_an_error(
    where: str, state: Path, loopback: Any, tmp_path: Path
) -> None:
    loopback.answer("/v1/models", {"data": [{"id": "m"}]})
    assert f"'{where}" in refused(call("load", loopback.url, "-d", where)).replace(str(tmp_path) + "/", "")


def row(**changes: Any) -> dict[str, Any]:
    fault = {
        "run": "20261121-135000-abc",
        "id": "stall-process-1a2b3c4d",
        "target": {"replica": "VllmWorker-0"},
        "state": "active",
        "created_at": "2026-11-21T13:59:00.123456+00:00",
        "expires_at": (NOW + timedelta(minutes=9)).isoformat(),
        "owner_is_alive": True,
    }
    return {**fault, **changes}


def test_faults_are_listed_under_a_header_in_columns() -> None:
    over = row(id="kill", state="recovered", target={"service": "etcd"}, owner_is_alive=False)
    lines = fault_table([row(), over], NOW).splitlines()
    assert lines[0].split() == ["FAULT", "TARGET", "STATE", "SINCE", "ENDS", "RUN", "OWNER"]
    assert [part.strip() for part in lines[1].split("  ") if part.strip()] == [
        "stall-process-1a2b3c4d",
        "VllmWorker-0",
        "active",
        "2026-11-21 13:59:00 UTC",
        "in 9 min 0 s",
        "20261121-135000-abc",
        "alive",
    ]
    for heading in ("TARGET", "STATE", "SINCE", "ENDS", "RUN", "OWNER"):
        column = lines[0].index(heading)
        assert all(line[column - 1] == " " and line[column] != " " for line in lines), heading
    assert "is over" in lines[2]


@pytest.mark.parametrize(
    ("expires", "said"),
    [(timedelta(seconds=5), "in 5 s"), (timedelta(seconds=-70), "1 min 10 s ago"), (None, "with its run")],
)
def test_when_a_fault_ends_is_told_from_now(expires: timedelta | None, said: str) -> None:
    when = None if expires is None else (NOW + expires).isoformat()
    assert f"  {said}  " in fault_table([row(expires_at=when)], NOW)


def test_faults_of_the_ledger_are_listed(state: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(ledger.path.parents[1]))
    entry = ledger.intend("Stall Process", {"replica": "W-0"}, {"action": "none"})
    ledger.mark(entry, State.ACTIVE)
    header, line = call("faults").stdout.splitlines()
    assert header.startswith("FAULT ")
    assert line.split()[:3] == [entry.id, "W-0", "active"]


def test_a_network_of_its_own_is_not_needed_as_root(state: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It failed: "this machine does not allow user namespaces: unshare: Invalid argument"."""
    monkeypatch.setattr("DynamoFaultLibrary.cli.may_administer_networks", lambda: True)
    monkeypatch.setattr("DynamoFaultLibrary.cli.enter_own_namespaces", lambda: pytest.fail("entered"))
    result = call("run", "--own-network")
    assert "--own-network is not needed with the rights of root, so this run goes on without it" in result.output
    assert "name the suites to run" in result.output


@pytest.mark.parametrize(("may", "told"), [(True, False), (False, True)])
def test_the_doctor_tells_users_whether_they_may_have_a_network_of_their_own(
    may: bool, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("DynamoFaultLibrary.doctor.may_administer_networks", lambda: may)
    assert ("--own-network" in [finding.what for finding in doctor.examine()]) is told


def test_a_run_has_one_thread_when_it_enters_namespaces_of_its_own() -> None:
    """numpy had started others, so the kernel refused ``--own-network`` to everybody: "unshare: Invalid argument"."""
    code = "import os, DynamoFaultLibrary.cli; print(len(os.listdir('/proc/self/task')))"
    found = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert found.stdout == "1\n"


@pytest.mark.parametrize("name", ["run-1", "run-1.17"])
def test_recover_knows_a_run_whose_ledger_was_put_aside(state: Path, name: str) -> None:
    """There was no such run, although it had left nothing."""
    (state / "runs" / "done").mkdir(parents=True)
    (state / "runs" / "done" / "run-1.17.jsonl").touch()
    told = call("recover", "--run", name)
    assert (told.exit_code, told.stdout) == (0, f"nothing to recover in {state}\n")
    assert call("recover", "--run", "run-2").exit_code == 1


def test_recover_says_on_which_machine_it_is_to_be_run_and_gives_up_one_that_is_gone(state: Path) -> None:
    """--force said 'undone' of what it had not touched."""
    ledger = Ledger("run-1", Owner(ProcessId.current(), "host-b"))
    entry = ledger.intend("Stall Process", {}, {"action": "continue", "processes": []})
    left = "run-1: 1 entry left alone: run 'dynamo-fault recover --run run-1' on machine 'host-b'; "
    told = call("recover", "--all")
    assert (told.exit_code, told.stderr) == (1, f"{left}if that machine is gone for good, --force closes them\n")
    renew(ledger.lease(ledger.owner))
    told = call("recover", "--all")
    assert told.stderr == (
        "run-1: 1 entry left alone, the run is alive on machine 'host-b'; --force undoes them there\n"
    )
    told = call("recover", "--all", "--force")
    assert (told.exit_code, told.stderr) == (1, f"{left}the run is alive there\n")
    ledger.lease(ledger.owner).unlink()
    told = call("recover", "--all", "--force", "--dry-run")
    assert (told.exit_code, told.stderr) == (1, f"run-1: {entry.id} would be given up\n")
    told = call("recover", "--all", "--force", "--json")
    assert (told.exit_code, json.loads(told.stdout)[0]["given_up"]) == (0, [entry.id])
    assert call("recover", "--all").stdout == f"nothing to recover in {state}\n"
