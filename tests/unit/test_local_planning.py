"""What platform `local` would start for a graph, what it sets otherwise, and what it does without."""

import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unsupported
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.graph.edits import Edits
from DynamoFaultLibrary.platforms.base import Remark
from DynamoFaultLibrary.platforms.local import commands, fitting, planes
from DynamoFaultLibrary.platforms.local.fitting import instances_of
from DynamoFaultLibrary.platforms.local.places import Names
from DynamoFaultLibrary.platforms.local.planning import Drawing, Start, draw
from DynamoFaultLibrary.platforms.local.volumes import File, Tree
from DynamoFaultLibrary.platforms.settings import DeploySettings, Discovery

FRONTEND: dict[str, Any] = {"name": "Frontend", "type": "frontend"}
MOCKER = ["python3", "-m", "dynamo.mocker", "--model-path", "tiny-model"]
STAY = "this machine's own stays there"


def component(
    name: str, kind: str, command: list[str], pod: dict[str, Any] | None = None, **main: Any
) -> dict[str, Any]:
    containers = [{"name": "main", "command": command, **main}, *((pod or {}).pop("sidecars", []))]
    return {"name": name, "type": kind, "podTemplate": {"spec": {"containers": containers, **(pod or {})}}}


def worker(command: list[str] = MOCKER, pod: dict[str, Any] | None = None, **main: Any) -> dict[str, Any]:
    return component("Worker", "worker", command, pod, **main)


