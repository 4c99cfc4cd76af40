"""A graph with what pods have, held against real processes: all of it is there, and all is gone at the end."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from contract_bench import kill

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph, Manifest
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.platforms.local.mounts import can_mount
from DynamoFaultLibrary.platforms.local.network import check_isolation
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.platforms.settings import DeploySettings, NetworkMode
from DynamoFaultLibrary.processes import ProcessId, marked_processes

pytestmark = pytest.mark.skipif(not can_mount(), reason="this user may not give processes mounts of their own")
MANIFEST = """
apiVersion: v1
kind: ConfigMap
metadata: {name: files}
data:
  SPEED: "20.0"
  run.sh: |
    #!/bin/sh
    exec python -m dynamo.mocker "$@"
---
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: shapes}
spec:
  env:
  - {name: HF_HOME, value: /model-cache}
  - {name: DYN_DISCOVERY_BACKEND, value: kubernetes}
  components:
  - name: Frontend
    type: frontend
    podTemplate:
      spec:
        containers: [{name: main, args: [-m, dynamo.frontend, --http-port, "8000", --migration-limit, "3"]}]
  - name: decode
    type: decode
    replicas: 2
    podTemplate:
      spec:
        initContainers:
        - name: prepare
          command: [sh, -c, "INIT"]
          volumeMounts: [{name: shared, mountPath: /shared}]
        volumes:
        - {name: config, configMap: {name: files, defaultMode: 0755}}
        - {name: shared, emptyDir: {}}
        - {name: cache, persistentVolumeClaim: {claimName: model-cache}}
        containers:
        - name: main
          workingDir: /no-config
          command: [bash, -lc]
          args:
          - >-
            echo "pod $POD pid $$ prepared $(cat /shared/prepared) by $(which python3)" > /model-cache/$POD;
            exec ./run.sh --model-path tiny-model --speedup-ratio $(SPEED)
          envFrom: [{configMapRef: {name: files}}, {secretRef: {name: hf-token-secret}}]
          env: [{name: POD, valueFrom: {fieldRef: {fieldPath: metadata.name}}}]
          volumeMounts:
          - {name: config, mountPath: /no-config}
          - {name: shared, mountPath: /shared}
          - {name: cache, mountPath: /model-cache}
        - name: watcher
          command: [sh, -c, "sleep 1000"]
  - name: Router
    type: worker
    podTemplate:
      spec:
        containers:
        - name: main
          command: [python3, -m, dynamo.router]
          args: [--endpoint, "$(DYN_NAMESPACE).backend.generate", --no-router-kv-events]
          readinessProbe: {httpGet: {path: /health, port: 9090}}
"""


@pytest.fixture
def platform(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[LocalPlatform]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    found = LocalPlatform(Ledger("pods", Owner(ProcessId.current())))
    yield found
    found.close()
    assert list((tmp_path / "state" / "work").iterdir()) == []
    assert not Path("/no-config").exists()


def graph(tmp_path: Path, init: str = "echo $((6 * 7)) > /shared/prepared") -> Graph:
    path = tmp_path / "shapes.yaml"
    path.write_text(MANIFEST.replace("INIT", init))
    return Manifest.load(path).graph()


@pytest.mark.parametrize("network", list(NetworkMode))
def test_a_graph_has_what_its_pods_would_have_and_survives_a_killed_worker(
    platform: LocalPlatform, tmp_path: Path, network: NetworkMode
) -> None:
    if network is NetworkMode.ISOLATED:
        check_isolation()
    mounts = Path("/proc/self/mounts").read_text()
    settings = DeploySettings(network=network)
    planned = platform.plan(graph(tmp_path), settings)
    deployment = platform.deploy(graph(tmp_path), settings, tmp_path / "results")
    assert [process.name for process in deployment.plan.processes] == [process.name for process in planned.processes]
    assert deployment.plan.overridden == planned.overridden
    assert deployment.plan.missing == planned.missing
    (work,) = (tmp_path / "state" / "work").iterdir()
    notes = {path.name: path.read_text() for path in (work / "claims" / "model-cache").iterdir()}
    assert sorted(notes) == [f"{deployment.name}-decode-{index}" for index in range(2)]
    for pod, note in notes.items():
        assert note.startswith(f"pod {pod} pid ")
        assert note.endswith(f" prepared 42 by {work}/bin/python3\n")
    body = {"model": deployment.model, "prompt": "one two", "max_tokens": 3}
    victim, _ = platform.replicas(deployment, "decode")
    kill(platform, deployment, victim)
    platform.respawn(deployment, victim)
    platform.wait_ready(deployment, timedelta(seconds=60))
    assert httpx.post(f"{deployment.url}/v1/completions", json=body).status_code == 200
    assert Path("/proc/self/mounts").read_text() == mounts
    logs = sorted(path.name for path in (tmp_path / "results" / "decode").iterdir())
    containers = ("", ".prepare", ".watcher")
    assert logs == sorted(f"decode-{index}{container}.log" for index in range(2) for container in containers)
    platform.delete(deployment)
    keys = [f"{deployment.name}/decode-{index}{container}" for index in range(2) for container in containers]
    assert [marked_processes(DEPLOYMENT_VARIABLE, key) for key in keys] == [[]] * 6


def test_an_init_container_that_fails_is_told_with_the_end_of_its_log(platform: LocalPlatform, tmp_path: Path) -> None:
    with pytest.raises(DeploymentError) as raised:
        platform.deploy(graph(tmp_path, "echo no model for you; exit 3"), DeploySettings(), tmp_path / "results")
    lines = str(raised.value).splitlines()
    assert lines[0].startswith("init container 'prepare' of service 'decode' ended with exit status 3; end of its log ")
    assert lines[1:] == ["no model for you"]


@pytest.mark.parametrize("option", ["--migration-limit", "--speedup-ratio"])
def test_an_option_that_a_process_does_not_have_fails_at_once(
    platform: LocalPlatform, tmp_path: Path, option: str
) -> None:
    text = MANIFEST.replace("INIT", "echo 1 > /shared/prepared").replace(option, f"{option}-that-is-none")
    path = tmp_path / "wrong.yaml"
    path.write_text(text)
    with pytest.raises(DeploymentError, match=rf"(?i)(unknown|unrecognized) arguments.*{option}-that-is-none"):
        platform.deploy(Manifest.load(path).graph(), DeploySettings(), tmp_path / "results")


DEPLOYING = """
import os, signal, sys
from pathlib import Path
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.processes import ProcessId
platform = LocalPlatform(Ledger("killed", Owner(ProcessId.current())))
platform.deploy(Manifest.load(Path(sys.argv[1])).graph(), DeploySettings(), Path(sys.argv[2]))
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_nothing_is_left_when_the_run_is_killed(tmp_path: Path) -> None:
    graph(tmp_path)
    state = tmp_path / "state"
    environment = {**os.environ, "DYNAMO_FAULT_STATE": str(state)}
    arguments = [str(tmp_path / "shapes.yaml"), str(tmp_path / "results")]
    done = subprocess.run([sys.executable, "-c", DEPLOYING, *arguments], env=environment, check=False)
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "results" / "decode" / "decode-1.log").exists()

    def is_clean() -> bool:
        return list((state / "work").iterdir()) == []

    assert wait_until(is_clean, timedelta(seconds=30))
    assert str(state) not in Path("/proc/self/mounts").read_text()
