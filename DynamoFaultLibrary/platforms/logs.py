"""Lines of Dynamo's logs that this library reads, and whether a graph's own log settings let them through.

``DYN_LOG`` is a filter of the Rust crate tracing-subscriber: levels, and levels of targets, with commas between.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph

_LEVELS = ("off", "error", "warn", "info", "debug", "trace")


@dataclass(frozen=True)
class LogLine:
    """A kind of line: who writes it at which level, and what cannot be told without it."""

    target: str
    level: str
    tells: str


ARRIVAL = LogLine("dynamo_llm::http::service::metrics", "info", "which requests the frontend receives, for serving=")
SERVING = LogLine(
    "dynamo_runtime::pipeline::network::ingress::push_handler", "info", "which requests it receives, for serving="
)
MIGRATION = LogLine("dynamo_llm::migration", "warn", "of migrations")


def check_logged(graph: Graph, service: str, line: LogLine) -> None:
    """See that the graph lets a service log such lines.

    Raises:
        DeploymentError: it does not; the message names the variable.
    """
    environment = {**graph.environment, **graph.service(service).environment}
    reason = _hides(environment, line)
    if reason:
        raise DeploymentError(f"the log of '{service}' does not tell {line.tells}: {reason}")


def _hides(environment: Mapping[str, str], line: LogLine) -> str | None:
    if environment.get("DYN_LOGGING_JSONL", "").lower() in ("1", "true", "yes", "on"):
        return "its environment sets DYN_LOGGING_JSONL, and this library reads lines of text; take that away"
    level = _level_of(environment.get("DYN_LOG", ""), line.target)
    if level is not None and _LEVELS.index(level) < _LEVELS.index(line.level):
        return f"its environment has DYN_LOG={environment['DYN_LOG']}, and '{line.level}' is needed"
    return None


def _level_of(setting: str, target: str) -> str | None:
    """The level that a filter gives a target; None when it says nothing of it that we understand."""
    best: tuple[int, str] | None = None
    for directive in setting.lower().split(","):
        prefix, _, level = directive.strip().rpartition("=")
        if level in _LEVELS and target.startswith(prefix) and (best is None or len(prefix) >= best[0]):
            best = (len(prefix), level)
    return best[1] if best else None
