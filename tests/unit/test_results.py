import json
import re
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.folder import LoadState
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.recovery import aftermaths
from DynamoFaultLibrary.load.statistics import Figures
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import FaultWindow, PhaseMark
from DynamoFaultLibrary.reports.grid import Grid
from DynamoFaultLibrary.reports.page import page
from DynamoFaultLibrary.reports.results import LoadReport, failure_table, metrics_table, read_results, write_whole
from DynamoFaultLibrary.reports.tables import (
    ScenarioRow,
    cut,
    fault_facts,
    faults_table,
    figures_table,
    scenario_table,
)

TEST = "Suite.Worker Death"
Write = Callable[..., Path]


def story() -> list[tuple[float, float, Outcome]]:
    """A request a second from 0 to 30, each half a second long; those that started from 10 to 14 failed."""
    return [(float(n), n + 0.5, Outcome.TIMEOUT if 10 <= n < 15 else Outcome.OK) for n in range(30)]


def event(kind: str, at: float, test: str = TEST, **data: Any) -> dict[str, Any]:
    return {
        "at": "2026-01-01T00:00:00.000000Z",
        "monotonic_s": at,
        "kind": kind,
        "text": "x",
        "test": test,
        "data": data,
    }


def hit(label: str = "kill on Worker-0", injected: float = 10.25, active: float | None = 10.5) -> dict[str, Any]:
    return {
        "label": label,
        "injected_monotonic_s": injected,
        "effective_monotonic_s": active,
        "ended_monotonic_s": active,
    }


@pytest.fixture
def suite(tmp_path: Path, write_load: Write) -> Path:
    """Results of a suite: a load that met a fault."""
    write_load("suite/load/default", *story(), test=TEST)
    events = [
        event("deploy", -20.0, startup_s=9.0),
        event("deploy", -5.0, startup_s=4.5),
        event("phase", 0.0, phase="standard"),
        event("phase", 8.0, test="Suite.Other", phase="elsewhere"),
        event("phase", 20.0, phase="recovery"),
        event("deploy", 5.0, startup_s=99.0),
    ]
    directory = tmp_path / "suite"
    (directory / "timeline.jsonl").write_text("".join(json.dumps(each) + "\n" for each in events) + '{"torn')
    (directory / "faults.json").write_text(
        json.dumps([hit("stall", -3.0, -2.0), hit(), hit("never proven", 12.0, None), hit("later", 99.0, 99.5)])
    )
    return directory


def report_of(directory: Path) -> LoadReport:
    (found,) = read_results(directory)
    return found


def test_a_report_cuts_a_load_at_the_last_fault_as_getters_and_the_log_do(suite: Path) -> None:
    """It cut at the first one: the same load had other figures in log.html than in the report."""
    (suite / "faults.json").write_text(json.dumps([hit("last", 20.25, 20.5), hit("first")]))
    report = report_of(suite)
    assert [fault.label for fault in report.faults] == ["first", "last"]
    assert report.fault is not None
    assert report.fault.label == "last"
    assert report.to_json()["parts"]["before"]["requests"] == 20
    row = report.scenario()
    assert (row.failure, row.before.requests if row.before else None) == ("last", 20)


def test_a_fault_that_a_load_began_in_is_told_without_times_from_before_the_load(suite: Path) -> None:
    """A report left it out, log.html had a recovery time from before the load's start."""
    (suite / "faults.json").write_text(json.dumps([{**hit("long", -30.0, -29.0), "ended_monotonic_s": 12.0}]))
    report = report_of(suite)
    assert report.fault is not None
    assert (report.to_json()["recovery_s"], report.to_json()["last_error_s"]) == (None, None)
    assert dict(fault_facts(report.aftermath)) == {
        "Recovery time": "not known: the load began after the fault",
        "Full recovery": "no baseline: no request started before the fault",
        "Last error or retry": "not known: the load began after the fault",
        "Longest outage": "not known: the load began after the fault",
        "Lost requests": "-",
    }
    assert "not known: the load began after the fault" in page([report])


def test_a_grid_for_the_console_has_aligned_columns() -> None:
    assert Grid(["", "one"], [["long name", "1"], ["x", "1234"]]).to_text() == (
        "            one\n---------  ----\nlong name     1\nx          1234"
    )


def test_a_grid_without_rows_is_its_header() -> None:
    assert Grid(["a", "b"], []).to_text() == "a  b\n-  -"