def graph_of(*components: dict[str, Any], companions: str = "[]", **spec: Any) -> Graph:
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg"},
        "spec": {"components": list(components), **spec},
    }
    return Graph(document, "graph.yaml", yaml.safe_load(companions))


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("HF_HOME", "HF_TOKEN", "DYNAMO_PYTHON"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    for user in (commands, fitting):  # a machine that has Dynamo, and nothing of what its engines need
        monkeypatch.setattr(
            user, "missing_modules", lambda _, modules: [one for one in modules if one != "dynamo._core"]
        )
    return tmp_path / "state"


def drawn(*components: dict[str, Any], settings: DeploySettings | None = None, **graph: Any) -> Drawing:
    made = graph_of(*components, **graph)
    return draw(made, settings or DeploySettings(), Names(made.name), sys.executable)


def starts(drawing: Drawing) -> dict[str, Start]:
    return {start.name: start for start in drawing.starts}


def problem(drawing: Drawing) -> FaultLibraryError:
    with pytest.raises(FaultLibraryError) as raised:
        drawing.findings.raise_first()
    return raised.value


def test_a_plan_names_each_process_and_leaves_nothing_behind(state: Path) -> None:
    plan = drawn(FRONTEND, {**worker(env=[{"name": "A", "value": "$(POD_NAME)"}]), "replicas": 2}).plan()
    assert [(one.name, one.command, one.directory, one.environment) for one in plan.processes] == [
        (
            f"Worker-{index}",
            f"{sys.executable} -m dynamo.mocker --model-path {state}/models/tiny-model",
            "<work>",
            {"A": f"agg-worker-{index}"},
        )
        for index in range(2)
    ] + [("Frontend-0", f"{sys.executable} -m dynamo.frontend", "<work>", {})]
    assert (plan.overridden, plan.missing) == ([], [])
    assert not state.exists()


def test_what_the_platform_decides_wins_over_the_graph_and_is_told() -> None:
    env = [
        {"name": "HF_HOME", "value": "/no/such/model-cache"},
        {"name": "HOME", "value": "/root"},
        {"name": "DYN_DISCOVERY_BACKEND", "value": "kubernetes"},
        {"name": "NATS_SERVER", "value": "nats://nats:4222"},
        {"name": "DYN_SYSTEM_PORT", "value": "9090"},
        {"name": "DYN_LOG", "value": "debug"},
    ]
    options = ["--request-plane", "nats", "--speedup-ratio", "10"]
    frontend = component(
        "Frontend", "frontend", ["sh", "-c", "exec python3 -m dynamo.frontend --http-port 8000 --router-mode kv"]
    )
    drawing = drawn(frontend, worker([*MOCKER, *options], env=env))
    found = starts(drawing)
    environment = found["Worker-0"].environment
    assert environment["HOME"] == "<work>/home"
    assert environment["HF_HOME"] == str(Path.home() / ".cache" / "huggingface")
    assert (environment["DYN_DISCOVERY_BACKEND"], environment["DYN_SYSTEM_PORT"]) == ("file", "<port>")
    assert "NATS_SERVER" not in environment
    assert found["Worker-0"].own == {"DYN_SYSTEM_PORT": "<port>", "DYN_LOG": "debug"}
    assert found["Worker-0"].argv[-4:] == ["--request-plane", "tcp", "--speedup-ratio", "10"]
    assert found["Frontend-0"].argv == ["sh", "-c", "exec python3 -m dynamo.frontend --router-mode kv"]
    assert [(remark.service, remark.what) for remark in drawing.findings.overridden] == [
        ("Worker", "--request-plane nats"),
        ("Frontend", "--http-port 8000"),
        ("Worker", "DYN_SYSTEM_PORT=9090"),
        ("Worker", "HF_HOME=/no/such/model-cache"),
        ("Worker", "HOME=/root"),
        ("Worker", "DYN_DISCOVERY_BACKEND=kubernetes"),
        ("Worker", "NATS_SERVER=nats://nats:4222"),
    ]


def test_what_an_edit_sets_on_purpose_stays() -> None:
    env = [{"name": "HF_HOME", "value": "/data/hf"}, {"name": "HOME", "value": "/home/me"}]
    settings = DeploySettings(edits=Edits(env={"HF_HOME": "/data/hf", "HOME": "/home/me"}))
    drawing = drawn(FRONTEND, worker(env=env), settings=settings)
    environment = starts(drawing)["Worker-0"].environment
    assert (environment["HF_HOME"], environment["HOME"]) == ("/data/hf", "/home/me")
    assert drawing.findings.overridden == []


def test_a_cache_that_is_there_is_the_graphs(tmp_path: Path) -> None:
    drawing = drawn(FRONTEND, worker(env=[{"name": "HF_HOME", "value": str(tmp_path)}]))
    assert starts(drawing)["Worker-0"].environment["HF_HOME"] == str(tmp_path)


def test_secrets_that_are_not_there_do_not_stop_a_graph(monkeypatch: pytest.MonkeyPatch) -> None:
    token = {"name": "HF_TOKEN", "valueFrom": {"secretKeyRef": {"name": "hf", "key": "HF_TOKEN"}}}
    made = worker(
        ["sh", "-c", f"echo $HF_TOKEN; {' '.join(MOCKER)}"], env=[token], envFrom=[{"secretRef": {"name": "s"}}]
    )
    drawing = drawn(FRONTEND, made)
    drawing.findings.raise_first()
    assert "HF_TOKEN" not in starts(drawing)["Worker-0"].environment
    why = "Secret 'hf' is not in the graph's file (key 'HF_TOKEN'); "
    assert drawing.findings.missing == [
        Remark("Worker", "envFrom s", "Secret 's' is not in the graph's file; left unset"),
        Remark("Worker", "HF_TOKEN", f"{why}left unset"),
    ]
    monkeypatch.setenv("HF_TOKEN", "mine")
    drawing = drawn(FRONTEND, made)
    assert starts(drawing)["Worker-0"].environment["HF_TOKEN"] == "mine"  # noqa: S105
    assert drawing.findings.missing[1].why == f"{why}this machine's own is used"


def test_a_plan_keeps_secrets_to_itself() -> None:
    env = [
        {"name": "TOKEN", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "token"}}},
        {"name": "URL", "value": "https://$(TOKEN)@host"},
        {"name": "OPEN", "value": "yes"},
    ]
    drawing = drawn(FRONTEND, worker([*MOCKER, "--model-name", "$(TOKEN)"], env=env), companions=CONFIG)
    assert starts(drawing)["Worker-0"].argv[-1] == "abc"
    assert drawing.plan().processes[0].command.endswith(" --model-name '(secret)'")
    assert starts(drawing)["Worker-0"].environment["URL"] == "https://abc@host"
    assert drawing.plan().processes[0].environment == {"TOKEN": "(secret)", "URL": "(secret)", "OPEN": "yes"}


def test_a_secret_that_a_command_needs_is_asked_for() -> None:
    token = {"name": "KEY", "valueFrom": {"secretKeyRef": {"name": "keys", "key": "k"}}}
    error = problem(drawn(FRONTEND, worker([*MOCKER, "--model-name", "$(KEY)"], env=[token])))
    assert isinstance(error, DeploymentError)
    assert str(error) == (
        "service 'Worker' uses $(KEY) in its command, but Secret 'keys' is not in the graph's file (key 'k'); "
        "give it with env={KEY: …}"
    )


