import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from contract_bench import MEMORY, PLATFORMS, Bench

from DynamoFaultLibrary.ledger import Ledger, Owner, read_ledger
from DynamoFaultLibrary.platforms.base import Deployment, Platform
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.plugins import platform_module
from DynamoFaultLibrary.processes import ProcessId


@pytest.fixture(params=PLATFORMS)
def case(request: pytest.FixtureRequest) -> tuple[str, DeploySettings]:
    found: tuple[str, DeploySettings] = PLATFORMS[request.param]
    return found


@pytest.fixture
def make_bench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[..., Bench]]:
    """Makes platforms by name; whatever a test did with one, nothing is left when it is closed."""
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(MEMORY), os.environ.get("PYTHONPATH", "")]))  # of its guard
    monkeypatch.syspath_prepend(MEMORY)
    made: list[Bench] = []

    def make(name: str, settings: DeploySettings) -> Bench:
        ledger = Ledger(f"contract-{len(made)}", Owner(ProcessId.current()))
        platform: Platform = platform_module(name, "platform").open_platform(ledger)
        made.append(Bench(platform, settings, ledger, tmp_path / "results"))
        return made[-1]

    yield make
    for bench in made:
        bench.platform.close()
    left = [entry for path in (tmp_path / "state").glob("runs/*.jsonl") for entry in read_ledger(path).open_entries]
    assert left == []
    assert list((tmp_path / "state").glob("work/*")) == []


@pytest.fixture
def bench(make_bench: Callable[..., Bench], case: tuple[str, DeploySettings]) -> Bench:
    return make_bench(*case)


@pytest.fixture
def platform(bench: Bench) -> Platform:
    return bench.platform


@pytest.fixture
def deployment(bench: Bench) -> Deployment:
    return bench.deploy()


@pytest.fixture
def victim(bench: Bench, deployment: Deployment) -> Replica:
    return bench.workers(deployment)[0]
