"""What every platform must do, held against real processes. Another platform joins by a line in `PLATFORMS`."""

import signal
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import httpx
import pytest

from DynamoFaultLibrary.clock import utc_now, wait_until
from DynamoFaultLibrary.errors import DeploymentError, Unready, Unsupported
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.ledger import Ledger, Owner, read_ledger
from DynamoFaultLibrary.platforms.base import Deployment, Replacing, Signalling, require
from DynamoFaultLibrary.platforms.local.network import check_isolation
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.running import Inspecting
from DynamoFaultLibrary.platforms.settings import DeploySettings, Discovery, EventPlane, NetworkMode, RequestPlane
from DynamoFaultLibrary.processes import ProcessId

SECONDS = timedelta(seconds=10)
WORKER = "PositionWorker"
VARIANTS = {
    "file+tcp": DeploySettings(),
    "file+nats": DeploySettings(request_plane=RequestPlane.NATS, event_plane=EventPlane.NATS),
    "etcd1+tcp": DeploySettings(discovery=Discovery.ETCD),
    "etcd3+nats": DeploySettings(discovery=Discovery.ETCD, etcd_members=3, request_plane=RequestPlane.NATS),
}
NETWORKS = list(NetworkMode)
"""A platform does the same whatever its network; isolated ones are skipped where they are not allowed."""


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPlatform]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    found = LocalPlatform(Ledger("contract", Owner(ProcessId.current())))
    yield found
    found.close()
    ledger = read_ledger(tmp_path / "state" / "runs" / "contract.jsonl")
    assert ledger.open_entries == []
    assert list((tmp_path / "state" / "work").iterdir()) == []


@pytest.fixture(params=NETWORKS)
def network(request: pytest.FixtureRequest) -> NetworkMode:
    mode: NetworkMode = request.param
    if mode is NetworkMode.ISOLATED:
        try:
            check_isolation()
        except Unsupported as reason:
            pytest.skip(str(reason))
    return mode


@pytest.fixture
def deployment(platform: LocalPlatform, tmp_path: Path, network: NetworkMode) -> Deployment:
    return deploy(platform, tmp_path, DeploySettings(network=network))


def deploy(platform: LocalPlatform, tmp_path: Path, settings: DeploySettings) -> Deployment:
    return platform.deploy(Manifest.load(find_graph("position-agg.yaml")).graph(), settings, tmp_path / "results")


@pytest.mark.parametrize("variant", VARIANTS)
def test_a_ready_deployment_answers_and_a_deleted_one_is_gone(
    platform: LocalPlatform, tmp_path: Path, variant: str, network: NetworkMode
) -> None:
    deployment = deploy(platform, tmp_path, replace(VARIANTS[variant], network=network))
    services = [*deployment.graph.services, *deployment.infrastructure]
    processes = [replica.process for service in services for replica in platform.replicas(deployment, service)]
    body = {"model": deployment.model, "prompt": "one two", "max_tokens": 3}
    answer = httpx.post(f"{deployment.url}/v1/completions", json=body)
    assert answer.json()["choices"][0]["text"] == "12 13 14"
    platform.delete(deployment)
    assert [process.pid for process in processes if process.is_running] == []
    with pytest.raises(httpx.HTTPError):  # no connection; or a stranger's answer, from beyond this machine
        httpx.get(f"{deployment.url}/health", timeout=2).raise_for_status()


@pytest.mark.parametrize("graph", ["mocker-vllm-disagg.yaml", "mocker-sglang-disagg.yaml", "mocker-trtllm-disagg.yaml"])
def test_disaggregated_graphs_use_their_prefill_worker(
    platform: LocalPlatform, tmp_path: Path, graph: str, network: NetworkMode
) -> None:
    settings = DeploySettings(network=network)
    deployment = platform.deploy(Manifest.load(find_graph(graph)).graph(), settings, tmp_path / "results")
    prefill = next(service.name for service in deployment.graph.workers if service.role == "prefill")
    (log,) = platform.logs(deployment, prefill)
    log.flush()
    assert b"request completed" in log.since()


def test_two_deployments_live_side_by_side(platform: LocalPlatform, tmp_path: Path, network: NetworkMode) -> None:
    first = deploy(platform, tmp_path / "1", DeploySettings(network=network))
    second = deploy(platform, tmp_path / "2", DeploySettings(network=network))
    assert first.url != second.url
    for deployment in (first, second):
        instances = httpx.get(f"{deployment.url}/health").json()["instances"]
        assert len(instances) == 2


