"""Two ways to say one thing must say the same, and what is said must have an effect."""

import pytest

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.graph.edits import (
    MIGRATION_LIMIT,
    MIGRATION_MAX_SEQ_LEN,
    set_frontend_arguments,
    set_model_and_arguments,
    set_replicas,
)
from DynamoFaultLibrary.graph.shipped import find_graph

NOTHING = {
    "--router-mode": ("router_mode", None),
    MIGRATION_LIMIT: ("migration_limit", None),
    MIGRATION_MAX_SEQ_LEN: ("migration_max_seq_len", None),
}


@pytest.fixture
def graph() -> Graph:
    return Graph.load(find_graph("position-agg.yaml"))


@pytest.fixture
def frontend_alone(graph: Graph) -> Graph:
    del graph.services["PositionWorker"]
    return graph


def test_options_of_the_frontend_are_obeyed(graph: Graph) -> None:
    """The keyword's own argument, which was not given, took them away again (row 1)."""
    set_frontend_arguments(graph, {"--router-mode": "kv", MIGRATION_LIMIT: "3"}, NOTHING)
    assert graph.frontend.argument("--router-mode") == "kv"
    assert graph.frontend.argument(MIGRATION_LIMIT) == "3"


def test_an_option_that_is_named_twice_with_one_value_is_fine(graph: Graph) -> None:
    set_frontend_arguments(graph, {MIGRATION_LIMIT: "3"}, {MIGRATION_LIMIT: ("migration_limit", 3)})
    assert graph.frontend.argument(MIGRATION_LIMIT) == "3"


def test_an_option_that_is_named_twice_with_two_values_is_refused(graph: Graph) -> None:
    with pytest.raises(GraphError) as raised:
        set_frontend_arguments(graph, {"--router-mode": "kv"}, {"--router-mode": ("router_mode", "random")})
    assert str(raised.value) == (
        "router_mode=random and frontend_args say different things: frontend_args has --router-mode=kv"
    )


def test_an_empty_value_makes_a_flag(graph: Graph) -> None:
    set_frontend_arguments(graph, {"--kv-cache": ""}, NOTHING)
    assert graph.frontend.args[-1] == "--kv-cache"


@pytest.mark.parametrize("limit", [{}, {MIGRATION_LIMIT: "0"}])
def test_a_longest_sequence_without_migration_is_refused(graph: Graph, limit: dict[str, str]) -> None:
    own = {MIGRATION_MAX_SEQ_LEN: ("migration_max_seq_len", 100)}
    with pytest.raises(GraphError, match=r"^migration_max_seq_len=100 has no effect while migration is off"):
        set_frontend_arguments(graph, limit, own)
    set_frontend_arguments(graph, {MIGRATION_LIMIT: "1"}, own)


def test_two_models_are_refused(graph: Graph) -> None:
    with pytest.raises(GraphError) as raised:
        set_model_and_arguments(graph, "a", {"--model-path": "b"})
    assert str(raised.value) == "model=a and args say different things: args has --model-path=b"


def test_options_for_workers_that_there_are_not_are_refused(frontend_alone: Graph) -> None:
    with pytest.raises(GraphError, match=r"^args=\{'--x': '1'\} has no effect: graph 'position-agg' has no worker"):
        set_model_and_arguments(frontend_alone, None, {"--x": "1"})
    with pytest.raises(GraphError, match=r"^replicas=2 has no effect: graph 'position-agg' has no worker service"):
        set_replicas(frontend_alone, 2)
