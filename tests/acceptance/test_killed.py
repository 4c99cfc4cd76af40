"""Robot dies in the middle of a faulted test: the supervisor alone puts everything back."""

import os
import signal

import pytest
from child import DATA, Sandbox

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.ledger import State

WITHIN = 5.0
"""Seconds after which nothing may be left."""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_nothing_is_left_after_robot_was_ended(sandbox: Sandbox, number: signal.Signals) -> None:
    child = sandbox.start("--outputdir", sandbox.results, DATA / "stalled.robot")
    stalled = sandbox.base / "results" / "stalled"
    assert wait_until(stalled.exists, 30.0), "the child did not get as far as its fault"
    assert sandbox.deployment_processes() != []
    os.kill(child.pid, number)
    child.communicate(timeout=30)
    assert wait_until(lambda: sandbox.leftovers() == [], WITHIN), sandbox.leftovers()
    (ledger,) = sandbox.ledgers()
    assert {entry.state for entry in ledger.entries.values()} == {State.RECOVERED}
    assert [entry.kind for entry in ledger.entries.values() if entry.is_fault] == ["Stall Process"]
