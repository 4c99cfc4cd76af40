"""What becomes of a deployment whose processes end at the wrong moment, and of pods that wait for each other."""

import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from contract_bench import kill

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.platforms.local.mounts import can_mount
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.processes import ProcessId

POSITION = "python3 -m DynamoFaultLibrary.engines.position --model-path tiny-model"
FRONTEND = {"name": "Frontend", "type": "frontend"}
SHORT = DeploySettings(timeout=timedelta(seconds=60))


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPlatform]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    found = LocalPlatform(Ledger("pods", Owner(ProcessId.current())))
    yield found
    found.close()
    assert list((tmp_path / "state" / "work").iterdir()) == []


def worker(
    script: str, *sidecars: dict[str, Any], name: str = "Worker", kind: str = "worker", **pod: Any
) -> dict[str, Any]:
    main = {"name": "main", "command": ["sh", "-c"], "args": [script], **pod.pop("main", {})}
    return {"name": name, "type": kind, "podTemplate": {"spec": {"containers": [main, *sidecars], **pod}}}


def graph(*components: dict[str, Any], **spec: Any) -> Graph:
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "life"},
        "spec": {"components": [FRONTEND, *components], **spec},
    }
    return Graph(document, "life.yaml")


def test_a_worker_that_ends_while_others_prepare_fails_the_deployment(platform: LocalPlatform, tmp_path: Path) -> None:
    """It counted as one that was killed before: with another worker the graph was ready without it."""
    dead = worker("echo no such engine; exit 5", name="Dead")
    prepared = worker(f"exec {POSITION}", initContainers=[{"name": "slow", "command": ["sleep", "1"]}])
    with pytest.raises(DeploymentError, match=r"(?s)^Dead-0 ended with exit status 5 before .*no such engine$"):
        platform.deploy(graph(dead, prepared), SHORT, tmp_path / "results")


def test_pods_do_not_wait_for_each_others_init_containers(platform: LocalPlatform, tmp_path: Path) -> None:
    """Each waits for what the other one does: started in turn, they wait for ever."""
    waits = f"touch {tmp_path}/$ME; until test -e {tmp_path}/$OTHER; do sleep 0.05; done"
    pods = [
        worker(
            f"exec {POSITION}",
            name=f"Worker{me}",
            initContainers=[
                {
                    "name": "meet",
                    "command": ["sh", "-c", waits],
                    "env": [{"name": "ME", "value": me}, {"name": "OTHER", "value": other}],
                }
            ],
        )
        for me, other in ("ab", "ba")
    ]
    deployment = platform.deploy(graph(*pods), SHORT, tmp_path / "results")
    platform.delete(deployment)


def test_init_containers_of_a_pod_keep_their_order(platform: LocalPlatform, tmp_path: Path) -> None:
    note = f"echo $WHO >> {tmp_path}/order"
    inits = [
        {"name": f"init{who}", "command": ["sh", "-c", f"sleep 0.2; {note}"], "env": [{"name": "WHO", "value": who}]}
        for who in "ab"
    ]
    main = worker(f"echo main >> {tmp_path}/order; exec {POSITION}", initContainers=inits)
    platform.delete(platform.deploy(graph(main), SHORT, tmp_path / "results"))
    assert (tmp_path / "order").read_text().split() == ["a", "b", "main"]


def test_a_graph_that_is_not_ready_tells_of_its_ended_sidecars(platform: LocalPlatform, tmp_path: Path) -> None:
    sidecar = {"name": "cache", "command": ["sh", "-c", "exit 7"]}
    waiting = worker("while :; do sleep 1; done", sidecar)
    settings = DeploySettings(timeout=timedelta(seconds=3))
    with pytest.raises(DeploymentError, match=r"; sidecar cache of Worker: it ended with exit status 7, see /"):
        platform.deploy(graph(waiting), settings, tmp_path / "results")


def test_the_probe_of_a_replica_that_ended_is_not_asked(platform: LocalPlatform, tmp_path: Path) -> None:
    """`wait_ready` leaves out what has ended; it waited for its probe all the same."""
    up = tmp_path / "up"
    probed = worker(
        f"touch {up}; sleep 1000",
        name="Other",
        kind="other",
        main={"readinessProbe": {"exec": {"command": ["test", "-e", str(up)]}}},
    )
    deployment = platform.deploy(graph(worker(f"exec {POSITION}"), probed), SHORT, tmp_path / "results")
    (replica,) = platform.replicas(deployment, "Other")
    kill(platform, deployment, replica)
    up.unlink()
    platform.wait_ready(deployment, timedelta(seconds=20))


def test_a_probe_that_never_succeeds_is_told_with_what_it_saw(platform: LocalPlatform, tmp_path: Path) -> None:
    probed = worker("sleep 1000", name="Other", kind="other", main={"readinessProbe": {"exec": {"command": ["false"]}}})
    settings = DeploySettings(timeout=timedelta(seconds=8))
    with pytest.raises(DeploymentError, match=r"'Other', false did not succeed within 8 s; last seen: exit status 1$"):
        platform.deploy(graph(worker(f"exec {POSITION}"), probed), settings, tmp_path / "results")


@pytest.mark.skipif(not can_mount(), reason="this user may not give processes mounts of their own")
@pytest.mark.parametrize("is_sidecar", [False, True])
def test_a_program_that_its_volume_does_not_have_is_told_by_replica(
    platform: LocalPlatform, tmp_path: Path, is_sidecar: bool
) -> None:
    container = {"command": ["/odd-place/run"], "volumeMounts": [{"name": "v", "mountPath": "/odd-place"}]}
    sidecars = [{"name": "side", **container}] if is_sidecar else []
    main = {} if is_sidecar else {**container, "args": []}
    made = graph(worker(f"exec {POSITION}", *sidecars, main=main, volumes=[{"name": "v", "emptyDir": {}}]))
    whose = r"Worker-0\.side" if is_sidecar else "Worker-0"
    with pytest.raises(DeploymentError, match=rf"^'{whose}' cannot be started as '/odd-place/run': .*No such file"):
        platform.deploy(made, SHORT, tmp_path / "results")


DEPLOYING = """
import sys
from pathlib import Path
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.processes import ProcessId
platform = LocalPlatform(Ledger("killed", Owner(ProcessId.current())))
platform.deploy(Manifest.load(Path(sys.argv[1])).graph(), DeploySettings(), Path(sys.argv[2]))
"""


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_nothing_is_left_of_an_init_container_when_the_run_ends(
    number: signal.Signals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    script = f"echo $$$$ > {tmp_path}/pid; sleep 1000"
    made = graph(worker(f"exec {POSITION}", initContainers=[{"name": "slow", "command": ["sh", "-c", script]}]))
    path = tmp_path / "life.yaml"
    path.write_text(yaml.safe_dump(made.document))
    arguments = [sys.executable, "-c", DEPLOYING, str(path), str(tmp_path / "results")]
    pid = tmp_path / "pid"
    with subprocess.Popen(arguments, stderr=subprocess.DEVNULL) as run:
        assert wait_until(lambda: pid.exists() and pid.read_text() != "", timedelta(seconds=30))
        init = ProcessId.of(int(pid.read_text()))
        assert init is not None
        assert init.is_running
        run.send_signal(number)
    assert wait_until(lambda: not init.is_running, timedelta(seconds=30))
    assert wait_until(lambda: list((tmp_path / "state" / "work").iterdir()) == [], timedelta(seconds=30))
