"""What partitions are on platform `local` beyond the contract: packets on real hosts of their own."""

import os
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, Unsupported
from DynamoFaultLibrary.faults.injector import Fault, Injector
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.ledger import Ledger, Owner, read_ledger
from DynamoFaultLibrary.net.filter import PacketFilter
from DynamoFaultLibrary.net.links import link_exists
from DynamoFaultLibrary.platforms.base import Deployment, Partitioning, read_metrics
from DynamoFaultLibrary.platforms.effects import Partition, PartitionMode
from DynamoFaultLibrary.platforms.local.network import check_isolation
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import DeploySettings, NetworkMode
from DynamoFaultLibrary.processes import ProcessId

MINUTE = timedelta(minutes=1)


@pytest.fixture(scope="module")
def platform(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalPlatform]:
    try:
        check_isolation()
    except Unsupported as reason:
        pytest.skip(str(reason))
    place = tmp_path_factory.mktemp("partitioning")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DYNAMO_FAULT_STATE", str(place / "state"))
        found = LocalPlatform(Ledger("contract", Owner(ProcessId.current())))
        assert isinstance(found, Partitioning)
        yield found
        found.close()
    assert read_ledger(place / "state" / "runs" / "contract.jsonl").open_entries == []


@pytest.fixture(scope="module")
def deployment(platform: LocalPlatform, tmp_path_factory: pytest.TempPathFactory) -> Deployment:
    graph = Manifest.load(find_graph("position-agg.yaml")).graph()
    return platform.deploy(graph, DeploySettings(network=NetworkMode.ISOLATED), tmp_path_factory.mktemp("results"))


@pytest.fixture
def injector(platform: LocalPlatform) -> Iterator[Injector]:
    found = Injector(platform.ledger, platform)
    yield found
    assert found.recover_all() == []


@pytest.fixture
def frontend(platform: LocalPlatform, deployment: Deployment) -> Replica:
    return platform.replicas(deployment, "Frontend")[0]


@pytest.fixture
def workers(platform: LocalPlatform, deployment: Deployment) -> list[Replica]:
    return platform.replicas(deployment, "PositionWorker")


def partition(platform: LocalPlatform, deployment: Deployment, shape: Partition) -> Fault:
    return Fault("cut", deployment, [shape.sources, shape.targets], platform.plan_cut(deployment, shape))


def test_overlapping_partitions_come_off_one_by_one(
    platform: LocalPlatform, deployment: Deployment, injector: Injector, frontend: Replica, workers: list[Replica]
) -> None:
    first = injector.inject(partition(platform, deployment, Partition([frontend], workers)))
    second = injector.inject(
        partition(platform, deployment, Partition([frontend], workers[:1], mode=PartitionMode.REJECT))
    )
    assert "already cut by another fault" in second.entry.evidence[0]
    injector.recover(first)
    assert workers[0].name not in first.entry.detail  # still cut by the second, so nothing is claimed of it
    assert workers[1].name in first.entry.detail
    injector.recover(second)
    assert second.entry.detail.startswith("packet filter taken out")


def test_a_later_partition_is_seen_through_an_earlier_one(
    platform: LocalPlatform, deployment: Deployment, injector: Injector, frontend: Replica, workers: list[Replica]
) -> None:
    first, _ = (injector.inject(partition(platform, deployment, Partition([frontend], workers))) for _ in range(2))
    injector.recover(first)
    third = injector.inject(partition(platform, deployment, Partition([frontend], workers)))
    assert "already cut by another fault" in third.entry.evidence[0]


def test_a_partition_heals_by_itself_at_its_expiry(
    platform: LocalPlatform, deployment: Deployment, injector: Injector, frontend: Replica, workers: list[Replica]
) -> None:
    before = len(os.listdir("/proc/self/fd"))
    active = injector.inject(
        partition(platform, deployment, Partition([frontend], workers)), timedelta(milliseconds=500)
    )
    assert len(os.listdir("/proc/self/fd")) > before
    assert wait_until(lambda: not injector.active, 3.0)
    assert len(os.listdir("/proc/self/fd")) == before, "its probes are open still (row 26)"
    assert active.entry.detail == "its time was over: packet filter taken out"
    again = injector.inject(partition(platform, deployment, Partition([frontend], workers)))
    assert "an open connection: no answer" in again.entry.evidence[0]


def test_a_reset_needs_a_connection_and_leaves_nothing(
    platform: LocalPlatform, deployment: Deployment, injector: Injector, workers: list[Replica]
) -> None:
    shape = Partition(workers[:1], workers[1:], mode=PartitionMode.RESET)
    with pytest.raises(EvidenceMissing, match="no open connection to reset between PositionWorker-0"):
        injector.inject(partition(platform, deployment, shape))
    assert injector.active == []


def test_rules_that_are_not_there_are_no_partition(
    platform: LocalPlatform,
    deployment: Deployment,
    injector: Injector,
    frontend: Replica,
    workers: list[Replica],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(PacketFilter, "add_table", lambda *ignored: None)
    with pytest.raises(EvidenceMissing, match="no packet from Frontend-0 to PositionWorker-0 caught within 2 s"):
        injector.inject(partition(platform, deployment, Partition([frontend], workers)))
    assert injector.active == []


def test_a_respawned_replica_is_on_the_same_host(
    platform: LocalPlatform, deployment: Deployment, workers: list[Replica]
) -> None:
    before = platform.metrics_urls(deployment, deployment.graph.workers)
    again = platform.respawn(deployment, workers[0])
    platform.wait_ready(deployment, MINUTE)
    assert platform.metrics_urls(deployment, deployment.graph.workers) == before
    assert again.name in read_metrics(platform, deployment, workers[0].service, timeout_s=2)


def test_nothing_of_a_network_is_left(platform: LocalPlatform, tmp_path: Path) -> None:
    before = links(platform)
    graph = Manifest.load(find_graph("position-agg.yaml")).graph()
    second = platform.deploy(graph, DeploySettings(network=NetworkMode.ISOLATED), tmp_path)
    assert len(links(platform)) == len(before) + 1
    platform.delete(second)
    assert links(platform) == before


def links(platform: LocalPlatform) -> set[str]:
    """Of this run's networks, the interfaces that are there."""
    networks = [entry for entry in read_ledger(platform.ledger.path).entries.values() if entry.kind == "network"]
    return {str(entry.target["link"]) for entry in networks if link_exists(str(entry.target["link"]))}
