"""Blast radius, expiry, renewal, and a ledger that cannot be written."""

import pytest
from child import DATA, Run, Sandbox

from DynamoFaultLibrary.ledger import State

REFUSED = {
    "A Service Beyond The Blast Radius Is Refused": "the library's import allows the services ['PositionWorker']",
    "A Second Fault Is Refused": "1 fault is active (stall-process-",
    "A Request That Has Ended Meets No Fault": "has ended already, so no replica of 'PositionWorker' serves it",
    "A Request That Ends Early Has Not The Tokens": "has ended before it had 5 tokens",
    "A Load That Still Runs Has No Verdict": "load 'default' still runs; call 'Wait For Load Completion'",
    "A Time To Live Of Nothing Is Refused": "duration must be above 0 s and at most 24 h, not 0 s",
    "A Time To Live Of A Month Is Refused": "ttl must be above 0 s and at most 24 h, not 30 d",
    "A Renewal Of A Month Is Refused": "ttl must be above 0 s and at most 24 h, not 30 d",
    "A Wait Of A Month Is Refused": "timeout must be above 0 s and at most 24 h, not 30 d",
    "A Frontend Is No Worker": "'Frontend' is not a worker; 'Kill Replica    Frontend' kills it",
    "A Process That Is Stalled Already Is Refused": "of PositionWorker-0 is stopped already (state T)",
    "An Unknown Fault Cannot Be Recovered": "no fault 'kill-worker-00000000' in this run; known are",
    "A Known Defect Hides No Fault That Was Refused": "this is not a known defect of the system: 'Kill Replica' on",
    "Without A Ledger No Fault Is Injected": "No space left on device; without a ledger no fault is injected",
}
GOOD = {"A Fault Comes Off At Its Expiry", "A Renewed Fault Stays", "The Worker Of The Test Before Is Alive"}


@pytest.fixture(scope="module")
def limits(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("limits")).robot(DATA / "limits.robot")


@pytest.mark.parametrize("test", REFUSED)
def test_the_refusal_says_why(limits: Run, test: str) -> None:
    assert limits.tests[test].status == "FAIL"
    assert REFUSED[test] in limits.tests[test].message


@pytest.mark.parametrize("test", sorted(GOOD))
def test_what_is_allowed_passes(limits: Run, test: str) -> None:
    assert limits.tests[test].status == "PASS", limits.tests[test].message


def test_a_known_defect_is_skipped(limits: Run) -> None:
    assert limits.tests["A Known Defect Is Skipped"].status == "SKIP"


def test_a_fault_of_the_suite_stays_for_all_its_tests(sandbox: Sandbox) -> None:
    run = sandbox.robot(DATA / "suite_fault.robot")
    assert run.returncode == 0, run.console


def test_a_request_that_has_ended_kills_nothing(limits: Run) -> None:
    """The worker was killed first, and the refusal came 7 s later (row 36)."""
    (ledger,) = limits.sandbox.ledgers()
    killed = [entry.target["replica"] for entry in ledger.entries.values() if entry.kind == "Kill Worker"]
    assert killed == ["PositionWorker-0"], "only the test after the full disk kills one"


def test_a_fault_of_a_directory_stays_for_all_its_suites(sandbox: Sandbox) -> None:
    """It came off after the first child suite (row 16)."""
    run = sandbox.robot(DATA / "directory_fault")
    assert run.returncode == 0, run.console
    assert [test.status for test in run.tests.values()] == ["PASS"] * 2
    (ledger,) = sandbox.ledgers()
    (fault,) = [entry for entry in ledger.entries.values() if entry.is_fault]
    assert fault.state is State.RECOVERED
    assert "ERROR" not in run.console


def test_every_fault_has_come_off(limits: Run) -> None:
    assert set(limits.tests) == set(REFUSED) | GOOD | {"A Known Defect Is Skipped"}
    assert limits.sandbox.leftovers() == []
    (ledger,) = limits.sandbox.ledgers()
    details = [entry.detail for entry in ledger.entries.values() if entry.is_fault and entry.state is State.RECOVERED]
    assert any(detail.startswith("its time was over") for detail in details)
