"""What platform `local` does beyond the contract, held against real processes: what it leaves on this machine."""

import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from contract_bench import PLATFORMS, WORKER, Bench, complete

from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.http import get_json
from DynamoFaultLibrary.platforms.local.machine import leader_of
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import DeploySettings, Discovery, EventPlane, RequestPlane
from DynamoFaultLibrary.processes import ProcessId

VARIANTS = {
    "file+nats": DeploySettings(request_plane=RequestPlane.NATS, event_plane=EventPlane.NATS),
    "etcd1+tcp": DeploySettings(discovery=Discovery.ETCD),
    "etcd3+nats": DeploySettings(discovery=Discovery.ETCD, etcd_members=3, request_plane=RequestPlane.NATS),
}


@pytest.fixture(params=[name for name, (platform, _) in PLATFORMS.items() if platform == "local"])
def case(request: pytest.FixtureRequest) -> object:
    """It does the same whatever its network; isolated ones are skipped where they are not allowed."""
    return PLATFORMS[request.param]


def processes_of(bench: Bench, deployment: Deployment) -> list[ProcessId]:
    services = [*deployment.graph.services, *deployment.infrastructure]
    return [leader_of(replica) for each in services for replica in bench.platform.replicas(deployment, each)]


@pytest.mark.parametrize("variant", VARIANTS)
def test_each_plane_answers_and_goes_with_its_deployment(bench: Bench, variant: str) -> None:
    deployment = bench.deploy(settings=replace(VARIANTS[variant], network=bench.settings.network))
    processes = processes_of(bench, deployment)
    assert len(processes) == 3 + {"file+nats": 1, "etcd1+tcp": 1, "etcd3+nats": 4}[variant]
    assert complete(deployment) == "12 13 14"
    bench.platform.delete(deployment)
    assert [process.pid for process in processes if process.is_running] == []


@pytest.mark.parametrize("graph", ["mocker-vllm-disagg.yaml", "mocker-sglang-disagg.yaml", "mocker-trtllm-disagg.yaml"])
def test_disaggregated_graphs_use_their_prefill_worker(bench: Bench, graph: str) -> None:
    deployment = bench.deploy(graph)
    prefill = next(service.name for service in deployment.graph.workers if service.role == "prefill")
    (log,) = bench.platform.logs(deployment, prefill)
    log.flush()
    assert b"request completed" in log.since()


def test_deployments_side_by_side_know_their_own_workers_only(bench: Bench) -> None:
    for deployment in (bench.deploy(), bench.deploy()):
        assert len(get_json(f"{deployment.url}/health", 10)["instances"]) == 2


def test_nothing_is_left_in_the_machines_temporary_directory(
    bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dynamo's logging leaves a file for each process (row 33)."""
    machines = tmp_path / "machine"
    machines.mkdir()
    monkeypatch.setenv("TMPDIR", str(machines))
    deployment = bench.deploy()
    assert list((tmp_path / "state" / "work").glob("*/tmp/*.json")), "there was nothing to leave"
    bench.platform.delete(deployment)
    assert list(machines.iterdir()) == []


def test_runs_that_share_a_home_have_work_directories_of_their_own(
    make_bench: Callable[..., Bench], case: tuple[str, DeploySettings], tmp_path: Path
) -> None:
    for bench in (make_bench(*case), make_bench(*case)):
        bench.deploy()
    assert len(list((tmp_path / "state" / "work").iterdir())) == 2


def test_replicas_do_not_inherit_ignored_signals(victim: Replica) -> None:
    status = Path(f"/proc/{leader_of(victim).pid}/status").read_text()
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    assert [n.name for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if ignored >> (n - 1) & 1] == []


def test_a_replica_shows_what_its_processes_were_told(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    platform = bench.platform
    assert isinstance(platform, LocalPlatform)
    leader, *_ = platform.inspect(victim)
    assert leader.name == str(victim.incarnation) == f"pid {leader_of(victim).pid}"
    assert leader.command[1:3] == ["-m", "DynamoFaultLibrary.engines.position"]
    url, *_ = platform.metrics_urls(deployment, deployment.graph.workers)
    assert url.startswith("http://")
    assert f":{leader.environment['DYN_SYSTEM_PORT']}/" in url


def test_the_leaders_end_is_the_replicas(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    again = bench.able(LocalPlatform).respawn(deployment, victim)
    assert not leader_of(victim).is_running
    assert leader_of(again).is_running
    assert "dynamo_frontend" in bench.platform.metrics(deployment, "Frontend")[0]["Frontend-0"]
    assert [replica.name for replica in bench.platform.replicas(deployment, WORKER)] == [f"{WORKER}-0", f"{WORKER}-1"]