def test_a_variable_that_a_missing_secret_may_set_is_asked_for() -> None:
    made = worker([*MOCKER, "--model-name", "$(NAME)"], envFrom=[{"secretRef": {"name": "keys"}}])
    assert str(problem(drawn(FRONTEND, made))) == (
        "service 'Worker' uses $(NAME) in its command, but nothing here sets it, and Secret 'keys' is not in the "
        "graph's file; give it with env={NAME: …}"
    )
    script = ["sh", "-c", f"echo $(NAME); exec {' '.join(MOCKER)}"]  # there it is a command
    drawn(FRONTEND, worker(script, envFrom=[{"secretRef": {"name": "keys"}}])).findings.raise_first()


def test_a_model_that_has_to_be_fetched_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HF_HOME", str(tmp_path))
    made = worker([*MOCKER[:-1], "Qwen/Qwen3-0.6B"])
    (told,) = drawn(FRONTEND, made).findings.missing
    assert told == Remark(
        "Worker",
        "model Qwen/Qwen3-0.6B",
        f"it is not in the cache {tmp_path}/hub and has to be fetched; model=tiny-model needs no network",
    )
    (tmp_path / "hub" / "models--Qwen--Qwen3-0.6B").mkdir(parents=True)
    assert drawn(FRONTEND, made).findings.missing == []


CONFIG = """
- {apiVersion: v1, kind: ConfigMap, metadata: {name: files}, data: {a.yaml: "a: 1", b.sh: "echo b"}}
- {apiVersion: v1, kind: Secret, metadata: {name: keys}, stringData: {token: abc}}
"""


def test_volumes_are_files_and_directories_below_the_work_directory() -> None:
    volumes = [
        {"name": "files", "configMap": {"name": "files", "items": [{"key": "b.sh", "path": "x/b.sh", "mode": 0o755}]}},
        {"name": "all", "projected": {"sources": [{"configMap": {"name": "files"}}, {"secret": {"name": "keys"}}]}},
        {"name": "info", "downwardAPI": {"items": [{"path": "name", "fieldRef": {"fieldPath": "metadata.name"}}]}},
        {"name": "scratch", "emptyDir": {"medium": "Memory"}},
        {"name": "cache", "persistentVolumeClaim": {"claimName": "model-cache"}},
        {"name": "host", "hostPath": {"path": "/data"}},
        {"name": "none", "configMap": {"name": "none"}},
    ]
    mounts = [
        {"name": "files", "mountPath": "/no-config"},
        {"name": "all", "mountPath": "/no-one/a.yaml", "subPath": "a.yaml"},
        {"name": "info", "mountPath": "/no-info"},
        {"name": "scratch", "mountPath": "/no-scratch"},
        {"name": "cache", "mountPath": "/no-cache", "subPath": "deep"},
        {"name": "host", "mountPath": "/no-host"},
        {"name": "none", "mountPath": "/no-none"},
    ]
    drawing = drawn(FRONTEND, worker(pod={"volumes": volumes}, volumeMounts=mounts), companions=CONFIG)
    pod = Path("<work>/volumes/agg-worker-0")
    assert starts(drawing)["Worker-0"].mounts == [
        [f"{pod}/files", "/no-config"],
        [f"{pod}/all/a.yaml", "/no-one/a.yaml"],
        [f"{pod}/info", "/no-info"],
        [f"{pod}/scratch", "/no-scratch"],
        ["<work>/claims/model-cache/deep", "/no-cache"],
        [f"{pod}/host", "/no-host"],
        [f"{pod}/none", "/no-none"],
    ]
    assert {str(path.relative_to(pod)): (file.text, file.mode) for path, file in drawing.tree.files.items()} == {
        "files/x/b.sh": ("echo b", 0o755),
        "all/a.yaml": ("a: 1", 0o644),
        "all/b.sh": ("echo b", 0o644),
        "all/token": ("abc", 0o644),
        "info/name": ("agg-worker-0", 0o644),
    }
    assert Path("<work>/claims/model-cache/deep") in drawing.tree.directories
    assert [(remark.what, remark.why) for remark in drawing.findings.missing] == [
        ("PVC model-cache", "an empty directory of the deployment's own"),
        ("hostPath /data", "an empty directory of the deployment's own"),
        ("ConfigMap none", "it is not in the graph's file: an empty directory"),
    ]


