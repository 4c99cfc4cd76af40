"""Two ways to say one thing must say the same, and what is said must have an effect."""

from pathlib import Path

import pytest

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph, Manifest
from DynamoFaultLibrary.graph.edits import MIGRATION_LIMIT, MIGRATION_MAX_SEQ_LEN, Change, Edits, apply_edits
from DynamoFaultLibrary.graph.shipped import find_graph


@pytest.fixture
def graph() -> Graph:
    return Manifest.load(find_graph("position-agg.yaml")).graph()


@pytest.fixture
def frontend_alone(graph: Graph) -> Graph:
    del graph.services["PositionWorker"]
    return graph


def test_options_of_the_frontend_are_obeyed(graph: Graph) -> None:
    """The keyword's own argument, which was not given, took them away again (row 1)."""
    apply_edits(graph, Edits(frontend_args={"--router-mode": "kv", MIGRATION_LIMIT: "3"}))
    assert graph.frontend.argument("--router-mode") == "kv"
    assert graph.frontend.argument(MIGRATION_LIMIT) == "3"


def test_an_option_that_is_named_twice_with_one_value_is_fine(graph: Graph) -> None:
    apply_edits(graph, Edits(frontend_args={MIGRATION_LIMIT: "3"}, migration_limit=3))
    assert graph.frontend.argument(MIGRATION_LIMIT) == "3"


def test_an_option_that_is_named_twice_with_two_values_is_refused(graph: Graph) -> None:
    with pytest.raises(GraphError) as raised:
        apply_edits(graph, Edits(frontend_args={"--router-mode": "kv"}, router_mode="random"))
    assert str(raised.value) == (
        "router_mode=random and frontend_args say different things: frontend_args has --router-mode=kv"
    )


def test_an_empty_value_makes_a_flag(graph: Graph) -> None:
    apply_edits(graph, Edits(frontend_args={"--kv-cache": ""}))
    assert graph.frontend.args[-1] == "--kv-cache"


@pytest.mark.parametrize("limit", [{}, {MIGRATION_LIMIT: "0"}])
def test_a_longest_sequence_without_migration_is_refused(graph: Graph, limit: dict[str, str]) -> None:
    with pytest.raises(GraphError, match=r"^migration_max_seq_len=100 has no effect while migration is off"):
        apply_edits(graph, Edits(frontend_args=limit, migration_max_seq_len=100))
    apply_edits(graph, Edits(frontend_args={MIGRATION_LIMIT: "1"}, migration_max_seq_len=100))
    assert graph.frontend.argument(MIGRATION_MAX_SEQ_LEN) == "100"


def test_two_models_are_refused(graph: Graph) -> None:
    with pytest.raises(GraphError) as raised:
        apply_edits(graph, Edits(model="a", args={"--model-path": "b"}))
    assert str(raised.value) == "model=a and args say different things: args has --model-path=b"


def test_options_for_workers_that_there_are_not_are_refused(frontend_alone: Graph) -> None:
    with pytest.raises(GraphError, match=r"^args=\{'--x': '1'\} has no effect: graph 'position-agg' has no worker"):
        apply_edits(frontend_alone, Edits(args={"--x": "1"}))
    with pytest.raises(GraphError, match=r"^replicas=2 has no effect: graph 'position-agg' has no worker service"):
        apply_edits(frontend_alone, Edits(replicas=2))


MIXED = """
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: mixed}
spec:
  components:
    - {name: North, type: frontend}
    - name: South
      podTemplate: {spec: {containers: [{name: main, command: [sh, -c, exec python3 -m dynamo.frontend]}]}}
    - {name: Planner, type: planner, replicas: 1}
    - name: Router
      podTemplate: {spec: {containers: [{name: main, command: [python3, -m, dynamo.router]}]}}
    - {name: Picker, type: epp}
    - name: Prefill
      type: prefill
      podTemplate: {spec: {containers: [{name: main, command: [python3, -m, dynamo.vllm], args: [--model, x]}]}}
    - name: Decode
      type: worker
      podTemplate: {spec: {containers: [{name: main, command: [sh, -c, python3 -m dynamo.vllm --model x | tee log]}]}}
"""


@pytest.fixture
def mixed(tmp_path: Path) -> Graph:
    (tmp_path / "mixed.yaml").write_text(MIXED)
    return Manifest.load(tmp_path / "mixed.yaml").graph()


def test_what_is_said_of_workers_reaches_workers_alone(mixed: Graph) -> None:
    """A planner, a router and an EPP counted as workers (row 3 of the issue)."""
    changes = apply_edits(mixed, Edits(replicas=3, args={"--seed": "1"}))
    assert changes == [
        Change("Prefill", "replicas=3", "replicas"),
        Change("Decode", "replicas=3", "replicas"),
        Change("Prefill", "--seed=1", "args"),
        Change("Decode", "--seed=1", "shell script in command[2]"),
    ]
    assert [service.replicas for service in mixed.others] == [1, 1, 1]


def test_replicas_by_name_reach_any_service(mixed: Graph) -> None:
    apply_edits(mixed, Edits(replicas={"Planner": 2, "North": 3}))
    assert (mixed.service("Planner").replicas, mixed.service("North").replicas) == (2, 3)
    with pytest.raises(GraphError, match=r"^graph 'mixed' has no service 'Nobody'; it has "):
        apply_edits(mixed, Edits(replicas={"Nobody": 2}))


