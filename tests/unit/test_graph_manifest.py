"""Files of several documents: what is kept, which graph is meant, what comes with it, and what is no graph."""

import copy
from pathlib import Path

import pytest
import yaml

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph, Manifest
from DynamoFaultLibrary.graph.shipped import find_graph

TEXT = """\
# A licence
---
# Settings of the workers
apiVersion: v1
kind: ConfigMap
metadata: {name: settings}
data:
  A: "1"   # one
  B:
---
apiVersion: nvidia.com/v1alpha1
kind: DynamoGraphDeployment
metadata:
  name: blue   # the first
spec:
    services:
      Frontend:      # as the operator has it
      Worker:
        componentType: worker
        replicas: 1  # more where there are GPUs
        extraPodSpec:
          mainContainer:
            command: ["python3",  "-m", "dynamo.mocker"]
            args:
            # the model
            - --model-path
            - "tiny"
---
---
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: green}
spec: {components: [{name: Worker, type: worker}]}
...
# the end
"""


def manifest(text: str = TEXT) -> Manifest:
    return Manifest(text, "graphs.yaml")


def test_an_unedited_manifest_is_its_text() -> None:
    loaded = manifest()
    for name in loaded.graph_names:
        for service in loaded.graph(name).services.values():
            _ = service.command, service.environment, service.replicas
    assert loaded.to_yaml() == TEXT


def test_an_edit_of_one_graph_changes_only_its_lines() -> None:
    loaded = manifest()
    worker = loaded.graph("blue").service("Worker")
    worker.replicas = 3
    worker.editable_container["args"] = [*worker.args, "--speedup-ratio", "10"]
    expected = TEXT.replace("replicas: 1 ", "replicas: 3 ")
    expected = expected.replace('- "tiny"\n', '- "tiny"\n            - "--speedup-ratio"\n            - "10"\n')
    assert loaded.to_yaml() == expected


def test_a_graph_is_written_alone_with_its_comments() -> None:
    graph = manifest().graph("blue").copy()
    start = TEXT.index("apiVersion: nvidia")
    assert graph.to_yaml() == TEXT[start : TEXT.index("---", start)]
    graph.service("Worker").replicas = 2
    assert graph.to_yaml().count("replicas: 2  # more where there are GPUs") == 1


def test_a_copy_is_edited_alone() -> None:
    graph = manifest().graph("blue")
    for other in (graph.copy(), copy.deepcopy(graph)):
        other.service("Worker").replicas = 2
        other.companions[0]["data"]["A"] = "2"
        assert other.to_yaml() != graph.to_yaml()
    assert graph.service("Worker").replicas == 1
    assert graph.near.data("ConfigMap", "settings") == {"A": "1", "B": ""}


def test_edits_of_a_companion_are_written(tmp_path: Path) -> None:
    loaded = manifest()
    loaded.graph("blue").companions[0]["data"]["A"] = "on"
    assert loaded.to_yaml() == TEXT.replace('A: "1"', 'A: "on"')


def test_bytes_of_a_file_come_back(tmp_path: Path) -> None:
    path = tmp_path / "graphs.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + TEXT.replace("\n", "\r\n").encode())
    loaded = Manifest.load(path)
    assert loaded.to_yaml().encode() == path.read_bytes()
    loaded.graph("blue").service("Worker").replicas = 2
    assert loaded.to_yaml().encode() == path.read_bytes().replace(b"replicas: 1", b"replicas: 2")


def test_documents_are_plain_for_other_writers() -> None:
    loaded = manifest()
    assert yaml.safe_load(yaml.safe_dump(loaded.documents)) == loaded.documents


def test_graphs_of_a_list_count() -> None:
    blue = TEXT[TEXT.index("apiVersion: nv") :].split("---", maxsplit=1)[0]
    inner = "\n".join("  " + line for line in blue.splitlines())
    text = (
        f"# why\napiVersion: v1\nkind: List\nitems:\n- {inner.strip()}\n- {{kind: ConfigMap, metadata: {{name: c}}}}\n"
    )
    loaded = manifest(text)
    graph = loaded.graph("blue")
    graph.service("Worker").replicas = 4
    assert graph.near.data("ConfigMap", "c") == {}
    assert loaded.to_yaml() == text.replace("replicas: 1", "replicas: 4")
    assert yaml.safe_load(graph.to_yaml()) == graph.document