def test_a_tree_is_written(tmp_path: Path) -> None:
    volumes = [
        {"name": "files", "configMap": {"name": "files", "defaultMode": 0o500}},
        {"name": "empty", "emptyDir": {}},
    ]
    mounts = [{"name": "files", "mountPath": "/no-config"}, {"name": "empty", "mountPath": "/no-empty"}]
    made = graph_of(FRONTEND, worker(pod={"volumes": volumes}, volumeMounts=mounts), companions=CONFIG)
    drawing = draw(made, DeploySettings(), Names("agg", tmp_path), sys.executable)
    drawing.tree.write()
    pod = tmp_path / "volumes" / "agg-worker-0"
    assert (pod / "files" / "b.sh").read_text() == "echo b"
    assert (pod / "files" / "b.sh").stat().st_mode & 0o777 == 0o500
    assert list((pod / "empty").iterdir()) == []


def test_what_this_machine_has_at_a_mount_point_is_not_covered(tmp_path: Path) -> None:
    volumes = [
        {"name": "shm", "emptyDir": {"medium": "Memory"}},
        {"name": "tmp", "emptyDir": {}},
        {"name": "nvidia", "hostPath": {"path": "/usr/local/nvidia"}},
        {"name": "models", "persistentVolumeClaim": {"claimName": "models"}},
    ]
    places = {"shm": "/dev/shm", "tmp": "/tmp", "nvidia": "/usr/local/nvidia", "models": "/opt"}  # noqa: S108
    mounts = [{"name": name, "mountPath": place} for name, place in places.items()]
    drawing = drawn(FRONTEND, worker(pod={"volumes": volumes}, volumeMounts=mounts))
    assert starts(drawing)["Worker-0"].mounts == []
    assert [(remark.what, remark.why) for remark in drawing.findings.missing] == [
        ("volume nvidia at /usr/local/nvidia", STAY),
        ("PVC models", "this machine's own /opt stands for it"),
    ]


def test_claims_of_v1alpha1_are_mounted_too() -> None:
    pod = {"mainContainer": {"command": MOCKER}}
    mounts = [{"name": "cache", "mountPoint": "/no-cache"}]
    services = {
        "Frontend": {"componentType": "frontend"},
        "Worker": {"componentType": "worker", "extraPodSpec": pod, "volumeMounts": mounts},
    }
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg"},
        "spec": {"services": services, "pvcs": [{"name": "cache"}]},
    }
    drawing = draw(Graph(document, "graph.yaml"), DeploySettings(), Names("agg"), sys.executable)
    assert starts(drawing)["Worker-0"].mounts == [["<work>/claims/cache", "/no-cache"]]


@pytest.mark.parametrize(
    ("directory", "used", "told"),
    [
        ("/", "/", []),
        ("/workspace-that-is-not-here", "<work>", ["workingDir /workspace-that-is-not-here"]),
        ("/no-scratch", "/no-scratch", []),
        ("/no-scratch/sub", "/no-scratch/sub", []),
        (None, "<work>", []),
    ],
)
def test_the_working_directory_is_used_where_it_is(directory: str | None, used: str, told: list[str]) -> None:
    pod = {"volumes": [{"name": "scratch", "emptyDir": {}}]}
    mounts = [{"name": "scratch", "mountPath": "/no-scratch"}]
    drawing = drawn(FRONTEND, worker(pod=pod, volumeMounts=mounts, workingDir=directory))
    assert starts(drawing)["Worker-0"].directory == used
    assert [remark.what for remark in drawing.findings.missing] == told


def test_init_containers_come_first_and_sidecars_stand_beside() -> None:
    pod = {
        "initContainers": [
            {"name": "prepare", "command": ["sh", "-c", "true"]},
            {"name": "agent", "command": ["sh", "-c", "sleep 9"], "restartPolicy": "Always"},
        ],
        "sidecars": [{"name": "watch", "command": ["sh"]}, {"name": "none", "command": ["no-such-program"]}],
    }
    drawing = drawn(FRONTEND, worker(pod=pod))
    found = [(start.name, start.container.is_init, start.container.is_main) for start in drawing.starts]
    assert found == [
        ("Worker-0/prepare", True, False),
        ("Worker-0/agent", False, False),
        ("Worker-0/watch", False, False),
        ("Worker-0", False, True),
        ("Frontend-0", False, True),
    ]
    (told,) = drawing.findings.missing
    assert (told.service, told.what) == ("Worker", "sidecar none")
    assert told.why.startswith("service 'Worker', container 'none', starts 'no-such-program', which does not exist on")


def test_an_init_container_that_cannot_run_stops_the_graph() -> None:
    pod = {"initContainers": [{"name": "prepare", "command": ["no-such-program"]}]}
    error = problem(drawn(FRONTEND, worker(pod=pod)))
    assert str(error).startswith(
        "service 'Worker', container 'prepare', starts 'no-such-program', which does not exist"
    )