def test_every_frontend_gets_the_frontends_options(mixed: Graph) -> None:
    changes = apply_edits(mixed, Edits(router_mode="kv"))
    assert changes == [
        Change("North", "--router-mode=kv", "args"),
        Change("South", "--router-mode=kv", "shell script in command[2]"),
    ]
    assert mixed.service("North").container["args"] == ["-m", "dynamo.frontend", "--router-mode", "kv"]
    assert mixed.service("South").container["command"][2] == "exec python3 -m dynamo.frontend --router-mode kv"


def test_variables_reach_all_services(mixed: Graph) -> None:
    changes = apply_edits(mixed, Edits(env={"A": "1"}))
    assert [change.service for change in changes] == list(mixed.services)
    assert all(service.environment == {"A": "1"} for service in mixed.services.values())


def test_a_variable_is_replaced_where_it_stands(graph: Graph) -> None:
    """Later variables may be made of it."""
    worker = graph.service("PositionWorker")
    for name, value in (("A", "1"), ("B", "$(A)/x"), ("A", "2")):
        worker.set_variable(name, value)
    assert worker.environment == {"A": "2", "B": "$(A)/x"}
    assert list(worker.environment) == ["A", "B"]


def test_migration_may_be_on_by_a_variable(graph: Graph) -> None:
    apply_edits(graph, Edits(env={"DYN_MIGRATION_LIMIT": "3"}, migration_max_seq_len=100))
    assert graph.frontend.argument(MIGRATION_MAX_SEQ_LEN) == "100"


def test_settings_of_dynamos_frontend_are_not_given_to_another_program(graph: Graph) -> None:
    graph.frontend.editable_container.update(command=["python3", "door.py"], args=[])
    with pytest.raises(GraphError, match=r"^router_mode=kv has no effect: service 'Frontend' runs door\.py, not "):
        apply_edits(graph, Edits(router_mode="kv"))
    apply_edits(graph, Edits(frontend_args={"--own": "1"}))
    assert graph.frontend.argument("--own") == "1"


@pytest.mark.parametrize(
    ("edits", "message"),
    [
        (
            Edits(router_mode="kv", frontend_args={"--router_mode": "random"}),
            "router_mode=kv and frontend_args say different things: frontend_args has --router_mode=random",
        ),
        (
            Edits(router_mode="kv", env={"DYN_ROUTER_MODE": "random"}),
            "router_mode=kv and env say different things: env has DYN_ROUTER_MODE=random",
        ),
        (
            Edits(model="a", args={"--model_path": "b"}),
            "model=a and args say different things: args has --model_path=b",
        ),
        (
            Edits(args={"-tp": "2", "--tensor-parallel-size": "4"}),
            "args says two things of one option: -tp=2 and --tensor-parallel-size=4",
        ),
        (Edits(args={"--x": "", "--no-x": ""}), "args says two things of one option: --x= and --no-x="),
        (Edits(args={"--tp=4": ""}), "args must have names of options, such as --max-num-seqs, not '--tp=4'"),
        (Edits(frontend_args={"": "x"}), "frontend_args must have names of options, such as --max-num-seqs, not ''"),
        (Edits(args={"--": ""}), "args must have names of options, such as --max-num-seqs, not '--'"),
        (Edits(env={"A=1": "x"}), "env must have names of variables, not 'A=1'"),
        (Edits(model=""), "model must not be empty"),
        (Edits(image=""), "image must not be empty"),
        (Edits(replicas={"PositionWorker": True}), "service 'PositionWorker' needs 1 replica or more, not True"),
    ],
)
def test_what_would_be_lost_is_refused(graph: Graph, edits: Edits, message: str) -> None:
    with pytest.raises(GraphError) as raised:
        apply_edits(graph, edits)
    assert str(raised.value) == message


def test_one_thing_said_twice_is_fine(graph: Graph) -> None:
    apply_edits(graph, Edits(args={"-tp": "2", "--tensor-parallel-size": "2"}, env={"DYN_ROUTER_MODE": "kv"}))
    apply_edits(graph, Edits(router_mode="kv", env={"DYN_ROUTER_MODE": "kv"}))
    assert graph.service("PositionWorker").args[-2:] == ["--tensor-parallel-size", "2"]


@pytest.mark.parametrize("sidecar", ["door", {"image": "x"}])
def test_a_frontend_that_is_only_a_sidecar_is_named(sidecar: object) -> None:
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": {"services": {"W": {"componentType": "worker", "frontendSidecar": sidecar}}},
    }
    with pytest.raises(GraphError) as raised:
        apply_edits(Graph(document, "g.yaml"), Edits(router_mode="kv"))
    assert str(raised.value) == (
        "graph 'g' has no frontend among its services ['W'] (g.yaml); that of ['W'] is a sidecar, whose options are "
        "set in the file"
    )


def test_replicas_by_name_name_a_service(graph: Graph) -> None:
    with pytest.raises(GraphError, match=r"^replicas=\{\} has no effect: it names no service"):
        apply_edits(graph, Edits(replicas={}))
