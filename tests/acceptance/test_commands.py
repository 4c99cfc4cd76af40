"""The command dynamo-fault, as users call it."""

import json
import os
import signal
import subprocess
import sys
from xml.etree import ElementTree

from child import DATA, Sandbox
from robot.api import ExecutionResult

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.processes import read_command


def command(sandbox: Sandbox, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "DynamoFaultLibrary.cli", *arguments],
        env=sandbox.environment,
        cwd=sandbox.base,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def stalled(sandbox: Sandbox) -> subprocess.Popen[str]:
    """A run that has stalled a worker and waits."""
    child = sandbox.start("--outputdir", sandbox.results, DATA / "stalled.robot")
    assert wait_until((sandbox.results / "stalled").exists, 60.0)
    return child


def test_run_passes_pabots_status_on_and_names_the_reports(sandbox: Sandbox) -> None:
    (sandbox.base / "ok.robot").write_text("*** Test Cases ***\nGood\n    No Operation\n")
    (sandbox.base / "bad.robot").write_text("*** Test Cases ***\nOne\n    Fail\nTwo\n    Fail\n")
    good = command(sandbox, "run", "ok.robot")
    assert good.returncode == 0, good.stderr
    assert str(sandbox.base / "results" / "log.html") in good.stdout.splitlines()[-4]
    told = "1 test: 1 passed, 0 were skipped, 0 show known defects of Dynamo, 0 failed."
    assert good.stdout.splitlines()[-5] == told
    assert command(sandbox, "run", "bad.robot").returncode == 2
    assert not (sandbox.base / ".pabotsuitenames").exists()


def test_a_run_under_nohup_says_that_hangups_are_ignored_and_ignores_them(sandbox: Sandbox) -> None:
    """Its launcher took the ignored signal over, and tests that send it failed (row 40)."""
    (sandbox.base / "waits.robot").write_text(
        "*** Settings ***\nLibrary    OperatingSystem\n"
        "*** Test Cases ***\nWaits\n    Create File    began\n    Wait Until Created    go    60 s\n"
    )
    run = f"exec {sys.executable} -m DynamoFaultLibrary.cli run waits.robot"
    child = subprocess.Popen(
        ["sh", "-c", f"trap '' HUP; {run}"],
        env=sandbox.environment,
        cwd=sandbox.base,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert wait_until((sandbox.base / "began").exists, 60.0)
    child.send_signal(signal.SIGHUP)
    (sandbox.base / "go").touch()
    console, _ = child.communicate(timeout=60)
    assert child.returncode == 0, console
    assert "SIGHUP is ignored (nohup?): this run goes on when its terminal closes" in console
    assert "1 test: 1 passed" in console


def test_a_suite_whose_robot_was_killed_is_a_failed_one_in_log_and_xunit(sandbox: Sandbox) -> None:
    suites = sandbox.base / "suites"
    suites.mkdir()
    (suites / "ok.robot").write_text("*** Test Cases ***\nGood\n    No Operation\n")
    (suites / "dies.robot").write_text(
        "*** Test Cases ***\nDies\n    Evaluate    os.kill(os.getpid(), 9)    modules=os\n"
    )
    answer = command(sandbox, "run", "suites")
    assert answer.returncode != 0
    assert "suite 'Suites.Dies' has no result" in answer.stderr
    tests = {test.full_name: test.status for test in ExecutionResult(sandbox.results / "output.xml").suite.all_tests}
    assert tests == {"Suites.Ok.Good": "PASS", "Suites.Dies.This Suite Has No Result": "FAIL"}
    xunit = ElementTree.parse(sandbox.results / "xunit.xml").getroot()
    assert (xunit.get("tests"), xunit.get("failures")) == ("2", "1")


def test_faults_lists_what_is_active_and_recover_leaves_a_living_run_alone(sandbox: Sandbox) -> None:
    child = stalled(sandbox)
    listed = json.loads(command(sandbox, "faults", "--json").stdout)
    assert [(fault["kind"], fault["state"], fault["owner_is_alive"]) for fault in listed] == [
        ("Stall Process", "active", True)
    ]
    assert listed[0]["evidence"][0].startswith("pid ")
    answer = command(sandbox, "recover", "--all")
    assert answer.returncode == 1
    assert "the run is alive; --force undoes them" in answer.stderr
    forced = command(sandbox, "recover", "--run", listed[0]["run"], "--force", "--json")
    assert listed[0]["id"] in json.loads(forced.stdout)[0]["recovered"]
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=10)
    assert wait_until(lambda: sandbox.leftovers() == [], 5.0)
    assert command(sandbox, "recover", "--all").returncode == 0


def test_recover_says_what_it_would_do_and_skips_a_corrupt_line(sandbox: Sandbox) -> None:
    child = stalled(sandbox)
    ours = [child.pid, *(pid for pid in sandbox.processes() if "supervisor" in read_command(pid))]
    for pid in ours:
        os.kill(pid, signal.SIGSTOP)
    for pid in ours:
        os.kill(pid, signal.SIGKILL)
    child.communicate(timeout=10)
    (path,) = (sandbox.state / "runs").glob("*.jsonl")
    with path.open("a") as file:
        file.write('{"id": "torn')
    dry = command(sandbox, "recover", "--all", "--dry-run")
    assert dry.returncode == 1
    assert "would be undone" in dry.stdout
    assert "skipped a corrupt line" in dry.stderr
    assert command(sandbox, "recover", "--all").returncode == 0
    assert command(sandbox, "faults").stdout.startswith("no fault is active")


def test_an_unknown_run_is_named_with_those_that_are_known(sandbox: Sandbox) -> None:
    answer = command(sandbox, "recover", "--run", "nobody")
    assert answer.returncode == 1
    assert "no run 'nobody'" in answer.stderr
    assert "known are none" in answer.stderr


def test_doctor_knows_dynamo_etcd_and_nats(sandbox: Sandbox) -> None:
    findings = {finding["what"]: finding for finding in json.loads(command(sandbox, "doctor", "--json").stdout)}
    assert all(findings[what]["is_there"] for what in ("Dynamo", "etcd", "nats-server", "state directory"))
    assert "NVIDIA GPUs" in findings


def test_a_state_directory_that_cannot_be_made_is_named(sandbox: Sandbox) -> None:
    sandbox.state.write_text("a file")
    run = sandbox.robot(DATA / "needs_ledger.robot")
    assert run.returncode == 1
    assert f"cannot write ledger '{sandbox.state}" in run.tests["Deploys"].message
    assert "Not a directory" in run.tests["Deploys"].message
    sandbox.state.unlink()
