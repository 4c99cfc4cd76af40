"""What a platform must tell of etcd and NATS, and how it starts them again, held against the real servers."""

import json
import signal
import socket
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.platforms.base import ControlPlane, Deployment
from DynamoFaultLibrary.platforms.etcd import EtcdCluster
from DynamoFaultLibrary.platforms.http import get_json
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.nats import NatsServer
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import ETCD, NATS, DeploySettings, Discovery, RequestPlane
from DynamoFaultLibrary.processes import ProcessId

SECONDS = timedelta(seconds=10)


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPlatform]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    found = LocalPlatform(Ledger("contract", Owner(ProcessId.current())))
    yield found
    found.close()


def deploy(platform: LocalPlatform, tmp_path: Path, settings: DeploySettings) -> Deployment:
    assert isinstance(platform, ControlPlane)
    return platform.deploy(Manifest.load(find_graph("position-agg.yaml")).graph(), settings, tmp_path / "results")


@pytest.fixture
def deployment(platform: LocalPlatform, tmp_path: Path) -> Deployment:
    settings = DeploySettings(discovery=Discovery.ETCD, etcd_members=3, request_plane=RequestPlane.NATS)
    return deploy(platform, tmp_path, settings)


def kill(platform: LocalPlatform, deployment: Deployment, name: str) -> Replica:
    (victim,) = (r for r in platform.replicas(deployment, name.partition("-")[0]) if r.name == name)
    platform.send(victim, [victim.process], signal.SIGKILL)
    assert platform.wait_exit(victim, SECONDS) is not None
    return victim


def test_a_deployment_without_servers_has_none(platform: LocalPlatform, tmp_path: Path) -> None:
    deployment = deploy(platform, tmp_path, DeploySettings())
    assert platform.member_urls(deployment, ETCD) == platform.member_urls(deployment, NATS) == {}


def test_an_etcd_member_comes_back_with_its_data_or_as_another_one(
    platform: LocalPlatform, deployment: Deployment
) -> None:
    cluster = EtcdCluster(platform.member_urls(deployment, ETCD))
    assert list(cluster.urls) == ["etcd-0", "etcd-1", "etcd-2"]
    leader = cluster.leader()
    assert leader is not None
    before = cluster.statuses()[leader.name].member
    victim = kill(platform, deployment, leader.name)
    successor = cluster.wait_for_leader(SECONDS, above_term=leader.term)
    assert successor is not None
    assert successor.name != leader.name
    again = platform.respawn(deployment, victim)
    assert wait_until(lambda: cluster.is_voting(leader.name), 10.0), cluster.describe()
    assert cluster.statuses()[leader.name].member == before
    peers = cluster.peer_urls(leader.name)
    kill(platform, deployment, leader.name)
    cluster.replace(leader.name, peers)
    fresh = platform.start_without_data(deployment, again)
    assert (fresh.name, fresh.generation) == (leader.name, 2)
    assert wait_until(lambda: cluster.is_voting(leader.name), 10.0), cluster.describe()
    assert cluster.statuses()[leader.name].member != before
    third = platform.respawn(deployment, kill(platform, deployment, leader.name))
    assert wait_until(lambda: cluster.is_voting(third.name), 10.0), "a member that started anew keeps its new data"


def test_nats_comes_back_with_its_streams(platform: LocalPlatform, deployment: Deployment) -> None:
    ((name, url),) = platform.member_urls(deployment, NATS).items()
    server = NatsServer(name, url)
    port = int(get_json(f"{url}/varz", 1.0)["port"])
    for storage in ("file", "memory"):
        config = {"name": storage, "subjects": [f"{storage}.>"], "storage": storage}
        assert "error" not in ask_nats(port, f"$JS.API.STREAM.CREATE.{storage}", json.dumps(config))
    for number in range(1, 4):
        assert ask_nats(port, "file.a", "message")["seq"] == number
    before = server.state()
    assert before.streams == {"file": 3}
    platform.respawn(deployment, kill(platform, deployment, name))
    assert wait_until(lambda: server.is_healthy, 10.0)
    after = server.state()
    assert after.streams == {"file": 3}
    assert after.server_id != before.server_id


def ask_nats(port: int, subject: str, body: str) -> dict[str, object]:
    """One request to NATS, over its text protocol, and the JSON that it is answered with."""
    with socket.create_connection(("127.0.0.1", port), timeout=5) as connection:
        lines = connection.makefile("rb")
        lines.readline()  # the server tells of itself
        data = body.encode()
        head = f'CONNECT {{"verbose":false}}\r\nSUB reply 1\r\nPUB {subject} reply {len(data)}\r\n'
        connection.sendall(head.encode() + data + b"\r\n")
        while not (line := lines.readline()).startswith(b"MSG reply"):
            assert line, "NATS has hung up"
        answer: dict[str, object] = json.loads(lines.readline())
        return answer
