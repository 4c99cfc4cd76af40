"""One suite, whatever the platform: processes of this machine, or the contract's, which an installed package brings."""

import json
import os
from typing import Any

import pytest
from child import DATA, ROOT, Run, Sandbox

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.ledger import Entry, State

MEMORY = ROOT / "tests" / "contract" / "memory"
PLATFORMS = ["local", "memory"]
KINDS = [
    "Kill Worker",
    "Stall Process",
    "Partition Network",
    "Stall Process",
    "Kill Replica",
    "Kill Replica",
    "Terminate Process",
]
MADE_GOOD = [4, 6]
"""Which of them started again at once what they had ended."""


def environment() -> dict[str, str]:
    """Of a child run that has platform `memory` installed."""
    return {"PYTHONPATH": os.pathsep.join([str(MEMORY), *filter(None, [os.environ.get("PYTHONPATH")])])}


@pytest.fixture(scope="module", params=PLATFORMS)
def platform(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture(scope="module")
def run(platform: str, tmp_path_factory: pytest.TempPathFactory) -> Run:
    sandbox = Sandbox(tmp_path_factory.mktemp(platform))
    found = sandbox.robot("-v", f"PLATFORM:{platform}", DATA / "any_platform.robot", **environment())
    if any("network" in test.message and test.status == "SKIP" for test in found.tests.values()):
        pytest.skip(found.console)
    return found


def faults_of(run: Run) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads(next(run.sandbox.results.rglob("faults.json")).read_text())
    return found


def entries_of(sandbox: Sandbox) -> list[Entry]:
    return [entry for ledger in sandbox.ledgers() for entry in ledger.entries.values() if entry.is_fault]


def test_all_is_done_that_the_suite_says(run: Run, platform: str) -> None:
    told = {name: f"{test.status} {test.message}".strip() for name, test in run.tests.items()}
    lacks = "SKIP platform 'memory' can only drop all that replicas send each other"
    assert told.pop("What A Platform Lacks Skips The Test") == {"local": "PASS", "memory": lacks}[platform]
    assert list(told.values()) == ["PASS"] * 4
    assert "ERROR" not in run.console
    assert "WARN" not in run.console


def test_nothing_is_left(run: Run) -> None:
    assert run.sandbox.leftovers() == []


def test_faults_and_ledger_tell_the_same_on_each_platform(run: Run, platform: str) -> None:
    faults, entries = faults_of(run), entries_of(run.sandbox)
    assert [fault["kind"] for fault in faults][: len(KINDS)] == KINDS
    assert [fault["id"] for fault in faults] == [entry.id for entry in entries]
    for fault, entry in zip(faults, entries, strict=True):
        assert fault["undo"] == entry.undo
        assert entry.undo["platform"] == platform
        assert entry.evidence
        assert entry.detail
        assert fault["injected_monotonic_s"] <= fault["effective_monotonic_s"] <= fault["active_monotonic_s"]
        assert {"deployment", "replica"} < set(fault["target"])
        assert {"service", "services"} & set(fault["target"])
        assert {"node", "nodes"} & set(fault["target"])
    states = [entry.state for entry in entries[: len(KINDS)]]
    assert [number for number, state in enumerate(states) if state is State.IRREVERSIBLE] == MADE_GOOD
    assert {state for number, state in enumerate(states) if number not in MADE_GOOD} == {State.RECOVERED}


def test_the_story_is_told_on_each_platform(run: Run) -> None:
    messages = "\n".join(run.messages("A Graph Under Load Recovers From All"))
    for fault in faults_of(run)[:3]:
        assert all(line in messages for line in fault["evidence"])
        assert f"{fault['kind']} came off: {fault['detail']}" in messages or fault["detail"] in messages
    slices = {path.name for path in run.sandbox.results.rglob("a_graph_under_load_recovers_from_all/*.log")}
    assert slices == {"Frontend-0.log", "PositionWorker-0.log", "PositionWorker-1.log"}
    metrics = {path.name for path in run.sandbox.results.rglob("*.metrics")}
    assert metrics == {"Frontend-0.metrics", "PositionWorker-0.metrics", "PositionWorker-1.metrics"}


def test_a_run_that_is_killed_leaves_nothing(sandbox: Sandbox, platform: str) -> None:
    """The guard undoes it: here by signal; what was in robot's memory has gone with robot, which the ledger tells."""
    suite = DATA / "any_platform_killed.robot"
    child = sandbox.start("-v", f"PLATFORM:{platform}", "--outputdir", sandbox.results, suite, **environment())
    assert wait_until(lambda: any(entry.state is State.ACTIVE for entry in entries_of(sandbox)), 60.0, 0.05)
    child.kill()
    child.communicate()
    assert wait_until(lambda: sandbox.leftovers() == [], 30.0, 0.1), sandbox.leftovers()
    (entry,) = entries_of(sandbox)
    assert entry.state is State.RECOVERED
    assert entry.detail.startswith("the run ended: ")
