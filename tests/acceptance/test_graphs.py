"""Edits of graphs, with real processes: what no process takes fails, what cannot be made starts nothing."""

import re

import pytest
from child import DATA, Run, Sandbox

TITLES = ("Edits", "Not reached by edits", "Would run here", "Set otherwise here", "Not on this machine")
UNKNOWN = {
    "The Worker Does Not Have The Option": "PositionWorker-",
    "The Frontend Does Not Have The Option": "Frontend-0 ended",
    "A Program In A Script Does Not Have The Option": "Frontend-0 ended",
}
"""By test the replica that ends."""
REFUSED = {
    "An Option For A Script That Is Known When It Runs": ("--migration-limit", "'Frontend'"),
    "The Same In A Dry Run": ("--migration-limit", "'Frontend'"),
    "A Program That Is Not Here In A Dry Run": ("service 'Worker' starts 'no-such-engine', which does not exist",),
    "A Service That There Is Not": ("graph 'position-agg' has no service 'Decode'",),
    "A Setting Without Effect": ("etcd_members=3 has no effect without discovery=etcd",),
    "A Graph That There Is Not": ("holds no graph 'blue'; it has ['position-agg']",),
    "A Dry Run": ("no graph is deployed",),
}


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("graphs")).robot(DATA / "graphs.robot")


@pytest.fixture(scope="module")
def unstarted(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("unstarted")).robot(DATA / "graphs_unstarted.robot")


def tables(run: Run, test: str) -> list[str]:
    """Titles of the tables in the log of a test."""
    found = [title for message in run.messages(test) for title in re.findall(r"<b>([^<]+)</b><table", message)]
    assert set(found) <= set(TITLES)
    return found


@pytest.mark.dynamo
@pytest.mark.parametrize("test", UNKNOWN)
def test_an_option_that_the_process_does_not_have_fails_with_the_end_of_its_log(graphs: Run, test: str) -> None:
    outcome = graphs.tests[test]
    assert outcome.status == "FAIL", "the option was lost on its way"
    assert outcome.message.startswith(UNKNOWN[test]), outcome.message
    assert re.search(r"(unrecognized|Unknown) arguments.*--no-such-option", outcome.message), outcome.message
    assert "Edits" in tables(graphs, test)


@pytest.mark.dynamo
def test_the_log_shows_the_edits_once(graphs: Run) -> None:
    assert graphs.tests["The Edits Are In The Log"].status == "PASS"
    assert tables(graphs, "The Edits Are In The Log") == ["Edits"]


@pytest.mark.dynamo
def test_the_log_has_no_empty_tables(graphs: Run) -> None:
    assert graphs.tests["Nothing Is In The Log Without Edits"].status == "PASS"
    assert tables(graphs, "Nothing Is In The Log Without Edits") == []


@pytest.mark.dynamo
def test_nothing_is_left(graphs: Run) -> None:
    assert graphs.sandbox.leftovers() == []


@pytest.mark.parametrize("test", REFUSED)
def test_what_cannot_be_fails_before_anything_starts(unstarted: Run, test: str) -> None:
    outcome = unstarted.tests[test]
    assert outcome.status == "FAIL"
    assert [part for part in REFUSED[test] if part not in outcome.message] == [], outcome.message
    assert unstarted.sandbox.ledgers() == [], "a process or a directory was made"
    assert unstarted.sandbox.leftovers() == []


def test_a_dry_run_shows_edits_and_processes_and_the_graph(unstarted: Run) -> None:
    assert tables(unstarted, "A Dry Run") == ["Edits", "Would run here"]
    (shown,) = (message for message in unstarted.messages("A Dry Run") if "<table" in message)
    assert re.search(r"<details><summary>The graph as edited</summary><pre>[^<]*--migration-limit", shown)
