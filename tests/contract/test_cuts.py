"""What every platform must do that cuts replicas off from each other, held against each of `PLATFORMS`."""

import json
import subprocess
import sys
from datetime import timedelta

import pytest
from contract_bench import ISOLATED, PLATFORMS, Bench, complete

from DynamoFaultLibrary.clock import monotonic, wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, Unready, Unsupported
from DynamoFaultLibrary.faults.injector import ActiveFault, Fault
from DynamoFaultLibrary.ledger import State
from DynamoFaultLibrary.ledger.undo import undoer_of
from DynamoFaultLibrary.platforms.base import Deployment, Partitioning, Replacing
from DynamoFaultLibrary.platforms.effects import Direction, Effect, Partition, PartitionMode
from DynamoFaultLibrary.platforms.replicas import Replica

SECONDS = timedelta(seconds=10)
READY = timedelta(minutes=1)
"""Discovery keeps who has ended for 10 s."""
SHAPES = {
    "drop": {},
    "drop one way": {"direction": Direction.TO},
    "drop the other way": {"direction": Direction.FROM},
    "reject": {"mode": PartitionMode.REJECT},
    "reject one way": {"mode": PartitionMode.REJECT, "direction": Direction.TO},
    "reject the other way": {"mode": PartitionMode.REJECT, "direction": Direction.FROM},
    "loss": {"loss": 20},
    "rate": {"rate": 100_000},
}
CUTTING = [name for name, (_, settings) in PLATFORMS.items() if settings == ISOLATED]


@pytest.fixture(params=CUTTING)
def case(request: pytest.FixtureRequest) -> object:
    return PLATFORMS[request.param]


@pytest.fixture
def frontend(bench: Bench, deployment: Deployment) -> Replica:
    return bench.frontend(deployment)


@pytest.fixture
def workers(bench: Bench, deployment: Deployment) -> list[Replica]:
    return bench.workers(deployment)


def plan(bench: Bench, deployment: Deployment, partition: Partition) -> Effect:
    """The effect; the test is skipped where the platform has no such cut."""
    try:
        return bench.able(Partitioning).plan_cut(deployment, partition)
    except Unsupported as reason:
        pytest.skip(str(reason))


def cut(bench: Bench, deployment: Deployment, partition: Partition, ttl: timedelta = SECONDS) -> ActiveFault:
    sides = [partition.sources, partition.targets]
    return bench.injector.inject(Fault("cut", deployment, sides, plan(bench, deployment, partition)), ttl)


@pytest.mark.parametrize("shape", SHAPES)
def test_a_cut_is_proven_and_its_healing_too(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica], shape: str
) -> None:
    before = monotonic()
    active = cut(bench, deployment, Partition([frontend], workers, **SHAPES[shape]))  # type: ignore[arg-type]
    assert active.entry.state is State.ACTIVE
    assert len(active.entry.evidence) == len(workers)
    assert all(f"PositionWorker-{n}" in line for n, line in enumerate(active.entry.evidence))
    assert before <= active.effective_s <= active.active_s
    assert active.entry.target["services"] == ["Frontend", "PositionWorker"]
    bench.injector.recover(active)
    assert all(worker.name in active.entry.detail for worker in workers)
    assert complete(deployment) == "12 13 14"


def test_only_the_two_sides_are_cut_off(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    first = cut(bench, deployment, Partition([frontend], workers[:1]))
    for other in ([frontend], workers[:1]):  # both still reach the other worker, else this would prove nothing
        second = cut(bench, deployment, Partition(other, workers[1:]))
        bench.injector.recover(second)
        assert workers[1].name in second.entry.detail
    texts, problems = bench.platform.metrics(deployment, "PositionWorker")
    assert (len(texts), problems) == (2, []), "the platform itself reaches both"
    bench.injector.recover(first)


def test_who_is_cut_off_is_not_ready(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    active = cut(bench, deployment, Partition([frontend], workers), timedelta(seconds=60))
    with pytest.raises(Unready, match="was not ready within"):
        bench.able(Replacing).wait_ready(deployment, timedelta(seconds=0.5))
    bench.injector.recover(active)
    bench.able(Replacing).wait_ready(deployment, timedelta(seconds=60))


def test_overlapping_cuts_come_off_one_by_one(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    first = cut(bench, deployment, Partition([frontend], workers))
    second = cut(bench, deployment, Partition([frontend], workers[:1]))
    bench.injector.recover(first)
    assert workers[0].name not in first.entry.detail, "the second still cuts it off, so nothing is known of it"
    assert workers[1].name in first.entry.detail
    bench.injector.recover(second)
    assert bench.injector.active == []


def test_nothing_is_proven_that_was_not_applied(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    effect = plan(bench, deployment, Partition([frontend], workers))
    effect.apply = lambda: None  # type: ignore[method-assign]  # sabotage
    with pytest.raises(EvidenceMissing):
        bench.injector.inject(Fault("cut", deployment, [[frontend], workers], effect))
    assert bench.injector.active == []


def test_a_reset_is_over_at_once(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    """It stayed in effect until its test ended."""
    complete(deployment)  # over a connection that stays open
    active = cut(bench, deployment, Partition([frontend], workers, PartitionMode.RESET))
    assert active.entry.state is State.IRREVERSIBLE
    assert active.entry.detail == active.fault.effect.compensation == "new connections work"
    assert bench.injector.active == []
    bench.able(Replacing).wait_ready(deployment, READY)


def test_healing_twice_does_no_harm(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    effect = plan(bench, deployment, Partition([frontend], workers))
    effect.apply()
    effect.prove()
    assert effect.heal() != effect.heal() != "", "the second finds it off already"
    assert effect.verify()
    effect.close()
    effect.close()
    assert complete(deployment) == "12 13 14"


def test_a_recipe_is_enough_to_heal_it(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    """By anybody, who knows nothing but the ledger."""
    effect = plan(bench, deployment, Partition([frontend], workers))
    recipe = json.loads(json.dumps(effect.recipe))
    assert not undoer_of(recipe).goes_with_deployment
    effect.apply()
    effect.prove()
    program = f"from DynamoFaultLibrary.ledger.undo import undo; print(undo({recipe!r}))"
    done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
    assert done.stdout.strip()
    assert effect.verify()
    effect.close()
    assert complete(deployment) == "12 13 14"


def test_a_guarded_cut_heals_at_its_expiry(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    active = cut(bench, deployment, Partition([frontend], workers), timedelta(milliseconds=500))
    assert wait_until(lambda: not bench.injector.active, 10.0)
    assert active.entry.detail.startswith("its time was over")
    bench.injector.recover(cut(bench, deployment, Partition([frontend], workers)))


def test_a_respawned_replica_is_where_it_was(
    bench: Bench, deployment: Deployment, frontend: Replica, workers: list[Replica]
) -> None:
    active = cut(bench, deployment, Partition([frontend], workers[:1]))
    replacing = bench.able(Replacing)
    replacing.respawn(deployment, workers[0])
    bench.injector.recover(active)
    assert workers[0].name in active.entry.detail
    replacing.wait_ready(deployment, timedelta(seconds=30))
