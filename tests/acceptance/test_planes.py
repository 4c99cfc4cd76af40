"""Faults of etcd and NATS: what is refused, what comes back by itself, and what a killed run leaves."""

import os
import signal

import pytest
from child import DATA, Run, Sandbox

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.ledger import State

WITHIN = 5.0
"""Seconds after which nothing may be left."""
REFUSED = {
    "Member Is Unknown": "etcd has no member 'etcd-3'; it has ['etcd-0', 'etcd-1', 'etcd-2'], and 'leader',",
    "Member Was Stopped Already": "etcd-1 does not run: it was killed or stopped already",
    "Member Was Not Stopped": "etcd-2 was not killed, stopped or stalled; running are ['etcd-0', 'etcd-1', 'etcd-2']",
    "Majority Is Lost": "1 of 3 etcd members would be left, and 2 are a majority; use force=True to do it anyway",
    "Nats Was Killed Already": "nats-0 does not run: it was killed or stopped already",
    "Nats Was Not Stopped": "nats-0 was not killed, stopped or stalled",
    "Leader Is Asserted": "should be 'etcd-9'",
    "There Is No Etcd": "has no etcd; deploy the graph with discovery=etcd",
    "There Is No Nats": "has no NATS; deploy the graph with request_plane=nats or event_plane=nats",
    "Metric Is Unknown": "no replica of 'PositionWorker' has the metric 'dynamo_component_nothing_total'",
    "Metric Has No Such Label": "has the metric 'dynamo_frontend_requests_total' with labels {'color': 'green'}; it",
    "Metric Is Malformed": "'dynamo_frontend_requests_total{status=success}' is not a metric; write name, or name{",
    "A Service That Runs Has Not Exited": "Frontend-0 still runs after 100 ms",
    "A Killed Worker Has Not Exited By Itself": "PositionWorker-0 was restarted since this test began",
}
GOOD = {"A Stopped Member Votes Again At Its Expiry", "A Stalled Nats Goes On At Its Expiry"}


@pytest.fixture(scope="module")
def planes(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("planes")).robot(DATA / "planes.robot")


@pytest.mark.parametrize("test", REFUSED)
def test_the_refusal_says_why(planes: Run, test: str) -> None:
    assert planes.tests[test].status == "FAIL"
    assert REFUSED[test] in planes.tests[test].message


@pytest.mark.parametrize("test", sorted(GOOD))
def test_a_fault_comes_off_at_its_expiry(planes: Run, test: str) -> None:
    assert planes.tests[test].status == "PASS", planes.tests[test].message


def test_nothing_is_left(planes: Run) -> None:
    assert set(planes.tests) == set(REFUSED) | GOOD
    assert planes.sandbox.leftovers() == []


def test_nothing_is_left_after_robot_was_killed(sandbox: Sandbox) -> None:
    child = sandbox.start("--outputdir", sandbox.results, DATA / "stopped_planes.robot")
    assert wait_until((sandbox.results / "stopped").exists, 60.0), "the child did not get as far as its faults"
    os.kill(child.pid, signal.SIGKILL)
    child.communicate(timeout=30)
    assert wait_until(lambda: sandbox.leftovers() == [], WITHIN), sandbox.leftovers()
    (ledger,) = sandbox.ledgers()
    assert [entry.kind for entry in ledger.entries.values() if entry.is_fault] == ["Stop Etcd Member", "Stall Nats"]
    assert {entry.state for entry in ledger.entries.values()} == {State.RECOVERED}