def test_one_of_several_graphs_is_named() -> None:
    assert manifest().graph("green").name == "green"
    with pytest.raises(GraphError) as raised:
        manifest().graph()
    assert str(raised.value) == (
        "'graphs.yaml' holds 2 graphs: ['blue', 'green']; choose one, such as 'graphs.yaml#blue'"
    )


@pytest.mark.parametrize(
    ("name", "end"), [("gren", "did you mean green?"), ("x", "it has ['blue', 'green']")], ids=["near", "far"]
)
def test_a_graph_that_is_not_there_is_answered_with_those_that_are(name: str, end: str) -> None:
    with pytest.raises(GraphError) as raised:
        manifest().graph(name)
    assert str(raised.value) == f"'graphs.yaml' holds no graph '{name}'; {end}"


def test_two_graphs_of_one_name_are_told_apart_by_no_name() -> None:
    text = TEXT.replace("{name: green}", "{name: blue, namespace: prod}")
    for name in (None, "blue"):
        with pytest.raises(GraphError, match=r"2 graphs named 'blue' \(namespaces: none, prod\)"):
            manifest(text).graph(name)


CONFIG = "kind: {kind}\nmetadata: {{name: c{space}}}\n{entries}\n"
GRAPH = """\
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {{name: g{space}}}
spec: {{components: [{{name: Worker}}]}}
"""


def graph_with(*companions: tuple[str, str, str], space: str = "") -> Graph:
    written = [CONFIG.format(kind=kind, space=own, entries=entries) for kind, own, entries in companions]
    return manifest("---\n".join([*written, GRAPH.format(space=space)])).graph()


def test_a_secret_is_decoded_and_plain_text_wins() -> None:
    graph = graph_with(("Secret", "", 'data: {A: "aGk=", B: "aGk="}\nstringData: {B: "x"}'))
    assert graph.near.data("Secret", "c") == {"A": "hi", "B": "x"}
    assert graph.near.data("Secret", "other") is None
    assert graph.near.data("ConfigMap", "c") is None


def test_a_config_map_has_text_and_bytes() -> None:
    graph = graph_with(("ConfigMap", "", "data: {A: x}\nbinaryData: {B: /w==}"))
    found = graph.near.data("ConfigMap", "c")
    assert found == {"A": "x", "B": "\udcff"}
    assert found["B"].encode("utf-8", "surrogateescape") == b"\xff"


@pytest.mark.parametrize(
    ("kind", "entries", "message"),
    [
        ("Secret", "data: {A: plain!}", "'A' in data of Secret 'c' is not base64; plain text belongs into stringData"),
        ("Secret", "data: {A: abc}", "'A' in data of Secret 'c' is not base64"),
        ("ConfigMap", "binaryData: {A: '*'}", "'A' in binaryData of ConfigMap 'c' is not base64"),
        ("ConfigMap", "data: {A: 1}", "'A' in data of ConfigMap 'c' must be a string, not a int as here; put it into"),
        ("ConfigMap", "data: {A: yes}", "'A' in data of ConfigMap 'c' must be a string, not a bool"),
        ("ConfigMap", "data: [A]", "data of ConfigMap 'c' must be a map of strings, not a list"),
    ],
)
def test_data_that_kubernetes_would_refuse_is_refused(kind: str, entries: str, message: str) -> None:
    graph = graph_with((kind, "", entries))
    with pytest.raises(GraphError) as raised:
        graph.near.data(kind, "c")
    assert str(raised.value).startswith(message)
    assert "plain!" not in str(raised.value)


@pytest.mark.parametrize(
    ("of_map", "of_graph", "found"),
    [
        ("", "", True),
        (", namespace: a", ", namespace: a", True),
        (", namespace: a", ", namespace: b", False),
        ("", ", namespace: b", True),
        (", namespace: a", "", True),
    ],
)
def test_a_config_map_of_another_namespace_is_not_the_graphs(of_map: str, of_graph: str, found: bool) -> None:
    graph = graph_with(("ConfigMap", of_map, "data: {A: x}"), space=of_graph)
    assert graph.near.data("ConfigMap", "c") == ({"A": "x"} if found else None)


