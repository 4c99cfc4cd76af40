import re
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, cast

import pytest

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.cuda_toggle import PAGE_SIZE, ShimmedProcess, Toggle
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, RecoveryError
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.cuda import ToggledCuda
from DynamoFaultLibrary.platforms.effects import CudaRule
from DynamoFaultLibrary.platforms.local.toggle import LocalToggle
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.processes import ProcessId
from tests.replicas import make_replica

ME = ProcessId.current()
OTHER = ProcessId(1, 1)
SOON = timedelta(milliseconds=50)
Leave = Callable[..., None]


@dataclass
class Machine:
    """Two replicas under the shim, with toggles that nobody but the test reads."""

    place: Path
    respawned: list[str] = field(default_factory=list)

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        return [make_replica("Worker", index, ME) for index in range(2)]

    def cuda_toggle(self, replica: Replica) -> LocalToggle | None:
        return LocalToggle(self.place / replica.name / "cuda_fault_enabled")

    def respawn(self, deployment: Deployment, replica: Replica) -> Replica:
        self.respawned.append(replica.name)
        return replica

    def wait_ready(self, deployment: Deployment, timeout: timedelta) -> None:
        pass


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path))
    made = Machine(tmp_path / "work")
    for index in range(2):
        toggle_of(made, index).prepare()
    return made


def toggle_of(machine: Machine, index: int) -> LocalToggle:
    found = machine.cuda_toggle(machine.replicas(cast("Deployment", None), "Worker")[index])
    assert found is not None
    return found


def fault(machine: Any, **rule: Any) -> ToggledCuda:
    graph = type("G", (), {"services": {"Worker": None}})()
    deployment = cast("Deployment", type("D", (), {"name": "d", "graph": graph})())
    return ToggledCuda(machine, deployment, machine.replicas(deployment, "Worker")[0], CudaRule(**rule), SOON)


def test_failed_calls_of_the_replica_alone_are_evidence(machine: Machine, leave: Leave) -> None:
    enabled = fault(machine)
    enabled.apply()
    leave(toggle_of(machine, 0), on=True, launches=12)
    assert enabled.prove() == [
        f"pid {ME.pid}: calls fail with 999 (CUDA_ERROR_UNKNOWN) (12 launch)",
        "no CUDA call of Worker-1 failed",
    ]


def test_failures_from_before_are_none(machine: Machine, leave: Leave) -> None:
    leave(toggle_of(machine, 0), launches=12)
    enabled = fault(machine)
    enabled.apply()
    with pytest.raises(
        EvidenceMissing, match=r"no CUDA call of Worker-0 failed within 50 ms: its processes \(pid \d+\) have not"
    ):
        enabled.prove()


def test_a_replica_that_makes_no_call_is_not_faulted(machine: Machine) -> None:
    enabled = fault(machine)
    enabled.apply()
    with pytest.raises(EvidenceMissing, match="none of its processes has made a CUDA call under the shim"):
        enabled.prove()


def test_a_neighbour_that_fails_too_disproves_it(machine: Machine, leave: Leave) -> None:
    enabled = fault(machine)
    enabled.apply()
    leave(toggle_of(machine, 0), on=True, launches=1)
    leave(toggle_of(machine, 1), OTHER, on=True, launches=1)
    with pytest.raises(EvidenceMissing, match=r"Worker-1 is hit too, which was not meant: calls of pid 1 failed"):
        enabled.prove()


def test_a_neighbour_whose_toggle_was_switched_on_too_disproves_it(machine: Machine, leave: Leave) -> None:
    enabled = fault(machine)
    enabled.apply()
    leave(toggle_of(machine, 0), on=True, launches=1)
    toggle_of(machine, 1).path.write_text("1\n")
    with pytest.raises(EvidenceMissing, match=r"Worker-1 is hit too, which was not meant: .*cuda_fault_enabled is on"):
        enabled.prove()


def test_a_neighbour_with_a_fault_of_its_own_is_not_watched(machine: Machine, leave: Leave) -> None:
    toggle_of(machine, 1).path.write_text("1\n")
    enabled = fault(machine)
    enabled.apply()
    leave(toggle_of(machine, 0), on=True, launches=1)
    leave(toggle_of(machine, 1), OTHER, on=True, launches=1)
    assert len(enabled.prove()) == 1


def test_processes_of_two_replicas_may_have_the_same_name(machine: Machine, leave: Leave) -> None:
    """Each container may have its own pid 1: what one has seen before was taken for what the other had."""
    leave(toggle_of(machine, 1), launches=5)
    enabled = fault(machine)
    enabled.apply()
    leave(toggle_of(machine, 0), on=True, launches=5)
    assert enabled.failures == 5
    assert len(enabled.prove()) == 2


def test_times_of_another_clock_are_not_compared(machine: Machine, leave: Leave, monkeypatch: Any) -> None:
    """A process on another machine may have failed before this machine was even started."""
    monkeypatch.setattr(LocalToggle, "shares_clock", False)
    enabled = fault(machine)
    enabled.apply()
    enabled.applied_s = 1.0
    before = monotonic()
    leave(toggle_of(machine, 0), on=True, launches=12)  # the first at 3.0
    assert enabled.prove()[0] == f"pid {ME.pid}: calls fail with 999 (CUDA_ERROR_UNKNOWN) (12 launch)"
    assert enabled.effective_s >= before


