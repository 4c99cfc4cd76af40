"""What this machine cannot do is refused before anything starts (rows 14 and 38)."""

import pytest

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.graph.edits import Edits
from DynamoFaultLibrary.platforms.local.settings import check_graph, model_problems
from DynamoFaultLibrary.platforms.settings import DeploySettings, Discovery, EventPlane, RequestPlane

PYTHON = ["python3", "-m", "dynamo.frontend"]


def graph(command: list[str] = PYTHON, **environment: str) -> Graph:
    envs = [{"name": name, "value": value} for name, value in environment.items()]
    frontend = {
        "componentType": "frontend",
        "envs": envs,
        "extraPodSpec": {"mainContainer": {"command": command}},
    }
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg"},
        "spec": {"services": {"Frontend": frontend}},
    }
    return Graph(document, "graph.yaml")


def test_an_interpreter_that_nothing_runs_in_is_refused() -> None:
    with pytest.raises(DeploymentError, match=r"^interpreter=/opt/python has no effect: no service of graph 'agg'"):
        check_graph(graph(["/opt/serve"]), DeploySettings(interpreter="/opt/python"))
    check_graph(graph(), DeploySettings(interpreter="/opt/python"))


@pytest.mark.parametrize(
    ("variable", "option", "value", "setting"),
    [
        ("DYN_DISCOVERY_BACKEND", "--discovery-backend", "etcd", "discovery"),
        ("DYN_REQUEST_PLANE", "--request-plane", "nats", "request_plane"),
        ("DYN_EVENT_PLANE", "--event-plane", "nats", "event_plane"),
    ],
)
def test_arguments_that_contradict_each_other_are_refused(variable: str, option: str, value: str, setting: str) -> None:
    for edits, said in (
        (Edits(env={variable: value}), f"env sets {variable}={value}"),
        (Edits(args={option: value}), f"args sets {option}={value}"),
        (Edits(frontend_args={option: value}), f"args sets {option}={value}"),
    ):
        with pytest.raises(DeploymentError) as raised:
            check_graph(graph(), DeploySettings(edits=edits))
        assert str(raised.value).startswith(f"{said}, but {setting} is ")
        agreeing = DeploySettings(
            discovery=Discovery.ETCD,
            request_plane=RequestPlane.NATS,
            event_plane=EventPlane.NATS,
            etcd_members=3,
            edits=edits,
        )
        check_graph(graph(), agreeing)


def test_what_a_graph_itself_says_of_its_planes_is_no_contradiction() -> None:
    check_graph(graph(DYN_DISCOVERY_BACKEND="kubernetes", DYN_REQUEST_PLANE="nats"), DeploySettings())


@pytest.mark.parametrize(
    "edits",
    [
        Edits(frontend_args={"--http-port": "8000"}),
        Edits(frontend_args={"--http-host": "::"}),
        Edits(env={"DYN_HTTP_PORT": "8000"}),
        Edits(env={"DYN_SYSTEM_PORT": "9090"}),
    ],
)
def test_where_a_process_listens_is_not_for_its_options(edits: Edits) -> None:
    with pytest.raises(DeploymentError, match="but this platform chooses where a process listens"):
        check_graph(graph(), DeploySettings(edits=edits))


def with_model(model: str) -> Graph:
    made = graph()
    worker = {
        "componentType": "worker",
        "extraPodSpec": {
            "mainContainer": {"command": ["python3", "-m", "dynamo.mocker"], "args": ["--model-path", model]}
        },
    }
    made.document["spec"]["services"]["Worker"] = worker
    return Graph(made.document, "graph.yaml")


@pytest.mark.parametrize(
    ("model", "message"),
    [
        ("/no/such/path", "model '/no/such/path' of service 'Worker' is a path that does not exist"),
        ("./model", "model './model' of service 'Worker' is a relative path, but"),
        ("~/model", "model '~/model' of service 'Worker' is a relative path, but"),
    ],
)
def test_a_model_that_is_no_path_here_is_refused(model: str, message: str) -> None:
    """Dynamo asked huggingface.co for it."""
    ((service, problem),) = model_problems(with_model(model).services.values())
    assert service == "Worker"
    assert problem.startswith(message)


@pytest.mark.parametrize("model", ["Qwen/Qwen3-0.6B", "tiny-model", "/"])
def test_a_model_may_be_a_name_or_a_path_that_is_there(model: str) -> None:
    assert list(model_problems(with_model(model).services.values())) == []


@pytest.mark.parametrize("name", [".", "a/b", "../x", "x" * 64, "a b", "a\n"])
def test_names_that_are_no_files_names_are_refused(name: str) -> None:
    """A service called ``a/../../b`` had its log outside of the results."""
    odd = graph()
    odd.document["metadata"]["name"] = name
    with pytest.raises(DeploymentError, match=r"^graph .* cannot be deployed: names have 1 to 63 letters"):
        check_graph(odd, DeploySettings())
    odd.document["metadata"]["name"] = "agg"
    odd.document["spec"]["services"][name] = odd.document["spec"]["services"].pop("Frontend")
    odd = Graph(odd.document, "graph.yaml")
    with pytest.raises(DeploymentError, match=r"^service .* cannot be deployed: names have 1 to 63 letters"):
        check_graph(odd, DeploySettings())


def test_more_replicas_than_a_machine_can_hold_are_refused_at_once() -> None:
    many = graph()
    many.services["Frontend"].replicas = 1001
    with pytest.raises(DeploymentError) as raised:
        check_graph(many, DeploySettings())
    assert str(raised.value) == (
        "graph 'agg' has 1001 replicas, each a process of its own; platform 'local' starts at most 1000"
    )


@pytest.mark.parametrize("name", ["ETCD_ENDPOINTS", "NATS_SERVER", "DYN_FILE_KV"])
def test_servers_that_env_names_are_refused_and_not_ignored(name: str) -> None:
    with pytest.raises(DeploymentError, match=f"^env sets {name}, but each deployment here has a discovery store"):
        check_graph(graph(), DeploySettings(edits=Edits(env={name: "x"})))