def test_of_two_config_maps_that_of_the_graphs_namespace_is_meant() -> None:
    graph = graph_with(
        ("ConfigMap", "", "data: {A: x}"), ("ConfigMap", ", namespace: b", "data: {A: z}"), space=", namespace: b"
    )
    assert graph.near.data("ConfigMap", "c") == {"A": "z"}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "kind: DynamoGraphDeploymentRequest\n",
            "it is a DynamoGraphDeploymentRequest, which asks the operator's prof",
        ),
        ("kind: CustomResourceDefinition\n", "it is a CustomResourceDefinition, which defines a kind and holds no"),
        ("kind: Component\n", "it is a Component, which is a part of kustomizations; name the folder of an overlay"),
        ("kind: Kustomization\n", "it is a Kustomization, which is the recipe of a kustomization; name its folder, '"),
        ("- {op: add, path: /spec, value: 1}\n", "it is a JSON patch; name the folder of the kustomization that uses"),
        ("kind: Service\n---\n- x\n", "its documents are of kind ['Service', 'list']"),
        ("kind: [a]\n", "its documents are of kind [['a']]"),
        ("# nothing\n", "it is empty"),
        ("---\n", "it is empty"),
    ],
)
def test_what_is_no_graph_is_told_what_it_is(text: str, message: str) -> None:
    with pytest.raises(GraphError) as raised:
        Manifest(text, "folder/file.yaml")
    assert str(raised.value).startswith(f"'folder/file.yaml' must hold a DynamoGraphDeployment, but {message}")


TEMPLATE = """\
# ${NOT_ME}
kind: DynamoGraphDeployment
apiVersion: nvidia.com/v1alpha1
metadata: {name: NAME}
spec:
  services:
    Worker: {replicas: COUNT, extraPodSpec: {mainContainer: {image: "${IMAGE}", args: ["echo $HOME"]}}}
"""


@pytest.mark.parametrize(
    "text",
    [
        TEMPLATE.replace("NAME", "${DGD}").replace("COUNT", "1"),
        TEMPLATE.replace("NAME", "a").replace("COUNT", "${DGD}"),
        TEMPLATE.replace("NAME", "a").replace("    Worker", "${DGD}\n    Worker"),
    ],
    ids=["name", "replicas", "no YAML"],
)
def test_a_template_must_be_filled_in_first(text: str) -> None:
    with pytest.raises(GraphError) as raised:
        manifest(text)
    message = str(raised.value)
    assert message.startswith("graph file 'graphs.yaml' has placeholders ")
    assert "${DGD}" in message
    assert "${IMAGE}" in message
    assert "NOT_ME" not in message
    assert message.endswith(": fill them in first, for example with envsubst")


def test_variables_of_images_and_shells_make_no_template() -> None:
    text = TEMPLATE.replace("NAME", "a").replace("COUNT", "1")
    assert manifest(text).graph().service("Worker").image == "${IMAGE}"


def test_a_helm_chart_is_no_manifest() -> None:
    text = "{{- if .Values.x }}\nkind: DynamoGraphDeployment\nmetadata: {name: {{ .Release.Name }}}\n{{ end }}\n"
    with pytest.raises(GraphError, match=r"has placeholders \{\{- if .Values.x \}\}.*with helm template"):
        manifest(text)


def test_a_key_that_is_there_twice_is_refused_with_both_lines() -> None:
    with pytest.raises(GraphError) as raised:
        manifest(TEXT.replace("        replicas: 1", "        replicas: 2\n        replicas: 1"))
    assert str(raised.value) == (
        "graph file 'graphs.yaml' is not YAML that Kubernetes can read: line 21: key 'replicas' is in the same map as "
        "in line 20; kubectl would take the last and forget the first without a word: keep one"
    )


def test_a_file_that_is_no_text_is_refused_in_a_sentence(tmp_path: Path) -> None:
    path = tmp_path / "graph.yaml"
    path.write_bytes(b"a: \xff")
    with pytest.raises(GraphError, match="is not YAML: byte 3 is not UTF-8"):
        Manifest.load(path)


def test_a_file_comes_before_a_folder_of_its_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "here" / "g").mkdir(parents=True)
    (tmp_path / "near").mkdir()
    (tmp_path / "near" / "g").write_text(TEXT)
    monkeypatch.chdir(tmp_path / "here")
    assert find_graph("g", tmp_path / "near") == tmp_path / "near" / "g"
    assert find_graph("g") == tmp_path / "here" / "g"
