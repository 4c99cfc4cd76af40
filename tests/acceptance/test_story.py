"""A child robot runs what users write first; its log, xUnit, results and the machine are looked at."""

import json
import re
import sys
from pathlib import Path
from xml.etree import ElementTree

import pytest
from child import DATA, Run, Sandbox
from robot.api import ExecutionResult

from DynamoFaultLibrary.ledger import State

FIRST = "A Stream Survives The Death Of Its Worker"
SECOND = "The Next Test Finds The Worker Again"


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("story")).robot(DATA / "story.robot")


def test_all_tests_pass_and_nothing_is_left(story: Run) -> None:
    assert story.returncode == 0, story.console
    assert story.sandbox.leftovers() == []


def test_xunit_has_every_test(story: Run) -> None:
    suite = ElementTree.parse(story.sandbox.results / "xunit.xml").getroot()
    assert suite.get("tests") == str(len(story.tests))
    assert suite.get("failures") == "0"


def test_the_log_shows_the_evidence_of_the_kill(story: Run) -> None:
    text = "\n".join(story.messages(FIRST))
    death = r"pid \d+ \(DynamoFaultLibrary.engines.position\): killed by SIGKILL, [\d.]+ ms after SIGKILL"
    assert re.search(death, text)
    assert "no process of PositionWorker-" in text


def test_the_log_ends_with_a_timeline_picture(story: Run) -> None:
    tale = story.messages(FIRST)[-1]
    picture = re.search(r"<svg.*?</svg>", tale, re.DOTALL)
    assert picture is not None
    texts = [node.text or "" for node in ElementTree.fromstring(picture.group()).iter() if node.tag.endswith("text")]
    assert any("position-agg is ready" in text for text in texts)
    assert any("Kill Worker: SIGKILL" in text for text in texts)
    assert any("ended ok" in text for text in texts)


def test_each_link_in_the_log_leads_to_a_file(story: Run) -> None:
    links = [link for test in story.tests for link in re.findall(r'<a href="(.*?)"', "\n".join(story.messages(test)))]
    assert len(links) >= 10
    missing = [link for link in links if not (story.sandbox.results / link).is_file()]
    assert missing == []


def test_library_messages_carry_utc_times(story: Run) -> None:
    stamped = [message for message in story.messages(FIRST) if re.match(r"\d\d:\d\d:\d\d\.\d{3}Z ", message)]
    assert len(stamped) >= 5


def test_results_hold_logs_records_graph_and_timeline(story: Run) -> None:
    (run,) = (path for path in story.sandbox.results.iterdir() if path.is_dir())
    suite = run / "story"
    files = {str(path.relative_to(suite)) for path in suite.rglob("*") if path.is_file()}
    assert files >= {
        "timeline.jsonl",
        "graph.yaml",
        "Frontend/Frontend-0.log",
        "PositionWorker/PositionWorker-0.log",
        "PositionWorker/PositionWorker-1.log",
        "load/requests/requests.jsonl",
        "a_stream_survives_the_death_of_its_worker/Frontend-0.log",
        "load/default/requests.jsonl",
    }
    records = [json.loads(line) for line in (suite / "load/default/requests.jsonl").read_text().splitlines()]
    assert len(records) == 60
    assert {record["outcome"] for record in records} == {"ok"}
    assert {len(record["gaps_s"]) for record in records} == {15}


def test_every_fault_is_in_the_ledger_with_its_evidence(story: Run) -> None:
    (ledger,) = story.sandbox.ledgers()
    faults = [entry for entry in ledger.entries.values() if entry.is_fault]
    assert [(fault.kind, fault.state) for fault in faults] == [
        ("Kill Worker", State.RECOVERED),
        ("Stall Process", State.RECOVERED),
        ("Kill Worker", State.IRREVERSIBLE),
        ("Terminate Process", State.RECOVERED),
        ("Stall Process", State.RECOVERED),
    ]
    assert all(fault.evidence for fault in faults)
    assert ledger.corrupt == []


def test_the_timeline_names_deploy_load_fault_evidence_and_recovery(story: Run) -> None:
    path = next(story.sandbox.results.rglob("timeline.jsonl"))
    kinds = {json.loads(line)["kind"] for line in path.read_text().splitlines()}
    assert kinds == {"deploy", "load", "fault", "evidence", "recovered", "good"}


def test_pabot_gives_the_same_and_two_suites_run_apart(sandbox: Sandbox, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / f"{name}.robot").write_text((DATA / "story.robot").read_text())
    child = sandbox.start(
        *("--command", sys.executable, "-m", "robot", "--end-command", "--processes", "2", "--pabotlibport", "0"),
        *("--outputdir", sandbox.results, "--xunit", "xunit.xml", tmp_path / "one.robot", tmp_path / "two.robot"),
        module="pabot.pabot",
    )
    console, _ = child.communicate(timeout=180)
    assert child.returncode == 0, console
    suite = ElementTree.parse(sandbox.results / "xunit.xml").getroot()
    assert (suite.get("tests"), suite.get("failures")) == ("12", "0")
    merged = ExecutionResult(sandbox.results / "output.xml")
    assert [test.status for test in merged.suite.all_tests] == ["PASS"] * 12
    runs = [path for path in sandbox.results.iterdir() if path.is_dir() and path.name != "pabot_results"]
    assert len(runs) == 1
    assert len(list(runs[0].iterdir())) == 2
