"""Log settings of a graph that hide what the library reads are told, instead of waiting in vain (row 19)."""

import pytest

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph, Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.platforms.logs import ARRIVAL, MIGRATION, SERVING, LogLine, check_logged


def graph(**environment: str) -> Graph:
    found = Manifest.load(find_graph("position-agg.yaml")).graph()
    for name, value in environment.items():
        found.frontend.set_variable(name, value)
    return found


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("error", MIGRATION),
        ("off", MIGRATION),
        ("warn", ARRIVAL),
        ("WARN", SERVING),
        ("info,dynamo_llm=error", MIGRATION),
        ("debug,dynamo_llm::http=warn", ARRIVAL),
        ("dynamo_llm=info,warn,dynamo_llm::http::service=error", ARRIVAL),
    ],
)
def test_a_level_that_hides_the_lines_is_refused(setting: str, line: LogLine) -> None:
    with pytest.raises(DeploymentError) as raised:
        check_logged(graph(DYN_LOG=setting), "Frontend", line)
    assert str(raised.value) == (
        f"the log of 'Frontend' does not tell {line.tells}: its environment has DYN_LOG={setting}, "
        f"and '{line.level}' is needed"
    )


@pytest.mark.parametrize(
    ("setting", "line"),
    [
        ("", ARRIVAL),
        ("info", ARRIVAL),
        ("trace", ARRIVAL),
        ("warn", MIGRATION),
        ("error,dynamo_llm=info", ARRIVAL),
        ("warn,dynamo_llm::migration=debug", MIGRATION),
        ("something=error", MIGRATION),
        ("[span]", ARRIVAL),
    ],
)
def test_a_level_that_lets_them_through_is_fine(setting: str, line: LogLine) -> None:
    check_logged(graph(DYN_LOG=setting), "Frontend", line)


@pytest.mark.parametrize("value", ["1", "true"])
def test_logs_in_json_are_refused(value: str) -> None:
    with pytest.raises(DeploymentError, match="its environment sets DYN_LOGGING_JSONL, and this library reads lines"):
        check_logged(graph(DYN_LOGGING_JSONL=value), "Frontend", MIGRATION)
    check_logged(graph(DYN_LOGGING_JSONL="0"), "Frontend", MIGRATION)
