"""A fault keyword never lies: when its injection silently does not happen, it fails and names the missing evidence."""

import os
import re
from pathlib import Path

import pytest
from child import DATA, ROOT, Run, Sandbox

from DynamoFaultLibrary import DynamoFaultLibrary
from DynamoFaultLibrary.ledger import State

HERE = Path(__file__).parent
PATHS = os.pathsep.join(map(str, [HERE, ROOT]))
STILL_RUNS = r"pid \d+ \(DynamoFaultLibrary.engines.position\) of PositionWorker-0 still runs 300 ms after {}"
CASES = {
    "Kill Worker": STILL_RUNS.format("SIGKILL"),
    "Kill Worker Gracefully": STILL_RUNS.format("SIGTERM"),
    "Kill Worker And Respawn It": STILL_RUNS.format("SIGKILL"),
    "Kill Replica": r"pid \d+ \(dynamo.frontend\) of Frontend-0 still runs 300 ms after SIGKILL",
    "Terminate Process": STILL_RUNS.format("SIGINT"),
    "Cancel Request": r"request 'request-1' \(streaming chat, 900 tokens\) was not cancelled: waited 0.3 s for the end",
    "Kill Etcd Leader": r"pid \d+ \(etcd\) of etcd-\d still runs 300 ms after SIGKILL",
    "Kill Etcd Member": r"pid \d+ \(etcd\) of etcd-0 still runs 300 ms after SIGKILL",
    "Stop Etcd Member": r"pid \d+ \(etcd\) of etcd-1 still runs 300 ms after SIGTERM",
    "Stall Etcd Member": r"not all processes of etcd-2 are stopped \(T\): pid \d+ .* is in state [SR]",
    "Isolate Etcd Member": r"no packet from etcd-0 to \S+ caught within 2 s",
    "Kill Nats": r"pid \d+ \(nats-server\) of nats-0 still runs 300 ms after SIGKILL",
    "Stop Nats": r"pid \d+ \(nats-server\) of nats-0 still runs 300 ms after SIGTERM",
    "Restart Nats": r"pid \d+ \(nats-server\) of nats-0 still runs 300 ms after SIGKILL",
    "Stall Nats": r"not all processes of nats-0 are stopped \(T\): pid \d+ .* is in state [SR]",
    "Partition Network": r"no packet from Frontend-0 to PositionWorker-0 caught within 2 s",
    "Partition Network That Resets": r"an open connection between Frontend-0 .* was not reset at both ends",
    "Stall Process": r"not all processes of PositionWorker-0 are stopped \(T\): pid \d+ .* is in state [SR]",
}
CUDA = {
    "Enable Cuda Faults": r"no CUDA call of CudaWorker-0 failed within 300 ms: its processes \(pid \d+\) have not read",
    "Toggle Cuda Faults": r"no CUDA call of CudaWorker-0 failed within 300 ms: its processes \(pid \d+\) have not read",
}


@pytest.fixture(scope="module")
def sabotaged(tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = Sandbox(tmp_path_factory.mktemp("sabotage"))
    suites = (DATA / "sabotage.robot", DATA / "sabotage_planes.robot")
    return place.robot(*suites, PYTHONPATH=PATHS, SABOTAGE="SIGKILL SIGTERM SIGINT SIGSTOP cancel NETWORK")


@pytest.mark.parametrize("case", CASES)
def test_the_keyword_fails_and_names_what_is_missing(sabotaged: Run, case: str) -> None:
    outcome = sabotaged.tests[case]
    if outcome.status == "SKIP":
        pytest.skip(outcome.message)
    assert outcome.status == "FAIL", "the keyword believed in a fault that never happened"
    assert re.search(CASES[case], outcome.message), outcome.message


def test_no_sabotaged_fault_was_ever_active(sabotaged: Run) -> None:
    (ledger,) = sabotaged.sandbox.ledgers()
    faults = [entry for entry in ledger.entries.values() if entry.is_fault]
    judged = [case for case in CASES if sabotaged.tests[case].status != "SKIP"]
    assert len(faults) == len(judged)
    assert {fault.state for fault in faults} == {State.RECOVERED}
    assert [fault.evidence for fault in faults] == [[]] * len(judged)
    assert sabotaged.sandbox.leftovers() == []


@pytest.fixture(scope="module")
def cuda(tmp_path_factory: pytest.TempPathFactory, stub_cuda: dict[str, str]) -> Run:
    place = Sandbox(tmp_path_factory.mktemp("sabotage"))
    return place.robot(DATA / "sabotage_cuda.robot", PYTHONPATH=PATHS, SABOTAGE="CUDA", **stub_cuda)


@pytest.mark.parametrize("case", CUDA)
def test_the_keyword_fails_when_no_cuda_call_does(cuda: Run, case: str) -> None:
    outcome = cuda.tests[case]
    assert outcome.status == "FAIL", "the keyword believed in a fault that never happened"
    assert re.search(CUDA[case], outcome.message), outcome.message
    assert cuda.sandbox.leftovers() == []


def test_the_keyword_fails_when_cuda_calls_of_another_replica_do(sandbox: Sandbox, stub_cuda: dict[str, str]) -> None:
    suite = DATA / "sabotage_cuda.robot"
    result = sandbox.robot(suite, PYTHONPATH=PATHS, SABOTAGE="CUDA_EVERYBODY", **stub_cuda)
    for case in CUDA:
        message = result.tests[case].message
        assert re.search(r"CudaWorker-1 is hit too, which was not meant: ", message), message


def test_without_sabotage_the_same_suite_passes(sandbox: Sandbox) -> None:
    names = ("Stall Process", "Kill Worker", "Partition Network", "Partition Network That Resets")
    result = sandbox.robot(*(part for name in names for part in ("--test", name)), DATA / "sabotage.robot")
    assert result.returncode == 0, result.console


def test_every_fault_keyword_is_sabotaged() -> None:
    library = DynamoFaultLibrary()
    faults = {name for name in library.get_keyword_names() if "Fault" in library.get_keyword_tags(name)}
    titles = {name.replace("_", " ").title() for name in faults}
    assert titles
    uncovered = {title for title in titles if not any(case.startswith(title) for case in [*CASES, *CUDA])}
    assert uncovered == set()