def test_the_frontend_sidecar_of_a_worker_has_the_operators_command() -> None:
    sidecar = {"name": "gate", "args": ["-m", "dynamo.frontend", "--router-mode", "direct"]}
    drawing = drawn(FRONTEND, {**worker(pod={"sidecars": [sidecar]}), "frontendSidecar": "gate"})
    assert starts(drawing)["Worker-0/gate"].environment["DYN_HTTP_PORT"] == "<port>"
    assert starts(drawing)["Worker-0/gate"].argv == [
        sys.executable,
        "-m",
        "dynamo.frontend",
        "--router-mode",
        "direct",
    ]


PLANNER = ["python3", "-m", "dynamo.planner", "--config"]


@pytest.mark.parametrize(
    ("other", "why"),
    [
        (component("X", "planner", [*PLANNER, "{}"]), "it scales services through Kubernetes"),
        (
            component("X", "planner", ["python3", "-m", "dynamo.global_planner"]),
            "it scales services through Kubernetes",
        ),
        (component("X", "epp", ["/epp"]), "an endpoint picker works for a gateway of Kubernetes"),
    ],
)
def test_what_needs_kubernetes_is_told_and_not_started(other: dict[str, Any], why: str) -> None:
    drawing = drawn(FRONTEND, worker(), other)
    drawing.findings.raise_first()
    assert list(starts(drawing)) == ["Worker-0", "Frontend-0"]
    (told,) = drawing.findings.missing
    assert (told.service, told.why) == ("X", f"{why}; it is not started")


def test_a_router_is_started_and_its_probe_asks_the_port_that_it_got() -> None:
    probe = {"httpGet": {"path": "/health", "port": "system"}}
    router = component("Router", "worker", ["python3", "-m", "dynamo.router"], readinessProbe=probe)
    found = starts(drawn(FRONTEND, worker(), router))
    assert list(found) == ["Worker-0", "Router-0", "Frontend-0"]
    assert found["Router-0"].probe is not None
    assert found["Router-0"].probe.url == "http://127.0.0.1:<port>/health"
    assert found["Worker-0"].probe is None


@pytest.mark.parametrize(
    "probe", [{"grpc": {"port": 9000}}, {"httpGet": {"port": 7777}}, {"httpGet": {"port": 9090, "scheme": "HTTPS"}}]
)
def test_a_probe_that_cannot_be_asked_is_told(probe: dict[str, Any]) -> None:
    router = component("Router", "worker", ["python3", "-m", "dynamo.router"], startupProbe=probe)
    drawing = drawn(FRONTEND, worker(), router)
    assert starts(drawing)["Router-0"].probe is None
    assert [remark.what for remark in drawing.findings.missing] == [f"probe {next(iter(probe))}"]


def test_a_graph_whose_other_half_is_another_graph_is_told_so() -> None:
    router = component("Router", "worker", ["python3", "-m", "dynamo.global_router"])
    assert str(problem(drawn(worker()))).startswith("graph 'agg' has no frontend among its services ['Worker']: ")
    assert str(problem(drawn(FRONTEND, router))).startswith("graph 'agg' has no worker among its services [")


def test_the_mocker_does_without_files_of_its_image_and_without_hardware() -> None:
    options = ["--planner-profile-data", "/workspace/no/such", "--speedup-ratio", "2"]
    made = worker([*MOCKER, *options], resources={"limits": {"nvidia.com/gpu": 4}})
    drawing = drawn(FRONTEND, {**made, "multinode": {"nodeCount": 2}})
    drawing.findings.raise_first()
    assert starts(drawing)["Worker-0"].argv[-2:] == ["--speedup-ratio", "2"]
    assert "--planner-profile-data" not in starts(drawing)["Worker-0"].argv
    assert [remark.what for remark in drawing.findings.missing] == ["--planner-profile-data /workspace/no/such"]
    assert [remark.what for remark in drawing.findings.overridden] == ["2 nodes"]


def test_a_profile_that_is_there_stays(tmp_path: Path) -> None:
    drawing = drawn(FRONTEND, worker([*MOCKER, "--planner-profile-data", str(tmp_path)]))
    assert starts(drawing)["Worker-0"].argv[-2:] == ["--planner-profile-data", str(tmp_path)]


@pytest.mark.parametrize(
    ("command", "count"),
    [
        ([*MOCKER, "--num-workers", "3"], 3),
        (MOCKER, 1),
        ([*MOCKER, "--num-workers", "many"], 1),
        (["python3", "-m", "dynamo.vllm", "--num-workers", "3"], 1),
    ],
)
def test_one_mocker_may_be_several_workers(command: list[str], count: int) -> None:
    assert instances_of(graph_of(worker(command)).service("Worker")) == count


