"""``dynamo-fault graph``: what it prints, what it refuses and with which status, and that it leaves nothing."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner, Result

from DynamoFaultLibrary.cli import main

SEVERAL = """\
# two graphs and what they share
apiVersion: v1
kind: ConfigMap
metadata: {{name: settings}}
data: {{LEVEL: info}}
---
{blue}
---
{green}
"""
GRAPH = """\
apiVersion: nvidia.com/v1alpha1
kind: DynamoGraphDeployment
metadata: {{name: {name}}}
spec:
  services:
    Frontend:
      componentType: frontend
      extraPodSpec: {{mainContainer: {{command: [python3, -m, dynamo.frontend]}}}}
    Worker:
      componentType: worker
      extraPodSpec:
        mainContainer: {{command: [python3, -m, dynamo.mocker], args: [--model-path, tiny-model]}}
"""


@pytest.fixture
def graph(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Calls the command in a folder with two files: one graph, and several."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    Path("one.yaml").write_text(GRAPH.format(name="one"), encoding="utf-8")
    blue, green = GRAPH.format(name="blue"), GRAPH.format(name="green")
    Path("several.yaml").write_text(SEVERAL.format(blue=blue, green=green), encoding="utf-8")

    def call(*arguments: str) -> Result:
        result = CliRunner().invoke(main, ["graph", *arguments])
        assert not Path("state").exists(), "it leaves nothing behind"
        return result

    return call


def setting(*settings: str) -> list[str]:
    return [part for each in settings for part in ("--set", each)]


def words(table: str, title: str) -> list[list[str]]:
    """Rows of the table under a title, by words."""
    lines = table[table.index(f"\n{title}\n") :].splitlines()[5:]
    return [line.split() for line in lines[: lines.index("") if "" in lines else None]]


def test_each_edit_is_told_and_made(graph: Callable[..., Result]) -> None:
    edits = setting("replicas=3", "args.--max-num-seqs=7", "args.--flag=", "env.A=b=c", "migration_limit=2")
    result = graph("one.yaml", *edits)
    assert result.exit_code == 0, result.output
    told = {(service, edit) for service, edit, *_ in words(result.stdout, "Edits")}
    assert told == {
        ("Worker", "replicas=3"),
        ("Worker", "--max-num-seqs=7"),
        ("Worker", "--flag"),
        ("Worker", "A=b=c"),
        ("Frontend", "A=b=c"),
        ("Frontend", "--migration-limit=2"),
    }
    processes = words(result.stdout, "Would run here")
    (worker,) = (row for row in processes if row[0] == "Worker-0")
    assert worker[:3] == ["Worker-0", "…", "Worker-2"]
    assert worker[-3:] == ["--max-num-seqs", "7", "--flag"]


def test_the_yaml_is_that_of_all_documents_with_the_edits_of_one_graph(graph: Callable[..., Result]) -> None:
    result = graph("several.yaml#green", *setting("replicas.Worker=4"), "--yaml")
    settings, blue, green = yaml.safe_load_all(result.stdout)
    assert settings["kind"] == "ConfigMap"
    assert "replicas" not in blue["spec"]["services"]["Worker"]
    assert green["spec"]["services"]["Worker"]["replicas"] == 4


def test_the_yaml_can_be_written_to_a_file(graph: Callable[..., Result]) -> None:
    told = graph("one.yaml", *setting("replicas=2"), "--yaml").stdout
    result = graph("one.yaml", *setting("replicas=2"), "-o", "edited.yaml")
    assert result.exit_code == 0
    assert Path("edited.yaml").read_text(encoding="utf-8") == told
    assert words(result.stdout, "Edits")
    assert refused(graph("one.yaml", "-o", "nowhere/edited.yaml"), 1).startswith("cannot write 'nowhere/edited.yaml': ")


def test_json_says_what_the_tables_say(graph: Callable[..., Result]) -> None:
    found = json.loads(graph("several.yaml", "--graph", "blue", *setting("router_mode=kv"), "--json").stdout)
    assert found["graph"] == "blue"
    assert [(each["name"], each["role"], each["model"]) for each in found["services"]] == [
        ("Frontend", "frontend", None),
        ("Worker", "worker", "tiny-model"),
    ]
    assert [(each["service"], each["what"], each["why_not"]) for each in found["edits"]] == [
        ("Frontend", "--router-mode=kv", "")
    ]
    assert {each["name"] for each in found["processes"]} == {"Worker-0", "Frontend-0"}
    assert found["refused_here"] is None


def test_a_graph_that_cannot_run_here_is_shown_all_the_same(graph: Callable[..., Result]) -> None:
    result = graph("one.yaml", *setting("model=./nowhere"))
    assert result.exit_code == 0
    assert words(result.stdout, "Edits")


def refused(result: Result, status: int) -> str:
    assert (result.exit_code, result.stdout) == (status, ""), result.output
    sentence = result.stderr.strip().splitlines()[-1]
    assert sentence.startswith("Error: ")
    return sentence.removeprefix("Error: ")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("nowhere.yaml",), "no graph file 'nowhere.yaml' in "),
        (("several.yaml#red",), "'several.yaml' holds no graph 'red'; it has ['blue', 'green']"),
        (("several.yaml#blue", "--graph", "green"), "graph=green and 'several.yaml#blue' say different things: "),
        (("#",), "'#' must be a file, or a file and the name of a graph in it: graphs.yaml#name"),
        (("one.yaml#",), "'one.yaml#' must be a file, or a file and the name of a graph in it: graphs.yaml#name"),
        (("one.yaml", "--set", "replicas.Decode=2"), "graph 'one' has no service 'Decode'; "),
        (
            ("one.yaml", "--set", "router_mode=kv", "--set", "frontend_args.--router-mode=random"),
            "router_mode=kv and frontend_args say different things: ",
        ),
    ],
    ids=" ".join,
)
def test_a_file_or_an_edit_that_is_refused_ends_with_1(
    graph: Callable[..., Result], arguments: tuple[str, ...], said: str
) -> None:
    assert refused(graph(*arguments), 1).replace(f"{Path.cwd()}/", "").startswith(said)


def test_several_graphs_want_a_name(graph: Callable[..., Result]) -> None:
    assert "['blue', 'green']" in refused(graph("several.yaml"), 1)


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        ("replica=3", "--set has no 'replica'; did you mean replicas?"),
        ("discovery=etcd", "--set has no 'discovery'; it knows model, image, router_mode, replicas, "),
        ("replicas", "--set replicas needs a value: replicas=…"),
        ("replicas=0", "--set replicas must be a whole number of 1 or more, not 0"),
        ("replicas.Worker=many", "--set replicas must be a whole number of 1 or more, not many"),
        ("migration_limit=-1", "--set migration_limit must be a whole number of 0 or more, not -1"),
        ("model=", "--set model= must not be empty"),
        ("model.Worker=x", "--set model.Worker=x: model has no parts; write model=…"),
        ("args=--flag", "--set args=--flag must say which: args.--option=…"),
        ("args.max-num-seqs=7", "--set args.max-num-seqs=7: an option begins with '-', as in args.--max-num-seqs=…"),
        ("args.--flag", "--set args.--flag needs a value: args.--flag=… (with nothing behind '=' it is a flag)"),
        ("env.=x", "--set env.=x must say which: env.NAME=…"),
        ("=x", "--set has no ''; it knows "),
    ],
)
def test_a_wrong_setting_ends_with_2(graph: Callable[..., Result], edit: str, said: str) -> None:
    assert refused(graph("one.yaml", "--set", edit), 2).startswith(said)


@pytest.mark.parametrize(
    ("edits", "said"),
    [
        (("model=a", "model=b"), "--set model is given twice, and not with the same value"),
        (("env.A=1", "env.A=2"), "--set env.A is given twice, and not with the same value"),
        (("replicas=2", "replicas.Worker=3"), "--set replicas=2 and --set replicas.Worker=3 speak of the same"),
        (("replicas.Worker=3", "replicas=2"), "--set replicas=2 and --set replicas.Worker=… speak of the same"),
    ],
    ids=" ".join,
)
def test_two_settings_of_the_same_end_with_2(graph: Callable[..., Result], edits: tuple[str, ...], said: str) -> None:
    assert refused(graph("one.yaml", *setting(*edits)), 2) == said


def test_yaml_goes_with_no_other_output(graph: Callable[..., Result]) -> None:
    assert refused(graph("one.yaml", "--yaml", "--json"), 2) == "--yaml prints nothing but the YAML; leave out --json"
    assert "leave out --output" in refused(graph("one.yaml", "--yaml", "-o", "x.yaml"), 2)


def test_a_file_whose_own_name_has_a_hash_is_found(graph: Callable[..., Result]) -> None:
    Path("one.yaml").rename("a#one.yaml")
    assert graph("a#one.yaml").exit_code == 0
    assert graph("a#one.yaml#one").exit_code == 0
