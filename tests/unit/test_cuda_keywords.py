import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "testdata"))

from FakeDynamo import FakeDynamo

from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.platforms.effects import FailingCudaCalls


@dataclass(eq=False)
class Counted(FailingCudaCalls):
    """Calls that fail, so many more each time that somebody looks."""

    more: int
    seen: int = 3

    @property
    def failures(self) -> int:
        self.seen += self.more
        return self.seen

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "nothing"}

    def apply(self) -> None:
        pass

    def prove(self) -> list[str]:
        return ["3 calls failed"]

    def heal(self) -> str:
        return "off"


@pytest.fixture
def dynamo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDynamo]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    made = FakeDynamo(deployed=True)
    yield made
    made.close()


def enable(dynamo: FakeDynamo, more: int) -> None:
    dynamo.context.platform.__dict__["plan_cuda"] = lambda *_: Counted(more)
    dynamo.run_keyword("enable_cuda_faults", ["VllmWorker", 0])


def test_faults_are_visible_while_further_calls_fail(dynamo: FakeDynamo) -> None:
    enable(dynamo, more=1)
    dynamo.run_keyword("cuda_faults_should_be_visible", ["VllmWorker"], {"timeout": timedelta(seconds=5)})


def test_calls_that_failed_before_make_no_fault_visible(dynamo: FakeDynamo) -> None:
    enable(dynamo, more=0)
    with pytest.raises(AssertionError, match="no further CUDA call of VllmWorker-0 failed within 20 ms: 3 have"):
        dynamo.run_keyword("cuda_faults_should_be_visible", [], {"timeout": timedelta(milliseconds=20)})


def test_a_shim_that_is_still_mapped_is_not_removed(dynamo: FakeDynamo) -> None:
    there = {"shim_cuda": lambda services: None, "awaits_cuda_change": lambda replica: False}
    mapped = {"Frontend-0": ["pid 12"]}
    dynamo.context.platform.__dict__.update(there, shimmed_processes=lambda replica: mapped.get(replica.name, []))
    with pytest.raises(RecoveryError, match="the CUDA shim is still mapped by pid 12 of Frontend-0"):
        dynamo.run_keyword("remove_cuda_shim", [])
    dynamo.run_keyword("remove_cuda_shim", [], {"restart": False})