def test_what_cannot_be_deployed_is_in_a_plan_and_raised_by_a_deployment() -> None:
    made = worker(["python3", "-m", "dynamo.trtllm", "--model", "/no/such/model"])
    drawing = drawn(FRONTEND, made)
    assert isinstance(problem(drawing), Unsupported)
    whys = [remark.why for remark in drawing.plan().missing]
    assert whys[0].startswith("service 'Worker' needs the Python package tensorrt_llm; ")
    assert whys[1] == "model '/no/such/model' of service 'Worker' is a path that does not exist"


def test_the_tiny_model_is_found_where_the_program_is_not_known(state: Path) -> None:
    drawing = drawn(FRONTEND, worker(["sh", "-c", "exec ./run.sh --model-path=tiny-model --model-name tiny-model"]))
    directory = f"{state}/models/tiny-model"
    assert starts(drawing)["Worker-0"].argv[-1] == f"exec ./run.sh --model-path={directory} --model-name tiny-model"
    assert drawing.uses_tiny_model


def test_the_tiny_model_is_found_in_a_script_and_in_a_variable(state: Path) -> None:
    script = ["sh", "-c", 'exec python3 -m dynamo.mocker --model-path "$MODEL"']
    drawing = drawn(FRONTEND, worker(script, env=[{"name": "MODEL", "value": "tiny-model"}]))
    start = starts(drawing)["Worker-0"]
    directory = f"{state}/models/tiny-model"
    assert directory in start.argv[-1] or start.environment["MODEL"] == directory
    assert start.environment["HF_HUB_OFFLINE"] == "1"
    assert drawing.uses_tiny_model


KEYS = """
- {apiVersion: v1, kind: Secret, metadata: {name: s}, stringData: {A: o, NATS_SERVER: "nats://u:o'pw@h", X_PORT: "77"}}
"""


def test_secrets_are_hidden_whatever_they_look_like(monkeypatch: pytest.MonkeyPatch) -> None:
    """A secret of one letter hid half of the command, and one with a quote was shown."""
    monkeypatch.setenv("HF_TOKEN", "hf_mine")
    words = [*MOCKER, "--model-name", "$(A)-$(QUOTED)-$(HF_TOKEN)-$(COPY)"]
    env = [{"name": "QUOTED", "value": "it's $(A)"}, {"name": "COPY", "value": "$(HF_TOKEN)"}]
    drawing = drawn(FRONTEND, worker(words, envFrom=[{"secretRef": {"name": "s"}}], env=env), companions=KEYS)
    assert starts(drawing)["Worker-0"].argv[-1] == "o-it's o-hf_mine-hf_mine"
    plan = drawing.plan()
    assert plan.processes[0].command.endswith("/tiny-model --model-name '(secret)-(secret)-$(HF_TOKEN)-(secret)'")
    assert plan.processes[0].environment == dict.fromkeys(("A", "X_PORT", "QUOTED", "COPY"), "(secret)")
    assert [remark.what for remark in plan.overridden] == ["X_PORT=(secret)", "NATS_SERVER=(secret)"]


ESCAPES: dict[str, tuple[dict[str, Any], dict[str, Any]]] = {
    "subPath": ({"emptyDir": {}}, {"subPath": "../.."}),
    "claimName": ({"persistentVolumeClaim": {"claimName": "../../x"}}, {}),
    "a path in volume 'v'": ({"configMap": {"name": "settings", "items": [{"key": "A", "path": "/x"}]}}, {}),
}


@pytest.mark.parametrize("what", ESCAPES)
def test_nothing_is_written_outside_the_deployments_directory(what: str) -> None:
    companions = "[{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {A: b}}]"
    volume, mount = ESCAPES[what]
    made = worker(
        pod={"volumes": [{"name": "v", **volume}]}, volumeMounts=[{"name": "v", "mountPath": "/odd-place", **mount}]
    )
    message = str(problem(drawn(FRONTEND, made, companions=companions)))
    assert message.startswith(f"{what} of service 'Worker' must be relative and without '..', not '")


