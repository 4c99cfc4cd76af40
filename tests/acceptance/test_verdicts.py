"""Checks compare with the beginning of the test, ends that nobody ordered are told, a known defect excuses symptoms."""

import json
import re

import pytest
from child import DATA, Run, Sandbox

FAILED = {
    # (row 7) It passed, since no replica was looked at.
    "A Replica That There Is Not Cannot Have Exited": (
        "no replica 9 of 'PositionWorker' ran when this test began; there were [0, 1]",
    ),
    "A Worker That A Fault Has Ended Did Not Exit By Itself": (
        "PositionWorker-0 did not exit by itself: it ended with exit status 0, by a fault of this test",
    ),
    # (row 8) It compared now with now, and passed.
    "A Restart Before The First Check Is Seen": (
        "PositionWorker-0 was restarted since this test began (it was pid ",
        ", it is pid ",
    ),
    "A Misspelled Metric Is Answered With Its Like": (
        "no replica of 'Frontend' has the metric 'dynamo_frontend_request_total'; did you mean ",
        "dynamo_frontend_requests_total",
    ),
    # (row 38)
    "A Timeout Of Nothing Is Refused": ("timeout must be above 0, not 0 s",),
    # (row 15) All of these were skipped.
    "A Known Defect Hides No Graph That Does Not Come Up": ("this is not a known defect", "--no-such-option"),
    "A Known Defect Hides No Load That There Is Not": ("this is not a known defect", "no load 'none' was started"),
    "A Known Defect Hides No Unknown Keyword": ("this is not a known defect", "No keyword with name"),
    "A Known Defect Hides No Wrong Argument": ("this is not a known defect", "cannot be converted to timedelta"),
    # (row 34) There was no word of it.
    "A Frontend That Is Killed From Outside Is Told": (
        "cannot become ready: no replica of 'Frontend' runs any more, and nobody starts one: "
        "Frontend-0 was killed by SIGKILL; nobody here ordered that",
    ),
}
GOOD = {"Nothing Has Restarted Since The Test Began", "A Label That Has Not Come Yet Is Waited For"}
SKIPPED = {"A Known Defect May Be An Answer That Does Not Come"}


@pytest.fixture(scope="module")
def verdicts(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("verdicts")).robot(DATA / "verdicts.robot")


@pytest.mark.parametrize("test", FAILED)
def test_the_message_says_what_was_wrong(verdicts: Run, test: str) -> None:
    outcome = verdicts.tests[test]
    assert outcome.status == "FAIL", outcome.message
    assert [part for part in FAILED[test] if part not in outcome.message] == [], outcome.message


@pytest.mark.parametrize("test", sorted(GOOD))
def test_what_is_well_passes(verdicts: Run, test: str) -> None:
    assert verdicts.tests[test].status == "PASS", verdicts.tests[test].message


@pytest.mark.parametrize("test", sorted(SKIPPED))
def test_a_symptom_of_a_known_defect_is_skipped(verdicts: Run, test: str) -> None:
    assert verdicts.tests[test].status == "SKIP", verdicts.tests[test].message


def test_every_verdict_is_judged(verdicts: Run) -> None:
    assert set(verdicts.tests) == FAILED.keys() | GOOD | SKIPPED
    assert verdicts.sandbox.leftovers() == []


def test_an_end_that_nobody_ordered_is_in_the_timeline_at_its_own_time(verdicts: Run) -> None:
    (timeline,) = verdicts.sandbox.results.glob("**/timeline.jsonl")
    events = [json.loads(line) for line in timeline.read_text().splitlines()]
    ends = [event for event in events if "nobody here ordered that" in event["text"]]
    assert [event["text"].partition(";")[0] for event in ends] == ["Frontend-0 was killed by SIGKILL"]
    test = "A Frontend That Is Killed From Outside Is Told"
    sent = next(found for line in verdicts.messages(test) if (found := re.fullmatch(r"killed at (.+)", line)))
    told = next(event for event in events if event["kind"] == "deploy" and "is deleted" in event["text"])
    assert float(sent[1]) <= ends[0]["monotonic_s"] < told["monotonic_s"]
    assert ends[0]["monotonic_s"] - float(sent[1]) < told["monotonic_s"] - ends[0]["monotonic_s"]
