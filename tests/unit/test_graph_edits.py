"""Two ways to say one thing must say the same, and what is said must have an effect."""

import pytest

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph, Manifest
from DynamoFaultLibrary.graph.edits import MIGRATION_LIMIT, MIGRATION_MAX_SEQ_LEN, Edits, apply_edits
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