def test_a_grid_for_the_log_is_escaped_and_dark_on_white() -> None:
    html = Grid(["a<b", "c"], [["<script>", '"&']]).to_html()
    assert "<script>" not in html
    assert Cells(html).texts == ["a<b", "c", "<script>", '"&']
    assert "background:#fff" in html
    assert "color:#1a202c" in html


class Cells(HTMLParser):
    """Texts of the cells of a table."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.texts: list[str] = []
        self.feed(html)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def figures(requests: list[tuple[float, float, Outcome]] | None = None, name: str = "all") -> Figures:
    parts = cut(table(requests or story()), FaultWindow("kill", 10.25, 10.5, 10.5), [])
    return parts[name].figures


def table(requests: list[tuple[float, float, Outcome]]) -> Table:
    none = float("nan")
    codes = list(Outcome)
    return Table.from_rows(
        (start, end, end - start, none, none, none, 0, 8, 0, 0, 200, codes.index(outcome), none, none, none)
        for start, end, outcome in requests
    )


def test_figures_lie_side_by_side() -> None:
    grid = figures_table({"before": figures(name="before"), "after": figures(name="after")})
    rows = {row[0]: row[1:] for row in grid.rows}
    assert grid.header == ["", "before", "after"]
    assert rows["Requests"] == ["10", "19"]
    assert rows["Good"] == ["10", "15"]
    assert rows["Failed"] == ["0", "4 (4 timeout)"]
    assert rows["Success rate"] == ["100.00%", "78.95%"]
    assert rows["Latency p50 / p99"] == ["0.500 s / 0.500 s"] * 2
    assert rows["Time to first token p50 / p99"] == ["-", "-"]


def facts(load: Table, fault: FaultWindow) -> dict[str, str]:
    return dict(fault_facts(aftermaths(load, [fault])[0]))


def test_facts_of_a_fault_are_told() -> None:
    """An early answer, errors that go on and a loss of throughput stand side by side (row 6)."""
    assert facts(table(story()), FaultWindow("kill on Worker-0", 10.25, 10.5, 14.0)) == {
        "Recovery time": "5.000 s",
        "Full recovery": "no baseline: 10 good answers before the fault, 20 are needed",
        "Last error or retry": "4.000 s",
        "Longest outage": "2.500 s",
        "Lost requests": "1",
    }


def test_of_a_fault_after_the_load_nothing_is_known() -> None:
    """A load that ended before the fault had no outage and no error (row 4)."""
    nothing = facts(table(story()[:4]), FaultWindow("kill", 5.0, 5.0, 5.0))
    assert nothing["Recovery time"] == nothing["Last error or retry"] == nothing["Longest outage"]
    assert nothing["Recovery time"] == "not known: no request ended after the fault"
    assert nothing["Lost requests"] == "-"


def test_of_a_fault_without_recovery_and_error_that_is_told() -> None:
    told = facts(table(story()[:9]), FaultWindow("kill", 5.0, 5.0, 5.0))
    assert (told["Recovery time"], told["Last error or retry"]) == ("not recovered", "none")


def test_faults_lie_below_each_other() -> None:
    load = table(story())
    faults = [FaultWindow("stayed", 5.0, 5.0, None), FaultWindow("came off", 5.0, 6.0, 8.0)]
    grid = faults_table(aftermaths(load, faults))
    assert [row[:2] for row in grid.rows] == [["stayed", "not undone"], ["came off", "2.000 s"]]
    assert grid.header[2:] == [
        "Recovery time",
        "Full recovery",
        "Last error or retry",
        "Longest outage",
        "Lost requests",
    ]


def test_a_load_is_cut_by_phase_and_by_fault() -> None:
    whole = table(story())
    assert list(cut(whole, None, [])) == ["all"]
    phases = [PhaseMark("standard", 0.0), PhaseMark("recovery", 20.0)]
    parts = cut(whole, FaultWindow("kill", 10.25, 10.5, 10.5), phases)
    assert list(parts) == ["all", "standard", "recovery", "before", "during", "after"]


AFTER = aftermaths(table(story()), [FaultWindow("kill", 10.25, 10.5, 10.5)])[0]
TOLD = [text for _, text in fault_facts(AFTER)]
ROW = ScenarioRow("Worker Death", "kill", 4.5, figures(name="before"), figures(name="after"), AFTER)


def test_a_scenario_is_a_row_of_the_failure_table() -> None:
    grid = scenario_table([ROW])
    assert grid.header == [
        "Scenario",
        "Failure",
        "Startup",
        "Success Before",
        "Failed Before",
        "Success After",
        "Failed After",
        "Latency Before",
        "Latency After",
        "Recovery Time",
        "Full Recovery",
        "Last Error Or Retry",
        "Longest Outage",
        "Lost Requests",
    ]
    assert grid.rows == [["Worker Death", "kill", "4.500 s", "10", "0", "15", "4", "0.500 s", "0.500 s", *TOLD]]


def test_what_a_scenario_does_not_know_is_a_dash() -> None:
    assert scenario_table([ScenarioRow("plain", "none", None, figures(), None, None)]).rows == [
        ["plain", "none", "-", "25", "5", "-", "-", "0.500 s", "-", *["-"] * 5]
    ]


def test_with_an_sla_violations_are_counted_before_and_after() -> None:
    grid = scenario_table([ScenarioRow("x", "kill", None, None, None, None, (1, 2)), ROW])
    assert grid.header[-7:-4] == ["Violations Before", "Violations After", "Recovery Time"]
    assert [row[-7:-4] for row in grid.rows] == [["1", "2", "-"], ["-", "-", "5.000 s"]]


def test_a_load_is_read_with_what_it_met(suite: Path) -> None:
    report = report_of(suite)
    assert report.title == f"{TEST}: default"
    assert report.faults == [FaultWindow("kill on Worker-0", 10.25, 10.5, 10.5)]
    assert report.phases == [PhaseMark("standard", 0.0), PhaseMark("recovery", 20.0)]
    assert report.startup_s == 4.5
    assert report.aftermath is not None
    assert report.aftermath.recovery_s == 5.0


def test_the_scenario_of_a_load_is_cut_at_the_injection(suite: Path) -> None:
    row = report_of(suite).scenario(0.4)
    assert row.before is not None
    assert row.after is not None
    assert (row.before.good, row.before.failed, row.after.good, row.after.failed) == (10, 0, 15, 5)
    assert row.scenario == "Worker Death"
    assert (row.failure, row.startup, row.violations) == ("kill on Worker-0", 4.5, (10, 15))
    assert row.aftermath is not None
    assert row.aftermath.recovery_s == 5.0


def test_the_scenario_of_a_load_without_a_fault_is_all_before(write_load: Write) -> None:
    path = write_load("plain", *story())
    row = report_of(path).scenario(0.6)
    assert row.scenario == str(path)
    assert (row.failure, row.after, row.aftermath, row.violations) == ("none", None, None, (0, 0))
    assert row.before is not None
    assert row.before.good == 25


def test_a_report_for_programs_has_the_figures_of_all_parts(suite: Path) -> None:
    data = json.loads(json.dumps(report_of(suite).to_json()))
    assert list(data["parts"]) == ["all", "standard", "recovery", "before", "during", "after"]
    assert {name: part["good"] for name, part in data["parts"].items()} == {
        "all": 25,
        "standard": 15,
        "recovery": 10,
        "before": 10,
        "during": 0,
        "after": 15,
    }
    assert data["parts"]["all"]["errors"] == {"timeout": 5}
    assert (data["recovery_s"], data["lost_requests"], data["state"], data["engine"]) == (5.0, 1, "completed", "native")
    assert data["fault"] == {"label": "kill on Worker-0", "injected_s": 10.25, "effective_s": 10.5, "ended_s": 10.5}
    assert data["violations"] is None


def test_the_metrics_of_a_load_are_those_of_upstream(suite: Path) -> None:
    shown = dict(report_of(suite).metrics(sla_s=0.6))
    assert (shown["Test Directory"], shown["Number of Clients"]) == ("load/default", "4")
    assert (shown["Total Requests"], shown["Successful Requests"], shown["Failed Requests"]) == ("30", "25", "5")
    assert shown["Mean Latency"] == "0.500 s (SLA met)"
    assert shown["Recovery Time"] == "5.000 s"
    assert shown["Total Throughput (requests/s)"] == "0.85"
    assert shown["Avg Client Throughput (requests/s)"] == "0.21"
    assert dict(report_of(suite).metrics(sla_s=0.4))["Mean Latency"] == "0.500 s (SLA violated)"
    assert dict(report_of(suite).metrics())["Mean Latency"] == "0.500 s"


def test_loads_are_compared_side_by_side(suite: Path, write_load: Write) -> None:
    reports = [report_of(suite), report_of(write_load("other", (0, 1, Outcome.OK)))]
    grid = metrics_table(reports, ["1", "2"])
    assert grid.header == ["Metric", "1", "2"]
    assert ["Total Requests", "30", "1"] in grid.rows


def test_all_loads_below_a_folder_are_read_in_the_order_of_their_paths(tmp_path: Path, write_load: Write) -> None:
    for place in ("b/load/x", "a/load/y", "a/load/x"):
        write_load(place, (0, 1, Outcome.OK))
    found = [report.folder.path.relative_to(tmp_path).as_posix() for report in read_results(tmp_path)]
    assert found == ["a/load/x", "a/load/y", "b/load/x"]


def test_a_load_outside_of_a_run_is_titled_by_its_folder(write_load: Write) -> None:
    path = write_load("alone", (0, 1, Outcome.OK))
    report = report_of(path)
    assert (report.title, report.faults, report.phases, report.startup_s) == (str(path), [], [], None)


def test_faults_of_an_earlier_version_took_effect_when_they_were_proven(suite: Path) -> None:
    """Results of version 0.1.0 have the end of the proof only."""
    old = {**hit(), "active_monotonic_s": 10.5}
    del old["effective_monotonic_s"]
    never = {**hit("never proven"), "active_monotonic_s": 0.0}
    del never["effective_monotonic_s"]
    (suite / "faults.json").write_text(json.dumps([old, never]))
    assert report_of(suite).faults == [FaultWindow("kill on Worker-0", 10.25, 10.5, 10.5)]


@pytest.mark.parametrize(
    ("suite_name", "test"),
    [("suite", "Suite.Waits 1.5 s. Then It Dies"), ("suite.nested", "Suite.Nested.Version 1.6.1")],
)
def test_a_test_with_a_dot_in_its_name_keeps_it(tmp_path: Path, write_load: Write, suite_name: str, test: str) -> None:
    """The failure table cut a test's name at its last dot."""
    write_load(f"{suite_name}/load/default", *story(), test=test)
    (tmp_path / suite_name / "timeline.jsonl").write_text("")
    assert report_of(tmp_path).scenario().scenario == test.split(".", suite_name.count(".") + 1)[-1]