@pytest.mark.parametrize(
    ("path", "complaint"),
    [
        ("odd", "at 'odd'; a mountPath is an absolute path"),
        (None, "at None; a mountPath is an absolute path"),
        ("/etc/hosts", "a directory at /etc/hosts, but /etc/hosts is a file on this machine"),
        ("/etc/hosts/x", "a directory at /etc/hosts/x, but /etc/hosts is a file on this machine"),
    ],
)
def test_a_mount_that_cannot_be_is_refused(path: str | None, complaint: str) -> None:
    made = worker(pod={"volumes": [{"name": "v", "emptyDir": {}}]}, volumeMounts=[{"name": "v", "mountPath": path}])
    assert str(problem(drawn(FRONTEND, made))).endswith(complaint)


@pytest.mark.parametrize(("mode", "runs"), [(0o755, True), (0o644, False)])
@pytest.mark.parametrize("program", ["/odd-place/run.sh", "./run.sh"])
def test_a_program_may_be_in_a_volume(mode: int, runs: bool, program: str) -> None:
    companions = "[{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {run.sh: x}}]"
    made = worker(
        [program],
        {"volumes": [{"name": "v", "configMap": {"name": "settings", "defaultMode": mode}}]},
        volumeMounts=[{"name": "v", "mountPath": "/odd-place"}],
        workingDir="/odd-place",
    )
    drawing = drawn(FRONTEND, made, companions=companions)
    if runs:
        drawing.findings.raise_first()
        assert starts(drawing)["Worker-0"].argv == [program]
    else:
        assert "'/odd-place/run.sh', which does not exist on this machine or cannot be executed" in str(
            problem(drawing)
        )


def test_a_program_that_a_volume_gets_later_is_taken_on_trust() -> None:
    made = worker(
        ["/odd-place/run"],
        {"volumes": [{"name": "v", "emptyDir": {}}]},
        volumeMounts=[{"name": "v", "mountPath": "/odd-place"}],
    )
    drawn(FRONTEND, made).findings.raise_first()


@pytest.mark.parametrize(
    ("pod", "complaint"),
    [
        ({"sidecars": [{"name": "s", "command": ["true"]}] * 2}, "service 'Worker' has two containers called 's'"),
        ({"initContainers": [{"name": "main", "command": ["true"]}]}, "has two containers called 'main'"),
        ({"initContainers": [{"command": ["true"]}]}, "service 'Worker' has a container called ''"),
        (
            {"sidecars": [{"name": "s", "command": "sleep 1"}]},
            "of container 's' must be a list of words, not 'sleep 1'",
        ),
    ],
)
def test_containers_that_kubernetes_refuses_are_refused(pod: dict[str, Any], complaint: str) -> None:
    """Of two with one name the supervisor forgot the first."""
    assert complaint in str(problem(drawn(FRONTEND, worker(pod=pod))))