def test_the_first_failed_call_is_when_it_took_effect(machine: Machine, leave: Leave) -> None:
    enabled = fault(machine)
    enabled.apply()
    enabled.applied_s = 1.0
    leave(toggle_of(machine, 0), on=True, launches=12)
    assert enabled.prove()[0].endswith("(12 launch), the first 2.00 s after the toggle")
    assert enabled.effective_s == 3.0


@dataclass
class Far(Toggle):
    """A toggle in another machine's memory, with one process."""

    page: bytearray
    seen: bytes = b""
    lives: bool = True
    place = "far away"
    shares_clock = False
    poll_s = 0.001

    def recipe(self, generation: int) -> dict[str, Any]:
        return {"platform": "far", "generation": generation}

    def read(self) -> str | None:
        return self.page.decode()

    def write(self, data: bytes) -> None:
        self.page[: len(data)] = data

    def counters_files(self) -> list[bytes]:
        return [self.seen]

    def is_running(self, process: ShimmedProcess) -> bool:
        return self.lives

    def is_stopped(self, process: ShimmedProcess) -> bool:
        return False


def test_a_toggle_need_not_be_a_file(machine: Machine, leave: Leave, monkeypatch: pytest.MonkeyPatch) -> None:
    near, far = toggle_of(machine, 0), Far(bytearray())
    toggles = {"Worker-0": far}
    monkeypatch.setattr(Machine, "cuda_toggle", lambda self, replica: toggles.get(replica.name))
    enabled = fault(machine)
    enabled.apply()
    assert (far.is_on, far.generation, len(far.page)) == (True, enabled.recipe["generation"], PAGE_SIZE)
    with pytest.raises(EvidenceMissing, match="none of its processes has made a CUDA call"):
        enabled.prove()
    leave(near, OTHER, on=True, launches=7)
    (far.seen,) = near.counters_files()
    assert enabled.prove() == ["pid 1: calls fail with 999 (CUDA_ERROR_UNKNOWN) (7 launch)"]
    with pytest.raises(RecoveryError, match=r"pid 1 did not read 'far away' within 0\.05 s after it was switched off"):
        far.undo(enabled.recipe["generation"], 0.05)
    far.lives = False
    assert (far.is_on, far.undo(far.generation, 0.05)) == (False, "off, and seen by 0 processes")


def test_only_the_toggle_of_the_replica_is_written_and_undo_switches_it_off(machine: Machine) -> None:
    enabled = fault(machine)
    enabled.apply()
    assert [toggle_of(machine, index).is_on for index in range(2)] == [True, False]
    assert enabled.heal().startswith("off, and seen by")
    assert not toggle_of(machine, 0).is_on
    assert machine.respawned == []


def test_an_error_until_restart_is_undone_by_a_restart(machine: Machine) -> None:
    enabled = fault(machine, lasting=True)
    enabled.apply()
    assert "recovery=exit" in toggle_of(machine, 0).path.read_text()
    assert "Worker-0 was started again" in enabled.heal()
    assert machine.respawned == ["Worker-0"]


def test_a_toggle_that_is_on_is_not_touched(machine: Machine) -> None:
    toggle_of(machine, 0).path.write_text("1\n")
    with pytest.raises(FaultError, match="the CUDA faults of Worker-0 are on already"):
        fault(machine)


def test_a_replica_without_the_shim_is_refused(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Machine, "cuda_toggle", lambda self, replica: None)
    with pytest.raises(FaultError, match="Worker-0 does not run under the CUDA shim; call 'Set Up Cuda Shim'"):
        fault(machine)


@pytest.mark.parametrize(
    ("rule", "text"),
    [
        ({}, "xid=79 gpu=all after=0 delay_ms=0 probability=1.0 seed=1 recovery=toggle"),
        (
            {"xid": 48, "gpu": "1", "classes": ["launch", "copy"], "after_calls": 3, "probability": 0.5, "seed": 7},
            "xid=48 gpu=1 classes=launch,copy after=3 delay_ms=0 probability=0.5 seed=7 recovery=toggle",
        ),
        (
            {"error": 702, "delay": timedelta(seconds=1.5)},
            "xid=79 gpu=all error=702 sticky=1 after=0 delay_ms=1500 probability=1.0 seed=1 recovery=toggle",
        ),
        (
            {"xid": 63, "error": 2},
            "gpu=all error=2 sticky=0 after=0 delay_ms=0 probability=1.0 seed=1 recovery=toggle",
        ),
    ],
)
def test_a_rule_as_the_shim_reads_it(rule: dict[str, Any], text: str) -> None:
    assert CudaRule(**rule).to_text() == text


@pytest.mark.parametrize(
    ("rule", "message"),
    [
        ({"xid": 7}, "XID 7 is not in the catalogue; known are [13, 14, 31"),
        ({"xid": 63}, "XID 63 (row remapping or page retirement recorded) makes no CUDA call fail"),
        ({"classes": ["lunch"]}, "there are no classes ['lunch'] of CUDA calls"),
        ({"probability": 0}, "a probability is above 0 and at most 1, not 0"),
        ({"after_calls": -1}, "after_calls and delay are 0 or more"),
        ({"error": 0}, "an error is above 0"),
    ],
)
def test_a_rule_that_makes_no_sense_is_refused(rule: dict[str, Any], message: str) -> None:
    with pytest.raises(FaultError, match=re.escape(message)):
        CudaRule(**rule)
