"""What 1,000 faults of one run leave behind: nothing."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from DynamoFaultLibrary.faults.injector import Fault, Injector
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.ledger import Ledger, Owner, State, read_ledger
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.processes import ProcessId, all_pids, read_command

FAULTS = 1000


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPlatform]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    temporary = tmp_path / "temporary"  # of its own: others write into the machine's
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    monkeypatch.setattr(tempfile, "tempdir", None)
    found = LocalPlatform(Ledger("many", Owner(ProcessId.current())))
    yield found
    found.close()


def what_is_open(pid: int) -> dict[str, int]:
    """Descriptors and threads of a process."""
    return {what: len(os.listdir(f"/proc/{pid}/{what}")) for what in ("fd", "task")}


def test_a_thousand_faults_leave_nothing_open(platform: LocalPlatform, tmp_path: Path) -> None:
    """Descriptors, threads and files are as many after 1,000 faults as after one."""
    graph = Manifest.load(find_graph("position-agg.yaml")).graph()
    deployment = platform.deploy(graph, DeploySettings(), tmp_path / "results")
    injector = Injector(platform.ledger, platform)
    job = f'"client": {{"pid": {os.getpid()},'
    supervisors = [pid for pid in all_pids() if job in read_command(pid)]  # and its sentinel
    processes = [os.getpid(), *supervisors]
    assert len(processes) == 3
    first: list[dict[str, int]] = []
    for _ in range(FAULTS):
        replica = platform.replicas(deployment, "PositionWorker")[0]
        effect = platform.plan_pause(deployment, replica, None)
        active = injector.inject(Fault("Stall Process", deployment, [[replica]], effect))
        injector.recover(active)
        first = first or [what_is_open(pid) for pid in processes]
    assert [what_is_open(pid) for pid in processes] == first
    assert os.listdir(tmp_path / "temporary") == []
    faults = [entry for entry in read_ledger(platform.ledger.path).entries.values() if entry.is_fault]
    assert [fault.state for fault in faults] == [State.RECOVERED] * FAULTS
    assert injector.active == []
