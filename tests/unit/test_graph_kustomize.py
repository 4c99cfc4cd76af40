"""Folders with a kustomization; a program that acts as kustomize's command line does stands in for it."""

import shutil
import sys
from pathlib import Path

import pytest

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.kustomize import build
from DynamoFaultLibrary.graph.shipped import find_graph

GRAPH = """\
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: g}
spec: {components: [{name: Worker, replicas: 1}]}
"""
PATCH = """\
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: g}
spec: {components: [{name: Worker, replicas: 5}]}
"""
STAND_IN = f"""#!{sys.executable}
import pathlib, sys
program = pathlib.Path(sys.argv[0]).name
word, *rest = sys.argv[1:]
if word != {{"kustomize": "build", "kubectl": "kustomize"}}[program]:
    sys.exit(f'Error: unknown command "{{word}}" for "{{program}}"')
if len(rest) != 1 or rest[0].startswith("-"):
    sys.exit("Error: specify one path to kustomization.yaml")
folder = pathlib.Path(rest[0])
found = [name for name in ("kustomization.yaml", "kustomization.yml", "Kustomization") if (folder / name).is_file()]
if len(found) != 1:
    sys.exit(f"Error: unable to find one of 'kustomization.yaml',\\nor 'Kustomization' in {{folder}}")
for line in (folder / found[0]).read_text().splitlines():
    if line.startswith("- "):
        resource = folder / line[2:]
        if not resource.is_file():
            sys.exit(f"Error: accumulating resources from '{{line[2:]}}': no such file")
        print("# built by", program)
        print(resource.read_text(), end="")
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    place = tmp_path / "overlay"
    place.mkdir()
    (place / "kustomization.yaml").write_text("resources:\n- graph.yaml\n")
    (place / "graph.yaml").write_text(GRAPH)
    return place


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    place = tmp_path / "bin"
    place.mkdir()
    monkeypatch.setenv("PATH", str(place))
    return place


def put(place: Path, *names: str, text: str = STAND_IN) -> None:
    for name in names:
        (place / name).write_text(text)
        (place / name).chmod(0o755)


@pytest.mark.parametrize(
    ("names", "built_by"),
    [(["kustomize"], "kustomize"), (["kubectl"], "kubectl"), (["kubectl", "kustomize"], "kustomize")],
)
def test_a_folder_is_built_by_what_is_there(folder: Path, programs: Path, names: list[str], built_by: str) -> None:
    put(programs, *names)
    loaded = Manifest.load(find_graph(str(folder)))
    assert loaded.graph().name == "g"
    assert loaded.graph().source == str(folder)
    assert loaded.to_yaml() == f"# built by {built_by}\n{GRAPH}"


@pytest.mark.parametrize("name", ["kustomization.yml", "Kustomization"])
def test_the_other_names_of_a_kustomization_count(folder: Path, programs: Path, name: str) -> None:
    put(programs, "kustomize")
    (folder / "kustomization.yaml").rename(folder / name)
    assert Manifest.load(folder).graph_names == ["g"]


def test_a_folder_in_which_files_must_be_named(folder: Path) -> None:
    (folder / "kustomization.yaml").unlink()
    with pytest.raises(GraphError) as raised:
        Manifest.load(folder)
    assert str(raised.value) == (
        f"'{folder}' is a folder without a kustomization.yaml; name one of its files: ['graph.yaml']"
    )


@pytest.mark.usefixtures("programs")
def test_the_program_that_is_needed_is_named(folder: Path) -> None:
    with pytest.raises(GraphError, match="is a kustomization: kustomize or kubectl is needed on the PATH to build it"):
        Manifest.load(folder)


def test_what_the_program_says_is_in_the_sentence(folder: Path, programs: Path) -> None:
    put(programs, "kustomize")
    (folder / "graph.yaml").unlink()
    with pytest.raises(GraphError) as raised:
        Manifest.load(folder)
    assert str(raised.value) == (
        f"'{programs}/kustomize build' cannot build '{folder}': "
        "Error: accumulating resources from 'graph.yaml': no such file"
    )


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("#!/bin/sh\nexit 3\n", "it ended with 3"),
        ("#!/no/such/program\n", "No such file or directory"),
        ("#!/bin/sh\nprintf '\\377'\n", "can't decode"),
    ],
)
def test_a_program_that_fails_is_told(folder: Path, programs: Path, text: str, message: str) -> None:
    put(programs, "kubectl", text=text)
    with pytest.raises(GraphError, match=f"kubectl kustomize' cannot build .*{message}"):
        Manifest.load(folder)


def test_a_program_that_does_not_end_is_ended(folder: Path, programs: Path) -> None:
    put(programs, "kubectl", text=f"#!{sys.executable}\nimport signal\nsignal.pause()\n")
    with pytest.raises(GraphError, match=f"did not finish within 0.2 s for '{folder}'"):
        build(folder, timeout=0.2)


def test_what_is_built_without_a_graph_is_refused(folder: Path, programs: Path) -> None:
    put(programs, "kubectl")
    (folder / "graph.yaml").write_text("kind: ConfigMap\n")
    with pytest.raises(GraphError, match=f"'{folder}' must hold a DynamoGraphDeployment"):
        Manifest.load(folder)


def test_a_component_is_no_graph(folder: Path, programs: Path) -> None:
    put(programs, "kustomize")
    (folder / "kustomization.yaml").write_text("kind: Component\npatches:\n- path: graph.yaml\n")
    with pytest.raises(GraphError, match=f"'{folder}' is a kustomize Component, no whole graph; name the folder of an"):
        Manifest.load(folder)


@pytest.mark.parametrize("field", ["patches:\n- path: ./patch.yaml\n", "patchesStrategicMerge:\n- patch.yaml\n"])
def test_a_patch_is_no_graph(folder: Path, field: str) -> None:
    (folder / "kustomization.yaml").write_text(f"resources:\n- graph.yaml\n{field}")
    (folder / "patch.yaml").write_text(PATCH)
    with pytest.raises(
        GraphError, match=f"'{folder}/patch.yaml' is a patch of '{folder}/kustomization.yaml', no whole"
    ):
        Manifest.load(folder / "patch.yaml")
    assert Manifest.load(folder / "graph.yaml").graph_names == ["g"]


@pytest.mark.skipif(not (shutil.which("kustomize") or shutil.which("kubectl")), reason="needs kustomize or kubectl")
def test_the_real_program_builds(folder: Path) -> None:
    lines = (
        "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nnamePrefix: my-\nresources:\n- graph.yaml\n"
    )
    (folder / "kustomization.yaml").write_text(lines)
    assert Manifest.load(folder).graph_names == ["my-g"]
