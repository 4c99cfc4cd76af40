"""Results folders of upstream's older fault tests give the table of origin 3."""

import json
import shutil
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from DynamoFaultLibrary.cli import main
from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.reports.results import LoadReport, read_results

ANSWER = {"choices": [{"message": {"content": "x" * 100}}], "usage": {"prompt_tokens": 7, "completion_tokens": 50}}
FAULT = 30


def at(seconds: float) -> str:
    return (datetime(2025, 8, 1, 10) + timedelta(seconds=seconds)).isoformat()


def attempt(status: int | str = 200, result: Any = ANSWER) -> dict[str, Any]:
    return {"status": status, "result": result, "request_elapsed_time": 0.5, "url": "u", "pod": "p"}


def request(ended: float, *attempts: dict[str, Any]) -> str:
    results = list(attempts) or [attempt()]
    return json.dumps({"time": at(ended), "results": results, "total_time": 0.5 * len(results), "url": "u", "pod": "p"})


@pytest.fixture
def scenario(tmp_path: Path) -> Path:
    """Two clients, a request a second each; what one of them sent from the fault on for five seconds timed out."""
    folder = tmp_path / "test_fault_scenario[vllm-agg-tp-1-dp-1-decode_worker]"
    folder.mkdir()
    for client in range(2):
        lines = [
            request(number, attempt("Read timed out.", None)) if client and 0 < number - FAULT <= 5 else request(number)
            for number in range(60)
        ]
        (folder / f"client_{client}.log.txt").write_text("\n".join(lines) + '\n{"torn')
    (folder / "test.log.txt").write_text(
        f"[TEST] {at(-90)} INFO root: Starting Deployment fault-tolerance-test with spec {{}}\n"
        f"[TEST] {at(-20)} INFO root: Deployment fault-tolerance-test is ready\n"
        f"[TEST] {at(FAULT)} INFO root: Injecting failure for: TerminateProcessFailure\n"
    )
    return folder


def read(folder: Path) -> LoadReport:
    (found,) = read_results(folder)
    return found


def test_the_table_of_origin_3_comes_from_its_files(scenario: Path) -> None:
    row = read(scenario).scenario(sla_s=0.4)
    assert (row.failure, row.startup) == ("decode_worker", 70.0)
    assert row.before is not None
    assert row.after is not None
    assert (row.before.good, row.before.failed) == (60, 0)
    assert (row.after.good, row.after.failed) == (55, 5)
    assert row.violations == (60, 55)
    assert row.aftermath is not None
    assert row.aftermath.last_error_s == 5.0


@pytest.mark.parametrize(
    ("attempts", "outcome", "retries"),
    [
        ([attempt(503, None), attempt()], None, 1),
        ([attempt(503, None)], "http_error", 0),
        ([attempt("Connection refused", None)], "connection", 0),
        ([attempt(200, {"choices": []})], "malformed", 0),
        ([attempt(200, {"choices": [{"message": {"content": "short"}}]})], "truncated", 0),
        ([attempt(200, {"choices": [{"message": {"content": None, "reasoning_content": "x" * 100}}]})], None, 0),
        ([attempt(200, {"choices": [{"text": "x" * 100}]})], None, 0),
    ],
)
def test_each_end_of_a_request_is_known(
    tmp_path: Path, attempts: list[dict[str, Any]], outcome: str | None, retries: int
) -> None:
    (tmp_path / "client_0.log.txt").write_text(request(1, *attempts) + "\n")
    figures = read(tmp_path).whole.figures
    assert figures.errors == ({outcome: 1} if outcome else {})
    assert (figures.good, figures.retries) == (int(outcome is None), retries)


def test_without_a_log_nothing_is_said_of_a_failure(tmp_path: Path) -> None:
    (tmp_path / "client_0.log.txt").write_text(request(1) + "\n")
    report = read(tmp_path)
    assert (report.faults, report.startup_s) == ([], None)


@pytest.mark.parametrize("line", ["[]", "{}", "no JSON", '{"time": "now", "results": [], "total_time": 1}'])
def test_a_line_of_another_tool_is_named(tmp_path: Path, line: str) -> None:
    (tmp_path / "client_0.log.txt").write_text(f"{request(1)}\n{line}\n")
    with pytest.raises(LoadError, match=r"client_0\.log\.txt' line 2 is no request of upstream's client"):
        read(tmp_path)


def test_scenarios_are_compared(scenario: Path, tmp_path: Path) -> None:
    for side in ("old", "new"):
        shutil.copytree(scenario, tmp_path / side / scenario.name)
    answer = CliRunner().invoke(main, ["compare", str(tmp_path / "old"), str(tmp_path / "new"), "--json"])
    assert answer.exit_code == 0, answer.output
    (found,) = json.loads(answer.stdout)["comparisons"]
    lost = {each["load"]: each["one"] for each in found["figures"] if each["figure"] == "failed"}
    assert lost == {scenario.name: [5]}
