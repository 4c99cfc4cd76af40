"""A child robot loses a worker of a saturated service; what getters, log and report say of its recovery."""

import json
import re
import subprocess
import sys

import pytest
from child import DATA, Run, Sandbox

LOST = "A Killed Worker Is Not Replaced. So Half Of The Throughput Is Gone"
REPLACED = "A Killed Worker Is Replaced"
BAD = {
    "Bad Replica": "no replica 'VllmWorker-9' among those that serve requests; there are ['VllmWorker-0', 'VllmWor",
    "Bad Comparison": "assertion_expected must be a time such as '2 s' to compare it with p50 latency, not 'soon'",
    "Bad Percentile": "percentile must be from 1 to 100, not 0.95; for the 95th percentile write 95",
    "Bad Share": "assertion_expected must be a share from 0 to 1, or a percentage such as 90%, not 90",
    "Bad Baseline": "20 are needed",
}
NOT_REACHED = r"not reached: (\d+) % of the throughput at the end"


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("recovery")).robot(DATA / "recovery.robot")


def story(run: Run, test: str) -> str:
    return next(text for text in run.messages(test) if "<svg" in text)


@pytest.mark.parametrize("test", [LOST, REPLACED, "Good Percentage"])
def test_recovery_is_told_from_a_loss_of_throughput(run: Run, test: str) -> None:
    """The load answered after milliseconds, and was called recovered at half its throughput (row 6)."""
    assert run.tests[test].status == "PASS", run.tests[test].message


@pytest.mark.parametrize("test", BAD)
def test_bad_input_is_refused_in_one_sentence(run: Run, test: str) -> None:
    assert run.tests[test].status == "FAIL"
    assert BAD[test] in run.tests[test].message
    assert "Traceback" not in run.tests[test].message


def test_the_log_shows_baseline_replicas_and_that_the_level_is_not_reached(run: Run) -> None:
    shown = story(run, LOST)
    assert re.search(f"full recovery: {NOT_REACHED}</text>", shown)
    assert "- - before the fault: " in shown
    assert "p95 before the fault: " in shown
    assert "p50 by replica (s)" in shown
    assert ">VllmWorker-1</th>" in shown
    assert re.search(f">{NOT_REACHED}</td>", shown)
    assert "p50 by replica (s)" in story(run, REPLACED)


def test_pictures_of_one_test_have_one_time_axis(run: Run) -> None:
    axes = [re.findall(r'x="([\d.]+)"[^>]*>(\d+ s)</text>', svg) for svg in story(run, LOST).split("</svg>")[:2]]
    assert axes[0]
    assert axes[0] == axes[1]


def test_the_failure_table_in_the_test_that_killed_shows_the_fault(run: Run) -> None:
    """`Log Failure Table` said "none" in the test that killed a worker (row 12); a name with a dot was cut."""
    (path,) = run.sandbox.results.rglob("failures.txt")
    (line,) = (line for line in path.read_text().splitlines() if line.startswith(f"{LOST}  "))
    assert "Kill Worker on VllmWorker-0" in line
    assert re.search(NOT_REACHED, line)


def test_the_report_knows_recovery_and_replicas_afterwards(run: Run) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "DynamoFaultLibrary.cli", "report", str(run.sandbox.results), "--json"],
        env=run.sandbox.environment,
        capture_output=True,
        text=True,
        check=True,
    )
    reports = {report["title"]: report for report in json.loads(answer.stdout)}
    lost = next(report for title, report in reports.items() if LOST in title)
    replaced = next(report for title, report in reports.items() if REPLACED in title)
    assert lost["full_recovery_s"] is None
    assert re.fullmatch(NOT_REACHED, lost["full_recovery"])
    assert lost["recovery_s"] is not None
    assert lost["baseline"]["answers"] >= 20
    assert replaced["baseline"]["throughput"] > 0
    replicas = lost["replicas"]
    assert sum(figures["good"] for figures in replicas.values()) == lost["parts"]["all"]["good"]
    assert replicas["VllmWorker-0"]["good"] < replicas["VllmWorker-1"]["good"]