def test_a_service_may_not_have_the_name_of_a_server(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(planes, "etcd_binary", lambda: "etcd")  # a machine that has it
    settings = DeploySettings(discovery=Discovery.ETCD)
    made = component("etcd", "worker", MOCKER)
    assert "service 'etcd' has the name of a server" in str(problem(drawn(FRONTEND, made, settings=settings)))
    drawn(FRONTEND, made).findings.raise_first()


@pytest.mark.parametrize("none", ["Frontend", "Worker"])
def test_a_graph_without_replicas_that_answer_is_refused_at_once(none: str) -> None:
    made = [{**one, "replicas": int(one["name"] != none)} for one in (FRONTEND, worker())]
    assert str(problem(drawn(*made))).startswith(f"graph 'agg' has 0 replicas of '{none}', so there is nothing")


@pytest.mark.parametrize(
    ("command", "env", "complaint"),
    [
        (["sleep", "a\0b"], {}, "the command of service 'Worker' has a NUL character"),
        (MOCKER, {"A": "secret\0"}, "variable 'A' of service 'Worker' has a NUL character"),
        (MOCKER, {"A=B": "c"}, "service 'Worker' has a variable called 'A=B'"),
    ],
)
def test_what_no_process_can_have_is_told(command: list[str], env: dict[str, str], complaint: str) -> None:
    entries = [{"name": name, "value": value} for name, value in env.items()]
    message = str(problem(drawn(FRONTEND, worker(command, env=entries))))
    assert message.startswith(complaint)
    assert "secret" not in message


def test_a_port_that_was_edited_on_purpose_stays() -> None:
    env = [{"name": "REDIS_PORT", "value": "6379"}, {"name": "OTHER_PORT", "value": "5600"}]
    settings = DeploySettings(edits=Edits(env={"REDIS_PORT": "6379"}))
    drawing = drawn(FRONTEND, worker(env=env), settings=settings)
    assert starts(drawing)["Worker-0"].own == {"REDIS_PORT": "6379", "OTHER_PORT": "<port>"}
    assert [remark.what for remark in drawing.findings.overridden] == ["OTHER_PORT=5600"]


def test_a_plan_says_what_a_deployment_would_fail_with() -> None:
    assert drawn(FRONTEND, worker()).plan().refusal == ""
    assert drawn(FRONTEND, worker(["python3", "-m", "dynamo.vllm"])).plan().refusal == ""
    assert drawn(FRONTEND, worker(["no-such-engine"])).plan().refusal.startswith("service 'Worker' starts 'no-such-")


@pytest.mark.parametrize("path", ["health", "/health", "", None])
def test_the_path_of_a_probe_begins_with_a_slash(path: str | None) -> None:
    get = {"port": 9090, **({} if path is None else {"path": path})}
    router = component("Router", "other", ["sleep", "1"], readinessProbe={"httpGet": get})
    router["podTemplate"]["spec"]["containers"][0]["env"] = [{"name": "A_PORT", "value": "9090"}]
    probe = starts(drawn(FRONTEND, worker(), router))["Router-0"].probe
    assert probe is not None
    assert probe.url == "http://127.0.0.1:<port>/" + ("health" if path else "")


def test_a_probe_without_a_command_is_told() -> None:
    router = component("Router", "other", ["sleep", "1"], readinessProbe={"exec": {"command": []}})
    drawing = drawn(FRONTEND, worker(), router)
    assert starts(drawing)["Router-0"].probe is None
    assert Remark("Router", "probe exec", "it cannot be asked here; the service counts") in drawing.findings.missing
    router["podTemplate"]["spec"]["containers"][0]["readinessProbe"] = {"exec": "true"}
    assert str(problem(drawn(FRONTEND, worker(), router))).startswith("'exec' of service 'Router' must be a map")


ODD_VOLUMES: dict[str, tuple[dict[str, Any], str]] = {
    "mode": ({"configMap": {"name": "settings", "defaultMode": "rwx"}}, "must be a number, not 'rwx'"),
    "path": ({"downwardAPI": {"items": [{"fieldRef": {}}]}}, "each of the items of volume 'v' needs a path"),
    "items": ({"configMap": {"name": "settings", "items": "A"}}, "'items' of 'v' must be a list of maps, not 'A'"),
    "claim": (
        {"persistentVolumeClaim": "x"},
        "'persistentVolumeClaim' of service 'v' must be a map of fields, not 'x'",
    ),
}


@pytest.mark.parametrize("what", ODD_VOLUMES)
def test_a_volume_that_cannot_be_read_is_told(what: str) -> None:
    companions = "[{apiVersion: v1, kind: ConfigMap, metadata: {name: settings}, data: {A: b}}]"
    volume, complaint = ODD_VOLUMES[what]
    made = worker(pod={"volumes": [{"name": "v", **volume}]}, volumeMounts=[{"name": "v", "mountPath": "/odd-place"}])
    assert complaint in str(problem(drawn(FRONTEND, made, companions=companions)))


@pytest.mark.parametrize("volume", [{"persistentVolumeClaim": None}, {"projected": {"sources": [{"configMap": None}]}}])
def test_a_volume_without_details_is_empty(volume: dict[str, Any]) -> None:
    made = worker(pod={"volumes": [{"name": "v", **volume}]}, volumeMounts=[{"name": "v", "mountPath": "/odd-place"}])
    drawing = drawn(FRONTEND, made)
    drawing.findings.raise_first()
    assert drawing.tree.files == {}


def test_a_file_below_a_file_is_told(tmp_path: Path) -> None:
    tree = Tree(files={tmp_path / "p": File("a"), tmp_path / "p" / "q": File("b")})
    with pytest.raises(DeploymentError, match="a file 'q' below another file"):
        tree.write()


@pytest.mark.parametrize("given", [None, "abc"])
def test_a_port_without_a_number_is_told(given: object) -> None:
    probe = {"tcpSocket": {"port": "x"}}
    ports = [{"name": "x", **({} if given is None else {"containerPort": given})}]
    router = component("Router", "other", ["sleep", "1"], readinessProbe=probe, ports=ports)
    message = str(problem(drawn(FRONTEND, worker(), router)))
    assert message == f"containerPort of port 'x' of 'main' must be a number, not {given!r}"


def test_labels_that_are_no_map_are_told() -> None:
    message = str(problem(drawn(FRONTEND, {**worker(), "labels": "x"})))
    assert message == "'labels' of service 'Worker' must be a map of fields, not 'x'"
