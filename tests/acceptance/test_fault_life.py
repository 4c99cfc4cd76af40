"""From injection to recovery: times, order, what faults do to each other, and a supervisor that is killed."""

import json

import pytest
from child import DATA, Run, Sandbox

from DynamoFaultLibrary.ledger import State

TESTS = {
    "A Stall Lasts As Long As It Was Asked To",
    "The End Of A Fault Is Waited For",
    "A Stall And A Kill Come Off Together",
    "The Graph Is Whole After Both",
    "A Stall Ends With Its Process",
    "One Start Makes Good All Ends Of A Replica",
    "A Kill That Expires While Its Graph Is Deleted",
}


@pytest.fixture(scope="module")
def life(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("life")).robot(DATA / "fault_life.robot")


@pytest.mark.parametrize("test", sorted(TESTS))
def test_faults_end_as_they_are_told_to(life: Run, test: str) -> None:
    """A stall of 3 s was told as 12 s (row 3); a stall and a kill took 60 s to come off and did not (row 24)."""
    assert life.tests[test].status == "PASS", life.tests[test].message


def test_nothing_is_left(life: Run) -> None:
    assert set(life.tests) == TESTS
    assert life.sandbox.leftovers() == []


def test_all_files_tell_the_same_time(life: Run) -> None:
    """The ledger said 3 s; faults.json, timeline and picture said 12 s (row 3)."""
    faults = json.loads(next(life.sandbox.results.rglob("faults.json")).read_text())
    lines = next(life.sandbox.results.rglob("timeline.jsonl")).read_text().splitlines()
    (ledger,) = life.sandbox.ledgers()
    first = faults[0]
    assert first["ended_monotonic_s"] == ledger.entries[first["id"]].came_off_s
    told = [event for event in map(json.loads, lines) if event["kind"] == "recovered"]
    assert told[0]["monotonic_s"] == first["ended_monotonic_s"]
    assert all(fault["ended_monotonic_s"] >= fault["effective_monotonic_s"] > 0 for fault in faults)


def test_a_supervisor_that_was_killed_is_replaced(sandbox: Sandbox) -> None:
    """Every later keyword failed with a broken pipe (row 22)."""
    run = sandbox.robot(DATA / "lost_supervisor.robot")
    assert run.returncode == 0, {name: test.message for name, test in run.tests.items()}
    assert sandbox.leftovers() == []
    (ledger,) = sandbox.ledgers()
    assert {entry.state for entry in ledger.entries.values()} == {State.RECOVERED}
