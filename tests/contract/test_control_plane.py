"""What a platform must tell of etcd and NATS, and how it starts them again, held against the real servers."""

import json
import socket
from datetime import timedelta
from urllib.parse import urlsplit

import pytest
from contract_bench import Bench, kill

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.platforms.base import ControlPlane, Deployment, Replacing
from DynamoFaultLibrary.platforms.etcd import EtcdCluster
from DynamoFaultLibrary.platforms.http import get_json
from DynamoFaultLibrary.platforms.nats import NatsServer
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import ETCD, NATS, DeploySettings, Discovery, RequestPlane

SECONDS = timedelta(seconds=10)


@pytest.fixture
def control(bench: Bench) -> ControlPlane:
    return bench.able(ControlPlane)


@pytest.fixture
def deployment(bench: Bench, control: ControlPlane) -> Deployment:
    planes = DeploySettings(
        Discovery.ETCD, etcd_members=3, request_plane=RequestPlane.NATS, network=bench.settings.network
    )
    return bench.deploy(settings=planes)


def killed(bench: Bench, deployment: Deployment, name: str) -> Replica:
    (victim,) = (r for r in bench.platform.replicas(deployment, name.partition("-")[0]) if r.name == name)
    kill(bench.platform, deployment, victim)
    return victim


def test_a_deployment_without_servers_has_none(bench: Bench, control: ControlPlane) -> None:
    deployment = bench.deploy()
    assert control.member_urls(deployment, ETCD) == control.member_urls(deployment, NATS) == {}


def test_an_etcd_member_comes_back_with_its_data_or_as_another_one(
    bench: Bench, control: ControlPlane, deployment: Deployment
) -> None:
    replacing = bench.able(Replacing)
    cluster = EtcdCluster(control.member_urls(deployment, ETCD))
    assert list(cluster.urls) == ["etcd-0", "etcd-1", "etcd-2"]
    leader = cluster.leader()
    assert leader is not None
    before = cluster.statuses()[leader.name].member
    victim = killed(bench, deployment, leader.name)
    successor = cluster.wait_for_leader(SECONDS, above_term=leader.term)
    assert successor is not None
    assert successor.name != leader.name
    again = replacing.respawn(deployment, victim)
    assert wait_until(lambda: cluster.is_voting(leader.name), 10.0), cluster.describe()
    assert cluster.statuses()[leader.name].member == before
    peers = cluster.peer_urls(leader.name)
    killed(bench, deployment, leader.name)
    cluster.replace(leader.name, peers)
    fresh = control.start_without_data(deployment, again)
    assert (fresh.name, fresh.key) == (victim.name, victim.key)
    assert len({victim.incarnation, again.incarnation, fresh.incarnation}) == 3
    assert wait_until(lambda: cluster.is_voting(leader.name), 10.0), cluster.describe()
    assert cluster.statuses()[leader.name].member != before
    third = replacing.respawn(deployment, killed(bench, deployment, leader.name))
    assert wait_until(lambda: cluster.is_voting(third.name), 10.0), "a member that started anew keeps its new data"


def test_nats_comes_back_with_its_streams(bench: Bench, control: ControlPlane, deployment: Deployment) -> None:
    ((name, url),) = control.member_urls(deployment, NATS).items()
    server = NatsServer(name, url)
    host, port = str(urlsplit(url).hostname), int(get_json(f"{url}/varz", 1.0)["port"])
    for storage in ("file", "memory"):
        config = {"name": storage, "subjects": [f"{storage}.>"], "storage": storage}
        assert "error" not in ask_nats(host, port, f"$JS.API.STREAM.CREATE.{storage}", json.dumps(config))
    for number in range(1, 4):
        assert ask_nats(host, port, "file.a", "message")["seq"] == number
    before = server.state()
    assert before.streams == {"file": 3}
    bench.able(Replacing).respawn(deployment, killed(bench, deployment, name))
    assert wait_until(lambda: server.is_healthy, 10.0)
    after = server.state()
    assert after.streams == {"file": 3}
    assert after.server_id != before.server_id


def ask_nats(host: str, port: int, subject: str, body: str) -> dict[str, object]:
    """One request to NATS, over its text protocol, and the JSON that it is answered with."""
    with socket.create_connection((host, port), timeout=5) as connection:
        lines = connection.makefile("rb")
        lines.readline()  # the server tells of itself
        data = body.encode()
        head = f'CONNECT {{"verbose":false}}\r\nSUB reply 1\r\nPUB {subject} reply {len(data)}\r\n'
        connection.sendall(head.encode() + data + b"\r\n")
        while not (line := lines.readline()).startswith(b"MSG reply"):
            assert line, "NATS has hung up"
        answer: dict[str, object] = json.loads(lines.readline())
        return answer