def test_a_run_without_a_load_has_no_failure_table(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=r"no load has been started in this run \('run-1'\)"):
        failure_table(tmp_path / "run-1", "*", None)


def test_a_suite_without_faults_has_none(suite: Path) -> None:
    (suite / "faults.json").unlink()
    assert report_of(suite).faults == []


def test_a_fault_of_another_graph_is_none_of_a_load(suite: Path, write_load: Write) -> None:
    """The load on the other graph was shown with it, cut at it, and judged by it."""
    write_load("suite/load/blue", *story(), deployment="dyn-1")
    write_load("suite/load/green", *story(), deployment="dyn-2")
    (suite / "faults.json").write_text(json.dumps([{**hit(), "target": {"deployment": "dyn-1"}}]))
    met = {report.folder.name: len(report.faults) for report in read_results(suite)}
    assert met == {"blue": 1, "green": 0, "default": 1}  # of the last one it is not known


def test_results_of_aiperf_are_a_load(tmp_path: Path) -> None:
    metadata = {"request_start_ns": 10**18, "request_end_ns": 10**18 + 2 * 10**9}
    line = {"metadata": metadata, "metrics": {"request_latency": {"value": 2000.0, "unit": "ms"}}}
    (tmp_path / "profile_export.jsonl").write_text(json.dumps(line) + "\n")
    shown = dict(report_of(tmp_path).metrics())
    assert (shown["Mean Latency"], shown["Number of Clients"]) == ("2.000 s", "-")
    assert shown["State"] == "running: PARTIAL"