def test_nothing_is_left_in_the_machines_temporary_directory(
    platform: LocalPlatform, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Dynamo's logging leaves a file for each process (row 33)."""
    machines = tmp_path / "machine"
    machines.mkdir()
    monkeypatch.setenv("TMPDIR", str(machines))
    deployment = deploy(platform, tmp_path, DeploySettings())
    assert list((tmp_path / "state" / "work").glob("*/tmp/*.json")), "there was nothing to leave"
    platform.delete(deployment)
    assert list(machines.iterdir()) == []


def test_runs_that_share_a_home_do_not_share_names(platform: LocalPlatform, tmp_path: Path) -> None:
    """Names were made of pids, which two containers have in common (row 27)."""
    mine = deploy(platform, tmp_path / "1", DeploySettings())
    other = LocalPlatform(Ledger("other", Owner(ProcessId.current())))
    try:
        theirs = deploy(other, tmp_path / "2", DeploySettings())
        assert mine.name != theirs.name
        assert len(list((tmp_path / "state" / "work").iterdir())) == 2
    finally:
        other.close()
    assert httpx.get(f"{mine.url}/health").is_success


def test_a_replica_that_has_ended_is_told_with_its_end(platform: LocalPlatform, deployment: Deployment) -> None:
    assert platform.ended(deployment) == []
    url = deployment.url
    victim = platform.replicas(deployment, "Frontend")[0]
    platform.send(victim, [victim.process], signal.SIGKILL)
    assert platform.wait_exit(victim, SECONDS) is not None
    (end,) = platform.ended(deployment)
    assert (end.replica, end.exit.signal, str(end)) == (victim, signal.SIGKILL, "Frontend-0 was killed by SIGKILL")
    with pytest.raises(Unready, match=r"was not ready within 0\.2 s; .*; Frontend-0 was killed by SIGKILL, .* ago"):
        platform.wait_ready(deployment, timedelta(seconds=0.2))
    platform.respawn(deployment, victim)
    assert platform.ended(deployment) == []
    platform.wait_ready(deployment, timedelta(seconds=60))
    assert deployment.url == url
    assert httpx.get(f"{url}/health").is_success


def test_replicas_have_indices_logs_and_metrics(platform: LocalPlatform, deployment: Deployment) -> None:
    replicas = platform.replicas(deployment, WORKER)
    assert [replica.index for replica in replicas] == [0, 1]
    logs = platform.logs(deployment, WORKER)
    assert [(replica.log, replica.name) for replica in replicas] == [(log, log.replica) for log in logs]
    assert all(0 < log.mark() <= len(log.since()) for log in logs)
    texts, problems = platform.metrics(deployment, WORKER, "Frontend")
    assert set(texts) == {f"{WORKER}-0", f"{WORKER}-1", "Frontend-0"}
    assert "dynamo_frontend" in texts["Frontend-0"]
    assert problems == []


def test_an_unknown_service_is_named_with_those_that_exist(platform: LocalPlatform, deployment: Deployment) -> None:
    with pytest.raises(DeploymentError, match=r"no service 'Nobody'; it has \['PositionWorker', 'Frontend'\]"):
        platform.replicas(deployment, "Nobody")


def test_a_killed_replica_is_reported_with_its_signal_and_respawns_as_another_process(
    platform: LocalPlatform, deployment: Deployment
) -> None:
    assert isinstance(platform, Signalling)
    assert isinstance(platform, Replacing)
    victim = platform.replicas(deployment, WORKER)[0]
    platform.send(victim, platform.processes(victim), signal.SIGKILL)
    ended = platform.wait_exit(victim, SECONDS)
    assert ended is not None
    assert (ended.signal, ended.how) == (signal.SIGKILL, "killed by SIGKILL")
    assert [replica.index for replica in platform.replicas(deployment, WORKER)] == [1]
    again = platform.respawn(deployment, victim)
    assert again.process != victim.process
    assert (again.index, again.generation) == (0, 1)
    platform.wait_ready(deployment, timedelta(seconds=30))
    assert len(platform.replicas(deployment, WORKER)) == 2


def test_replicas_do_not_inherit_ignored_signals(platform: LocalPlatform, deployment: Deployment) -> None:
    replica = platform.replicas(deployment, WORKER)[0]
    status = Path(f"/proc/{replica.process.pid}/status").read_text()
    ignored = int(next(line for line in status.splitlines() if line.startswith("SigIgn")).split()[1], 16)
    assert [n.name for n in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if ignored >> (n - 1) & 1] == []


def test_waiting_for_the_end_of_a_living_replica_gives_up(platform: LocalPlatform, deployment: Deployment) -> None:
    replica = platform.replicas(deployment, WORKER)[0]
    assert platform.wait_exit(replica, timedelta(milliseconds=50)) is None


def test_respawning_twice_starts_one_new_process(platform: LocalPlatform, deployment: Deployment) -> None:
    replica = platform.replicas(deployment, WORKER)[0]
    again = platform.respawn(deployment, replica)
    assert again.process != replica.process
    assert not replica.process.is_running
    assert platform.respawn(deployment, replica).process == again.process


def test_a_signal_tells_whom_it_reached(platform: LocalPlatform, deployment: Deployment) -> None:
    replica = platform.replicas(deployment, WORKER)[0]
    assert platform.send(replica, [replica.process], signal.SIGKILL) == [replica.process]
    assert platform.wait_exit(replica, SECONDS) is not None
    assert platform.send(replica, [replica.process], signal.SIGKILL) == []


def test_a_guarded_stall_ends_at_its_expiry(platform: LocalPlatform, deployment: Deployment) -> None:
    replica = platform.replicas(deployment, WORKER)[0]
    recipe = {"action": "continue", "processes": [replica.process.to_json()]}
    entry = platform.ledger.intend("Stall Process", {}, recipe, expires_at=utc_now() + timedelta(seconds=0.3))
    platform.guard(entry)
    platform.send(replica, [replica.process], signal.SIGSTOP)
    assert wait_until(lambda: replica.process.state == "T", 1.0)
    assert wait_until(lambda: replica.process.state != "T", 2.0)
    view = read_ledger(platform.ledger.path)
    assert wait_until(lambda: not read_ledger(view.path).entries[entry.id].state.is_open, 2.0)
    assert "its time was over" in read_ledger(view.path).entries[entry.id].detail


def test_a_replica_shows_what_its_processes_were_told(platform: LocalPlatform, deployment: Deployment) -> None:
    (replica, *_) = platform.replicas(deployment, WORKER)
    leader, *_ = require(platform, Inspecting).inspect(replica)
    assert leader.pid == replica.process.pid
    assert leader.command[1:3] == ["-m", "DynamoFaultLibrary.engines.position"]
    url = platform.metrics_urls(deployment, deployment.graph.workers)[0]
    assert leader.environment["DYN_SYSTEM_PORT"] == str(httpx.URL(url).port)
