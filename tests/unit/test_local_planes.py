from pathlib import Path

import pytest

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.platforms.local import planes
from DynamoFaultLibrary.platforms.local.planes import Part, Planes, plan_planes, uses_nats
from DynamoFaultLibrary.platforms.settings import DeploySettings, Discovery, EventPlane, RequestPlane


@pytest.fixture(autouse=True)
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    for name in ("etcd", "nats-server"):
        (directory / name).write_text("#!/bin/sh\n")
        (directory / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(directory))
    return directory


def plan(settings: DeploySettings, work: Path = Path("/srv/agg-1")) -> Planes:
    ports = iter(range(21000, 22000))
    return plan_planes(settings, work, lambda: str(next(ports)))


def options(part: Part) -> dict[str, str]:
    pairs = [argument for argument in part.argv[1:] if argument not in ("--unsafe-no-fsync", "--jetstream")]
    return dict(zip(pairs[::2], pairs[1::2], strict=True))


def test_the_default_planes_need_no_process() -> None:
    planned = plan(DeploySettings())
    assert planned.parts == []
    assert planned.environment == {
        "DYN_DISCOVERY_BACKEND": "file",
        "DYN_REQUEST_PLANE": "tcp",
        "DYN_EVENT_PLANE": "zmq",
        "DYN_FILE_KV": "/srv/agg-1/discovery",
    }


def test_one_etcd_is_a_cluster_of_itself() -> None:
    planned = plan(DeploySettings(discovery=Discovery.ETCD))
    (part,) = planned.parts
    assert (part.service, part.index, part.health_url) == ("etcd", 0, "http://127.0.0.1:21000/health")
    assert Path(part.argv[0]).name == "etcd"
    assert options(part) == {
        "--name": "etcd-0",
        "--data-dir": "/srv/agg-1/etcd-0",
        "--listen-client-urls": "http://127.0.0.1:21000",
        "--advertise-client-urls": "http://127.0.0.1:21000",
        "--listen-peer-urls": "http://127.0.0.1:21001",
        "--initial-advertise-peer-urls": "http://127.0.0.1:21001",
        "--initial-cluster": "etcd-0=http://127.0.0.1:21001",
        "--initial-cluster-state": "new",
        "--initial-cluster-token": "agg-1",
    }
    assert planned.environment["ETCD_ENDPOINTS"] == "http://127.0.0.1:21000"
    assert planned.environment["DYN_DISCOVERY_BACKEND"] == "etcd"
    assert "DYN_FILE_KV" not in planned.environment


def test_three_etcds_know_each_other() -> None:
    planned = plan(DeploySettings(discovery=Discovery.ETCD, etcd_members=3))
    parts = [options(part) for part in planned.parts]
    assert [part["--name"] for part in parts] == ["etcd-0", "etcd-1", "etcd-2"]
    clusters = {part["--initial-cluster"] for part in parts}
    assert clusters == {",".join(f"{part['--name']}={part['--listen-peer-urls']}" for part in parts)}
    clients = [part["--listen-client-urls"] for part in parts]
    assert planned.environment["ETCD_ENDPOINTS"].split(",") == clients
    assert len({*clients, *(part["--listen-peer-urls"] for part in parts)}) == 6
    assert len({part["--data-dir"] for part in parts}) == 3
    assert [part.index for part in planned.parts] == [0, 1, 2]
    assert [part.health_url for part in planned.parts] == [f"{client}/health" for client in clients]


@pytest.mark.parametrize(
    "settings",
    [
        DeploySettings(request_plane=RequestPlane.NATS),
        DeploySettings(event_plane=EventPlane.NATS),
        DeploySettings(request_plane=RequestPlane.NATS, event_plane=EventPlane.NATS),
    ],
)
def test_one_nats_serves_whichever_plane_runs_on_it(settings: DeploySettings) -> None:
    assert uses_nats(settings)
    planned = plan(settings)
    (part,) = planned.parts
    assert (part.service, part.index, part.health_url) == ("nats", 0, "http://127.0.0.1:21001/healthz")
    assert Path(part.argv[0]).name == "nats-server"
    assert options(part) == {
        "--addr": "127.0.0.1",
        "--port": "21000",
        "--http_port": "21001",
        "--store_dir": "/srv/agg-1/nats",
    }
    assert "--jetstream" in part.argv
    assert planned.environment["NATS_SERVER"] == "nats://127.0.0.1:21000"


def test_without_nats_nobody_is_pointed_to_one() -> None:
    assert not uses_nats(DeploySettings(discovery=Discovery.ETCD))
    assert "NATS_SERVER" not in plan(DeploySettings(discovery=Discovery.ETCD)).environment


def test_the_planes_that_were_asked_for_are_in_the_environment() -> None:
    environment = plan(DeploySettings(request_plane=RequestPlane.NATS, event_plane=EventPlane.NATS)).environment
    assert (environment["DYN_REQUEST_PLANE"], environment["DYN_EVENT_PLANE"]) == ("nats", "nats")


def test_etcd_comes_before_nats() -> None:
    planned = plan(DeploySettings(discovery=Discovery.ETCD, request_plane=RequestPlane.NATS))
    assert [part.service for part in planned.parts] == ["etcd", "nats"]


def test_the_etcd_of_the_path_is_used_where_the_package_is_missing(
    programs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(planes, "find_spec", lambda name: None)
    (part,) = plan(DeploySettings(discovery=Discovery.ETCD)).parts
    assert part.argv[0] == str(programs / "etcd")


def test_a_missing_etcd_is_an_error_that_says_what_to_install(programs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "find_spec", lambda name: None)
    (programs / "etcd").unlink()
    with pytest.raises(DeploymentError) as raised:
        plan(DeploySettings(discovery=Discovery.ETCD))
    assert str(raised.value) == "'etcd' is not installed; install the extra: pip install '.[local]'"
