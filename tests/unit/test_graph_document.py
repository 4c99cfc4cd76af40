import copy
from pathlib import Path

import pytest
import yaml

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph, Manifest
from DynamoFaultLibrary.graph.shipped import find_graph, shipped_graphs

ALPHA = """
apiVersion: nvidia.com/v1alpha1
kind: DynamoGraphDeployment
metadata:
  name: agg
  annotations: {owner: us}
spec:
  backendFramework: vllm
  envs:
    - {name: SHARED, value: "1"}
    - {name: SECRET, valueFrom: {secretKeyRef: {name: s, key: k}}}
  services:
    Frontend:
      componentType: frontend
      dynamoNamespace: ours
      extraPodSpec:
        nodeSelector: {zone: a}
        mainContainer:
          image: frontend:1
          command: [python3, -m, dynamo.frontend]
          args: [--router-mode, round-robin]
    Decode:
      componentType: worker
      subComponentType: decode
      replicas: 2
      resources: {limits: {gpu: "2"}}
      envs: [{name: LEVEL, value: service}]
      extraPodSpec:
        mainContainer:
          image: worker:1
          workingDir: /workspace
          command: [python3, -m, dynamo.vllm]
          args: [--model, Qwen/Qwen3-0.6B, --served-model-name, qwen, --enforce-eager]
          env:
            - {name: OWN, value: container}
            - {name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}
"""
BETA = """
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata:
  name: agg
spec:
  priorityClassName: high
  env:
    - {name: SHARED, value: "1"}
  components:
    - name: Frontend
      type: frontend
      podTemplate:
        spec:
          containers:
            - {name: main, image: "frontend:1", command: [python3, -m, dynamo.frontend], args: [--router-mode, kv]}
    - name: Decode
      type: decode
      replicas: 2
      compilationCache: {pvcName: cache}
      podTemplate:
        metadata: {labels: {team: us}}
        spec:
          containers:
            - {name: sidecar, image: "sidecar:1", args: [--model, other]}
            - name: main
              image: worker:1
              command: [python3, -m, dynamo.sglang]
              args: [--model-path=Qwen/Qwen3-0.6B, --trust-remote-code]
              resources: {limits: {nvidia.com/gpu: "2"}}
              env:
                - {name: OWN, value: container}
                - {name: TOKEN, valueFrom: {secretKeyRef: {name: s, key: k}}}
"""
SHAPES = pytest.mark.parametrize("text", [ALPHA, BETA], ids=["v1alpha1", "v1beta1"])


def graph_of(text: str) -> Graph:
    return Graph(yaml.safe_load(text), "graph.yaml")


def minimal(**spec: object) -> dict[str, object]:
    return {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": spec,
    }


