"""Two graphs at once, with real processes."""

import pytest
from child import DATA, Run, Sandbox

pytestmark = pytest.mark.dynamo


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("graphs")).robot(DATA / "several_graphs.robot")


def test_each_graph_keeps_what_is_its_own(graphs: Run) -> None:
    assert {name: test.message for name, test in graphs.tests.items() if test.status != "PASS"} == {}


def test_results_of_the_second_graph_lie_in_a_folder_with_its_alias(graphs: Run) -> None:
    """Seen in use, Words: they lay in ``position-agg-2/load``, which nobody was told."""
    (suite,) = (path for path in graphs.sandbox.results.rglob("several_graphs") if path.is_dir())
    assert (suite / "load" / "left" / "load.json").exists()
    assert (suite / "green" / "load" / "right" / "load.json").exists()
    assert (suite / "green" / "graph.yaml").exists()


def test_nothing_is_left(graphs: Run) -> None:
    assert graphs.sandbox.leftovers() == []
