"""CUDA faults without a GPU: workers that make a CUDA call a token on a stub driver, behind the real frontend."""

import pytest
from child import DATA, Run, Sandbox

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.ledger import Entry, State

pytestmark = pytest.mark.dynamo
FAILS = {
    "An Idle Replica Gives No Evidence": "no CUDA call of CudaWorker-0 failed within 300 ms: it has made 0 CUDA calls",
}
PASSES = (
    "The Serving Replica Fails And Its Neighbour Does Not",
    "A Replica That Works Is Toggled By Hand And Visibly Fails",
    "The Fault Comes Off At Its Expiry",
    "The Test Ends And So Does The Fault",
    "A Sticky Fault Until The Replica Is Started Again",
    "The Shim Is Removed And Set Up Again",
    "Bad Arguments",
)


@pytest.fixture(scope="module")
def run(stub_cuda: dict[str, str], tmp_path_factory: pytest.TempPathFactory) -> Run:
    place = Sandbox(tmp_path_factory.mktemp("cuda"))
    result = place.robot(DATA / "cuda.robot", **stub_cuda)
    assert place.leftovers() == []
    return result


@pytest.mark.parametrize("test", PASSES)
def test_it_passes(run: Run, test: str) -> None:
    assert run.tests[test].status == "PASS", run.tests[test].message


@pytest.mark.parametrize("test", FAILS)
def test_it_fails_and_says_why(run: Run, test: str) -> None:
    assert run.tests[test].status == "FAIL"
    assert FAILS[test] in run.tests[test].message


def test_no_other_test_ran(run: Run) -> None:
    assert set(run.tests) == {*PASSES, *FAILS}


def test_each_fault_has_evidence_of_its_replica_and_of_its_neighbour(run: Run) -> None:
    (ledger,) = run.sandbox.ledgers()
    faults = [entry for entry in ledger.entries.values() if entry.kind == "Enable Cuda Faults"]
    assert {fault.state for fault in faults} == {State.RECOVERED}
    proven = [fault for fault in faults if fault.evidence]
    assert len(proven) == len(PASSES) - 1
    for fault in proven:
        assert any("calls fail with" in line for line in fault.evidence)
        assert any(line.startswith("no CUDA call of CudaWorker-") for line in fault.evidence)


def test_a_fault_that_came_off_was_seen_off_by_its_process(run: Run) -> None:
    (ledger,) = run.sandbox.ledgers()
    details = [entry.detail for entry in ledger.entries.values() if entry.kind == "Enable Cuda Faults"]
    assert any("off, and seen by 1 process" in detail for detail in details)
    assert any("its time was over: off" in detail for detail in details)
    assert any("was started again as pid" in detail for detail in details)


def test_it_comes_off_when_the_run_is_killed(sandbox: Sandbox, stub_cuda: dict[str, str]) -> None:
    child = sandbox.start("--outputdir", sandbox.results, DATA / "cuda_killed.robot", **stub_cuda)

    def fault() -> Entry | None:
        entries = [entry for ledger in sandbox.ledgers() for entry in ledger.entries.values()]
        return next((entry for entry in entries if entry.kind == "Enable Cuda Faults"), None)

    assert wait_until(lambda: (entry := fault()) is not None and entry.state is State.ACTIVE, 60.0)
    child.kill()
    child.communicate(timeout=10)
    assert wait_until(lambda: sandbox.leftovers() == [], 10.0), sandbox.leftovers()
    entry = fault()
    assert entry is not None
    assert entry.state is State.RECOVERED
    assert entry.detail.startswith("the run ended: off, and seen by 1 process")