@SHAPES
def test_a_graph_is_read_from_its_file(text: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(text)
    graph = Manifest.load(path).graph()
    assert graph.name == "agg"
    assert graph.source == str(path)
    assert list(graph.services) == ["Frontend", "Decode"]
    assert graph.environment == {"SHARED": "1"}


@SHAPES
def test_both_shapes_show_the_same_frontend_and_workers(text: str) -> None:
    graph = graph_of(text)
    assert graph.frontend.name == "Frontend"
    assert graph.frontend.role == "frontend"
    assert graph.frontend.replicas == 1
    assert [worker.name for worker in graph.workers] == ["Decode"]
    decode = graph.service("Decode")
    assert (decode.role, decode.replicas, decode.gpus, decode.image) == ("decode", 2, 2, "worker:1")


@SHAPES
def test_a_command_is_command_followed_by_args(text: str) -> None:
    command = graph_of(text).frontend.command
    assert command[:3] == ["python3", "-m", "dynamo.frontend"]
    assert command[3] == "--router-mode"


@SHAPES
def test_variables_from_secrets_are_left_to_the_cluster(text: str) -> None:
    assert "TOKEN" not in graph_of(text).service("Decode").environment
    assert graph_of(text).service("Decode").environment["OWN"] == "container"


def test_a_v1alpha1_service_has_its_own_and_its_container_variables() -> None:
    assert graph_of(ALPHA).service("Decode").environment == {"LEVEL": "service", "OWN": "container"}


@SHAPES
def test_writing_an_unedited_graph_gives_the_same_document(text: str) -> None:
    graph = graph_of(text)
    for service in graph.services.values():
        _ = (service.replicas, service.image, service.command, service.environment, service.gpus, service.role)
    assert yaml.safe_load(graph.to_yaml()) == yaml.safe_load(text)


@SHAPES
def test_the_order_of_keys_is_kept_when_written(text: str) -> None:
    assert list(yaml.safe_load(graph_of(text).to_yaml())) == ["apiVersion", "kind", "metadata", "spec"]


def test_reading_a_service_without_a_container_does_not_change_the_document() -> None:
    document = minimal(services={"Planner": {"componentType": "planner"}})
    before = copy.deepcopy(document)
    assert Graph(document, "graph.yaml").service("Planner").command == []
    assert document == before


def test_reading_a_component_without_a_container_does_not_change_the_document() -> None:
    document = {**minimal(components=[{"name": "Planner"}]), "apiVersion": "nvidia.com/v1beta1"}
    before = copy.deepcopy(document)
    planner = Graph(document, "graph.yaml").service("Planner")
    assert (planner.command, planner.image, planner.environment, planner.gpus) == ([], None, {}, 0)
    assert document == before


@pytest.mark.parametrize("pod", [None, {"spec": None}, {"spec": {"containers": None}}, {"spec": {"containers": []}}])
def test_an_empty_pod_of_a_component_gets_a_container_when_edited(pod: object) -> None:
    document = {**minimal(components=[{"name": "W", "podTemplate": pod}]), "apiVersion": "nvidia.com/v1beta1"}
    graph = Graph(document, "graph.yaml")
    graph.service("W").image = "x:1"
    written = yaml.safe_load(graph.to_yaml())["spec"]["components"][0]["podTemplate"]
    assert written == {"spec": {"containers": [{"name": "main", "image": "x:1"}]}}


@pytest.mark.parametrize("pod", [{"extraPodSpec": None}, {"extraPodSpec": {"mainContainer": None}}])
def test_an_empty_container_reads_as_one_that_names_nothing(pod: dict[str, object]) -> None:
    service = Graph(minimal(services={"Worker": {"componentType": "worker", **pod}}), "graph.yaml").service("Worker")
    assert service.image is None
    assert service.command == []


@SHAPES
def test_edits_touch_only_what_they_name(text: str) -> None:
    graph = graph_of(text)
    decode = graph.service("Decode")
    decode.replicas = 5
    decode.image = "worker:2"
    decode.set_variable("NEW", "x")
    written = Graph(yaml.safe_load(graph.to_yaml()), "again")
    edited = written.service("Decode")
    assert (edited.replicas, edited.image, edited.environment["NEW"]) == (5, "worker:2", "x")
    assert edited.environment["OWN"] == "container"
    assert edited.args == graph_of(text).service("Decode").args
    assert written.frontend.document == graph_of(text).frontend.document
    assert edited.container["env"][:2] == graph_of(text).service("Decode").container["env"]


def test_unknown_fields_survive_edits_of_a_v1alpha1_graph() -> None:
    graph = graph_of(ALPHA)
    graph.service("Decode").replicas = 3
    graph.service("Decode").set_argument("--max-model-len", "100")
    document = yaml.safe_load(graph.to_yaml())
    assert document["metadata"]["annotations"] == {"owner": "us"}
    assert document["spec"]["backendFramework"] == "vllm"
    assert document["spec"]["services"]["Frontend"]["dynamoNamespace"] == "ours"
    assert document["spec"]["services"]["Frontend"]["extraPodSpec"]["nodeSelector"] == {"zone": "a"}
    assert document["spec"]["services"]["Decode"]["extraPodSpec"]["mainContainer"]["workingDir"] == "/workspace"
    assert document["spec"]["envs"][1]["valueFrom"] == {"secretKeyRef": {"name": "s", "key": "k"}}


def test_unknown_fields_survive_edits_of_a_v1beta1_graph() -> None:
    graph = graph_of(BETA)
    graph.service("Decode").replicas = 3
    graph.service("Decode").set_argument("--max-model-len", "100")
    document = yaml.safe_load(graph.to_yaml())
    decode = document["spec"]["components"][1]
    assert document["spec"]["priorityClassName"] == "high"
    assert decode["compilationCache"] == {"pvcName": "cache"}
    assert decode["podTemplate"]["metadata"] == {"labels": {"team": "us"}}
    assert decode["podTemplate"]["spec"]["containers"][0] == {
        "name": "sidecar",
        "image": "sidecar:1",
        "args": ["--model", "other"],
    }


@SHAPES
def test_a_variable_that_is_set_already_gets_the_new_value_once(text: str) -> None:
    decode = graph_of(text).service("Decode")
    decode.set_variable("OWN", "changed")
    assert decode.environment["OWN"] == "changed"
    assert [entry["name"] for entry in decode.container["env"]].count("OWN") == 1


@SHAPES
def test_a_variable_replaces_a_secret_of_the_same_name(text: str) -> None:
    decode = graph_of(text).service("Decode")
    decode.set_variable("TOKEN", "plain")
    assert [entry for entry in decode.container["env"] if entry["name"] == "TOKEN"] == [
        {"name": "TOKEN", "value": "plain"}
    ]


def test_a_new_v1alpha1_variable_is_set_on_the_service() -> None:
    decode = graph_of(ALPHA).service("Decode")
    decode.set_variable("NEW", "1")
    assert {"name": "NEW", "value": "1"} in decode.document["envs"]
    assert "NEW" not in [entry["name"] for entry in decode.container["env"]]


def test_a_v1beta1_component_without_a_pod_gets_a_main_container_when_edited() -> None:
    document = yaml.safe_load(BETA)
    del document["spec"]["components"][1]["podTemplate"]
    graph = Graph(document, "graph.yaml")
    graph.service("Decode").image = "worker:9"
    pod = yaml.safe_load(graph.to_yaml())["spec"]["components"][1]["podTemplate"]["spec"]
    assert pod["containers"] == [{"name": "main", "image": "worker:9"}]


def test_an_edit_of_a_service_written_without_fields_reaches_the_document() -> None:
    graph = Graph(minimal(services={"Worker": None}), "graph.yaml")
    graph.service("Worker").replicas = 4
    assert yaml.safe_load(graph.to_yaml())["spec"]["services"]["Worker"] == {"replicas": 4}


@SHAPES
def test_edits_of_a_copy_leave_the_original_alone(text: str) -> None:
    graph = graph_of(text)
    other = graph.copy()
    other.service("Decode").replicas = 7
    other.service("Decode").set_argument("--x", "1")
    assert yaml.safe_load(graph.to_yaml()) == yaml.safe_load(text)
    assert other.service("Decode").replicas == 7
    assert other.source == "graph.yaml"


@SHAPES
@pytest.mark.parametrize("count", [0, -1])
def test_replicas_cannot_be_set_below_one(text: str, count: int) -> None:
    decode = graph_of(text).service("Decode")
    with pytest.raises(GraphError, match=f"service 'Decode' needs 1 replica or more, not {count}"):
        decode.replicas = count
    assert decode.replicas == 2


@pytest.mark.parametrize("count", ["two", -1, 1.5, True])
def test_replicas_that_are_no_number_are_an_error_with_the_value(count: object) -> None:
    """They came to light only when somebody asked for them: `dynamo-fault graph` ended in a traceback."""
    with pytest.raises(GraphError) as raised:
        Graph(minimal(services={"Worker": {"replicas": count}}), "graph.yaml")
    assert str(raised.value) == f"replicas of service 'Worker' must be a whole number of 0 or more, not {count!r}"


@pytest.mark.parametrize("field", [{"multinode": {"nodeCount": "x"}}, {"resources": {"limits": {"gpu": "x"}}}])
def test_other_numbers_that_are_none_are_refused_as_early(field: dict[str, object]) -> None:
    with pytest.raises(GraphError, match=r"of service 'Worker' must be a whole number of . or more, not 'x'$"):
        Graph(minimal(services={"Worker": field}), "graph.yaml")


def test_replicas_that_are_null_are_not_said() -> None:
    graph = Graph(minimal(services={"Worker": {"replicas": None}}), "graph.yaml")
    assert graph.service("Worker").replicas == 1


def test_a_graph_may_ask_for_no_replicas_of_a_service() -> None:
    assert Graph(minimal(services={"Worker": {"replicas": 0}}), "graph.yaml").service("Worker").replicas == 0


@SHAPES
def test_an_unknown_service_is_an_error_that_lists_the_known_ones(text: str) -> None:
    with pytest.raises(GraphError) as raised:
        graph_of(text).service("Prefill")
    assert str(raised.value) == "graph 'agg' has no service 'Prefill'; it has ['Frontend', 'Decode']"


def test_a_graph_without_a_frontend_says_so_when_asked_for_it() -> None:
    graph = Graph(minimal(services={"Worker": {"componentType": "worker"}}), "here.yaml")
    with pytest.raises(GraphError) as raised:
        _ = graph.frontend
    assert str(raised.value) == "graph 'g' has no frontend among its services ['Worker'] (here.yaml)"


def test_a_missing_file_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=rf"cannot read graph file '{tmp_path}/none.yaml': No such file"):
        Manifest.load(tmp_path / "none.yaml").graph()


