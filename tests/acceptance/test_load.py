"""Loads in a child robot, under the launcher, and from the shell."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from child import DATA, Run, Sandbox

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.load.folder import LoadFolder, LoadState
from DynamoFaultLibrary.load.records import read_records

EXPECTED = {
    "Bad Load Without A Good Response": ("has ended without a good response", "its first: timeout: 0 of 64 tokens"),
    "Bad Rate": ("request_rate of load 'default' must be above 0, not 0",),
    "Bad Share": ("cancellation_rate is a share from 0 to 1, not 30",),
    "Bad Prefix": ("prefix_tokens are part of input_tokens, so at most 10, not 20",),
    "Bad Part": ("load 'default' has no part 'sometimes'; it has ['before', 'during', 'after']",),
    "Bad Part Without A Fault": ("no fault has been injected in this test or by its suite",),
    "Bad Phase Name": ("'during' is the name of a part already",),
    "Bad Wait": ("has ended (completed)",),
    "Bad Errors": ("failed requests {", "at most 2 expected; the first: load-default-"),
    "Bad Verdict On A Running Load": ("still runs; call 'Wait For Load Completion' or 'Stop Load' first",),
}


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("load")).robot(DATA / "load.robot")


def command(sandbox: Sandbox, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "DynamoFaultLibrary.cli", *map(str, arguments)],
        env=sandbox.environment,
        cwd=sandbox.base,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_load_is_cut_at_the_fault_and_at_the_phases(loaded: Run) -> None:
    outcome = loaded.tests["A Fault Under Load"]
    assert outcome.status == "PASS", outcome.message


def test_bad_input_is_refused_in_one_sentence(loaded: Run) -> None:
    assert {name for name in loaded.tests if name.startswith("Bad")} == set(EXPECTED)
    for name, parts in EXPECTED.items():
        outcome = loaded.tests[name]
        assert outcome.status == "FAIL", name
        assert [part for part in parts if part not in outcome.message] == [], f"{name}: {outcome.message}"
        assert "Traceback" not in outcome.message


def test_nothing_is_left_running(loaded: Run) -> None:
    assert loaded.sandbox.leftovers() == []


def test_the_log_shows_the_load_with_the_fault_and_the_table_of_its_parts(loaded: Run) -> None:
    story = next(text for text in loaded.messages("A Fault Under Load") if "<svg" in text)
    assert story.count("<svg") == 2
    assert "Stall Process on PositionWorker-0" in story
    assert "answers again after" in story
    for part in ("standard", "recovery", "before", "during", "after"):
        assert f">{part}</th>" in story
    for title in ("Recovery time", "Full recovery", "Last error or retry", "Longest outage", "Lost requests"):
        assert f">{title}</th>" in story


def test_the_report_of_the_results_tells_the_same(loaded: Run) -> None:
    sandbox = loaded.sandbox
    answer = command(sandbox, "report", sandbox.results, "--json", "--html", sandbox.base / "report.html")
    assert answer.returncode == 0, answer.stderr
    report = next(each for each in json.loads(answer.stdout) if "A Fault Under Load" in each["title"])
    assert report["fault"]["label"].startswith("Stall Process")
    assert set(report["parts"]) == {"all", "standard", "recovery", "before", "during", "after"}
    counts = {name: part["good"] for name, part in report["parts"].items()}
    assert counts["before"] + counts["during"] + counts["after"] == counts["all"]
    assert report["startup_s"] > 0
    assert "Before and after the failure" in (sandbox.base / "report.html").read_text()
    table = command(sandbox, "report", sandbox.results).stdout
    assert "Failure" in table.splitlines()[len(json.loads(answer.stdout)) + 1]
    assert "Stall Process on PositionWorker-0" in table


def test_figures_are_exported_in_the_schema_of_aiperf(loaded: Run) -> None:
    (directory,) = {path.parent for path in loaded.sandbox.results.rglob("load/default/load.json")}
    summary = json.loads((directory / "profile_export_aiperf.json").read_text())
    records = [record for record in read_records(directory / "requests.jsonl") if record.is_ok]
    assert summary["request_count"]["avg"] == len(records)
    assert summary["was_cancelled"] is True
    assert summary["request_latency"]["unit"] == "ms"
    assert (directory / "profile_export_aiperf.csv").read_text().startswith("Metric,avg,min,max")


def test_a_long_load_is_told_of_on_the_console_also_under_pabot(sandbox: Sandbox) -> None:
    (sandbox.base / "suites").mkdir()
    (sandbox.base / "suites" / "long.robot").write_text((DATA / "long_load.robot").read_text())
    answer = command(sandbox, "run", "suites")
    assert answer.returncode == 0, answer.stdout + answer.stderr
    (line,) = [line for line in answer.stdout.splitlines() if line.startswith("load 'default': ")]
    assert " errors, " in line
    assert line.endswith(" s left")


def test_what_a_killed_run_had_measured_is_kept_and_marked(sandbox: Sandbox) -> None:
    child = sandbox.start("--outputdir", sandbox.results, DATA / "long_load.robot")
    assert wait_until((sandbox.results / "running").exists, 60.0)
    (records,) = sandbox.results.rglob("load/default/requests.jsonl")
    assert wait_until(lambda: len(records.read_bytes().splitlines()) > 5, 30.0)
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=10)
    assert wait_until(lambda: sandbox.leftovers() == [], 10.0), sandbox.leftovers()
    folder = LoadFolder.read(records.parent)
    assert folder.state is LoadState.RUNNING
    answer = command(sandbox, "report", sandbox.results)
    assert answer.returncode == 0
    assert "PARTIAL (running): " in answer.stderr
    assert len(folder.table) > 5


def test_a_load_from_the_shell_can_be_interrupted(sandbox: Sandbox) -> None:
    graph = sandbox.start("--outputdir", sandbox.results, DATA / "long_load.robot")
    assert wait_until((sandbox.results / "running").exists, 60.0)
    (timeline,) = sandbox.results.rglob("timeline.jsonl")
    url = next(word for word in timeline.read_text().split('"')[:40] if " at http" in word).rpartition(" at ")[2]
    output = sandbox.base / "out"
    child = sandbox.start(
        "load", url, "--duration", "50", "--output-tokens", "8", "-d", output, module="DynamoFaultLibrary.cli"
    )
    records = output / "requests.jsonl"
    assert wait_until(lambda: records.exists() and len(records.read_bytes().splitlines()) > 5, 30.0)
    child.send_signal(signal.SIGINT)
    console, _ = child.communicate(timeout=20)
    assert child.returncode == 130, console
    assert "PARTIAL (given_up)" in console
    assert "Successful Requests" in console
    again = command(sandbox, "load", url, "--requests", "3", "-d", output)
    assert again.returncode == 1
    assert "holds the results of a load already" in again.stderr
    graph.communicate(timeout=60)


def test_an_unreachable_server_is_named(sandbox: Sandbox) -> None:
    began = time.monotonic()
    answer = command(sandbox, "load", "http://127.0.0.1:1")
    assert answer.returncode == 1
    assert "no list of models from http://127.0.0.1:1/v1/models" in answer.stderr
    assert time.monotonic() - began < 30