@pytest.mark.parametrize("state", [LoadState.RUNNING, LoadState.GIVEN_UP])
def test_records_of_a_load_that_was_cut_off_are_kept_and_marked(state: LoadState, write_load: Write) -> None:
    path = write_load("cut", *story(), state=state)
    records = path / "requests.jsonl"
    records.write_bytes(records.read_bytes()[:-20])
    shown = dict(report_of(path).metrics())
    assert shown["State"] == f"{state.value}: PARTIAL"
    assert shown["Total Requests"] == "29"


def test_a_load_without_a_record_does_not_hide_the_others(tmp_path: Path, write_load: Write) -> None:
    write_load("a", state=LoadState.GIVEN_UP)
    (write_load("b", state=LoadState.RUNNING) / "requests.jsonl").unlink()
    write_load("c", (0, 1, Outcome.OK))
    assert [len(report.folder.table) for report in read_results(tmp_path)] == [0, 0, 1]


def test_a_folder_without_a_load_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as raised:
        read_results(tmp_path)
    assert str(raised.value) == (
        f"no load below '{tmp_path}': expected load.json and requests.jsonl of this library, "
        "profile_export.jsonl of aiperf, or client_*.log.txt of upstream's tests"
    )


def test_what_is_no_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=f"'{tmp_path}/none' is not a folder"):
        read_results(tmp_path / "none")