def test_a_directory_is_no_graph_file(tmp_path: Path) -> None:
    with pytest.raises(GraphError, match=r"is a folder without a kustomization.yaml, and it has no YAML files"):
        Manifest.load(tmp_path).graph()


@pytest.mark.parametrize("content", [b"a: [1, 2", b"\xff\xfe\x00", b"a: 1\n\tb: 2"], ids=["open", "binary", "tab"])
def test_a_file_that_is_not_yaml_is_an_error_on_one_line(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_bytes(content)
    with pytest.raises(GraphError) as raised:
        Manifest.load(path).graph()
    assert str(raised.value).startswith(f"graph file '{path}' is not YAML")
    assert "\n" not in str(raised.value)


def test_a_date_is_a_string_as_it_is_to_kubernetes(tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(ALPHA.replace("owner: us", "since: 2024-13-45"))
    assert Manifest.load(path).graph().document["metadata"]["annotations"] == {"since": "2024-13-45"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must hold a DynamoGraphDeployment, but it is empty"),
        ("just words", r"must hold a DynamoGraphDeployment, but its documents are of kind \['str'\]"),
        ("kind: Deployment", "must hold a DynamoGraphDeployment, but it is a Deployment, which runs"),
        (f"{ALPHA}\n---{BETA}", r"holds 2 graphs named 'agg' \(namespaces: none, none\)"),
    ],
    ids=["empty", "no map", "other kind", "two graphs"],
)
def test_a_file_must_hold_a_graph_and_say_which(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(text)
    with pytest.raises(GraphError, match=message):
        Manifest.load(path).graph()


def test_other_documents_beside_the_graph_are_left_aside(tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_text(f"kind: ConfigMap\n---{ALPHA}\n---\nkind: Secret\n")
    assert Manifest.load(path).graph().name == "agg"


@pytest.mark.parametrize("version", ["nvidia.com/v1", "v1alpha1", None, 1])
def test_an_api_version_that_is_not_known_is_an_error_with_the_known_ones(version: object) -> None:
    document = {**minimal(services={"Worker": {}}), "apiVersion": version}
    with pytest.raises(GraphError) as raised:
        Graph(document, "here.yaml")
    assert str(raised.value) == (
        f"apiVersion of graph 'here.yaml' must be one of ['nvidia.com/v1alpha1', 'nvidia.com/v1beta1'], not {version!r}"
    )


@pytest.mark.parametrize("metadata", [None, {}, {"name": ""}, "agg"])
def test_a_graph_without_a_name_is_an_error(metadata: object) -> None:
    with pytest.raises(GraphError, match=r"graph 'here.yaml' needs a metadata.name"):
        Graph({**minimal(services={"Worker": {}}), "metadata": metadata}, "here.yaml")


@pytest.mark.parametrize("services", [None, {}, [], "Worker", [{"name": "Worker"}]])
def test_v1alpha1_services_must_be_a_map_with_an_entry(services: object) -> None:
    with pytest.raises(GraphError, match=r"spec.services of graph 'here.yaml' must be a map of services"):
        Graph(minimal(services=services), "here.yaml")


@pytest.mark.parametrize("components", [None, [], {"Worker": {}}])
def test_v1beta1_components_must_be_a_list_with_an_entry(components: object) -> None:
    document = {**minimal(components=components), "apiVersion": "nvidia.com/v1beta1"}
    with pytest.raises(GraphError, match=r"spec.components of graph 'here.yaml' must be a list of components"):
        Graph(document, "here.yaml")


@pytest.mark.parametrize("component", [{}, {"type": "worker"}, "Worker", None])
def test_a_v1beta1_component_needs_a_name(component: object) -> None:
    document = {**minimal(components=[component]), "apiVersion": "nvidia.com/v1beta1"}
    with pytest.raises(GraphError, match=r"spec.components of graph 'here.yaml' has an entry without a name"):
        Graph(document, "here.yaml")


def test_two_v1beta1_components_of_one_name_are_an_error() -> None:
    components = [{"name": "Worker", "replicas": 1}, {"name": "Worker", "replicas": 2}]
    document = {**minimal(components=components), "apiVersion": "nvidia.com/v1beta1"}
    with pytest.raises(GraphError) as raised:
        Graph(document, "here.yaml")
    assert str(raised.value) == "spec.components of graph 'here.yaml' names a service twice: ['Worker', 'Worker']"


@pytest.mark.parametrize("path", sorted(shipped_graphs().glob("*.yaml")), ids=lambda path: path.stem)
def test_a_shipped_graph_has_one_frontend_and_workers_that_name_a_model(path: Path) -> None:
    graph = Manifest.load(path).graph()
    assert graph.name == path.stem
    assert [service.name for service in graph.services.values() if service.is_frontend] == [graph.frontend.name]
    assert graph.frontend.command[-2:] == ["--router-mode", "round-robin"]
    assert graph.workers
    for worker in graph.workers:
        assert worker.replicas >= 1
        assert worker.model_option is not None
        assert worker.command[:2] == ["python3", "-m"]
    roles = {worker.role for worker in graph.workers}
    assert roles == ({"prefill", "decode"} if "disagg" in path.stem else {"worker"})


def test_there_are_shipped_graphs() -> None:
    assert {"position-agg.yaml", "vllm-disagg.yaml"} <= {path.name for path in shipped_graphs().glob("*.yaml")}


def test_a_graph_is_found_among_the_shipped_ones(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert find_graph("position-agg.yaml") == shipped_graphs() / "position-agg.yaml"


def test_a_graph_nearby_wins_over_a_shipped_one(tmp_path: Path) -> None:
    (tmp_path / "position-agg.yaml").write_text(ALPHA)
    assert find_graph("position-agg.yaml", tmp_path) == tmp_path / "position-agg.yaml"


def test_a_graph_in_the_current_directory_wins_over_one_nearby(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for place in (tmp_path, tmp_path / "near"):
        place.mkdir(exist_ok=True)
        (place / "mine.yaml").write_text(ALPHA)
    monkeypatch.chdir(tmp_path)
    assert find_graph("mine.yaml", tmp_path / "near") == tmp_path / "mine.yaml"


def test_a_graph_is_found_by_its_whole_path(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(ALPHA)
    assert find_graph(str(path)) == path


def test_a_graph_that_is_nowhere_is_an_error_with_the_places_and_the_shipped_ones(tmp_path: Path) -> None:
    with pytest.raises(GraphError) as raised:
        find_graph("none.yaml", tmp_path)
    message = str(raised.value)
    assert message.startswith("no graph file 'none.yaml' in /")
    assert str(tmp_path) in message
    assert "'position-agg.yaml'" in message


def test_a_misspelled_graph_is_answered_with_its_like_and_each_folder_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It listed one folder twice and proposed nothing."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(GraphError) as raised:
        find_graph("postion-agg.yaml", tmp_path)
    message = str(raised.value)
    assert message.endswith("; did you mean position-agg.yaml?")
    assert message.count(str(tmp_path)) == 1


@pytest.mark.parametrize(
    ("field", "message"),
    [
        ("envs: {A: b}", "envs of service 'W' of graph 'g.yaml' must be a list, not {'A': 'b'}"),
        ("envs: [null]", "envs[0] of service 'W' of graph 'g.yaml' must be a map of fields, not None"),
        ("envs: [{value: x}]", "envs[0].name of service 'W' of graph 'g.yaml' must be a word, not None"),
        (
            "resources: {limits: x}",
            "resources.limits of service 'W' of graph 'g.yaml' must be a map of fields, not 'x'",
        ),
        (
            "extraPodSpec: {volumes: [{configMap: x}]}",
            "extraPodSpec.volumes[0].configMap of service 'W' of graph 'g.yaml' must be a map of fields, not 'x'",
        ),
        (
            "podTemplate: {spec: {containers: x}}",
            "podTemplate.spec.containers of service 'W' of graph 'g.yaml' must be a list, not 'x'",
        ),
    ],
)
def test_a_field_of_another_shape_is_refused(field: str, message: str) -> None:
    document = yaml.safe_load(ALPHA)
    document["spec"]["services"] = {"W": yaml.safe_load(field)}
    with pytest.raises(GraphError) as raised:
        Graph(document, "g.yaml")
    assert str(raised.value) == message


def test_variables_of_the_graph_have_a_shape_too() -> None:
    document = yaml.safe_load(ALPHA)
    document["spec"]["envs"] = {"A": "b"}
    with pytest.raises(GraphError, match=r"^spec.envs of graph 'g.yaml' must be a list, not \{'A': 'b'\}$"):
        Graph(document, "g.yaml")