@pytest.mark.parametrize("text", ["{", "5", '{"label": 1}', '[{"label": "x"}]', "[1]"])
def test_faults_of_another_tool_are_an_error_with_their_path(text: str, suite: Path) -> None:
    (suite / "faults.json").write_text(text)
    with pytest.raises(LoadError, match=f"'{suite}/faults.json' is not what this library writes: "):
        read_results(suite)


@pytest.mark.parametrize("text", ["{", "", "5", "[]", "{}", '{"kind": "load", "test": ""}'])
def test_a_timeline_of_another_tool_is_an_error_with_its_place(text: str, suite: Path) -> None:
    (suite / "timeline.jsonl").write_text(json.dumps(event("load", 1.0)) + f"\n{text}\n")
    with pytest.raises(LoadError, match=f"'{suite}/timeline.jsonl' line 2 is no event: "):
        read_results(suite)


def test_the_failure_table_of_a_run_has_the_loads_that_match_and_have_ended(suite: Path, write_load: Write) -> None:
    write_load("suite/load/other", *story())
    write_load("suite/load/default-2", *story(), state=LoadState.RUNNING)
    write_load("suite/load/default-3", state=LoadState.COMPLETED)
    grid, rows = failure_table(suite, "default*", 0.4)
    assert [row[:2] for row in grid.rows] == [["Worker Death", "kill on Worker-0"]]
    assert json.loads(json.dumps(rows))[0]["before"]["good"] == 10
    assert [row["violations"] for row in rows] == [(10, 15)]


def test_a_failure_table_of_nothing_is_an_error(suite: Path) -> None:
    with pytest.raises(LoadError, match=re.escape(f"no load that matches 'scenario*' has ended in '{suite}'")):
        failure_table(suite, "scenario*", None)


def test_a_file_is_written_in_one_step(tmp_path: Path) -> None:
    for text in ("first", "second ✓"):
        write_whole(tmp_path / "failures.txt", text)
        assert [path.name for path in tmp_path.iterdir()] == ["failures.txt"]
        assert (tmp_path / "failures.txt").read_text(encoding="utf-8") == text


def test_a_page_shows_each_load_with_tables_and_a_picture(suite: Path, write_load: Write) -> None:
    html = page([report_of(suite), report_of(write_load("other", (0, 1, Outcome.OK)))], sla_s=0.4)
    texts = Cells(html).texts
    assert f"1. {TEST}: default" in texts
    assert html.count("<svg") == 2
    assert {"Violations After", "answers again after 5.00 s", "phase recovery", "during", "Success rate"} <= set(texts)
    assert {"Lost requests", "kill on Worker-0"} <= set(texts)


def test_a_page_fetches_nothing(suite: Path) -> None:
    html = page([report_of(suite)])
    assert set(re.findall(r"https?://[^\s\"'<]+", html)) == {"http://www.w3.org/2000/svg"}
    assert not re.search(r"<(script|link|img|iframe|object)\b|@import|url\(|\bsrc=|\bhref=", html)


def test_the_texts_of_a_page_are_escaped(suite: Path) -> None:
    (suite / "faults.json").write_text(json.dumps([hit("<script>alert(1)</script>")]))
    html = page([report_of(suite)])
    assert "<script" not in html
    assert "<script>alert(1)</script>" in Cells(html).texts
