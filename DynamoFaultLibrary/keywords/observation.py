"""Where a test began to look: which replicas ran, and what metrics and logs said before it did anything."""

import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unready
from DynamoFaultLibrary.keywords.context import Context, Mark
from DynamoFaultLibrary.platforms.base import Deployment, read_metrics
from DynamoFaultLibrary.platforms.log_store import Log, flushed, text_of
from DynamoFaultLibrary.platforms.logs import MIGRATION, check_logged
from DynamoFaultLibrary.platforms.metrics import samples
from DynamoFaultLibrary.platforms.readiness import TIMEOUT

_QUICK_S = 1.0
"""Seconds that a frontend gets at the beginning of each test; before a first request or fault it is asked again."""

_LOOK_S = 0.02
"""Seconds between two looks at metrics or logs at least: each costs CPU, which is wanted for other things here."""

TEST, DEPLOYMENT = "this test began", "it was deployed"


def observe(context: Context, deployment: Deployment, since: str) -> Mark:
    """Remember what a deployment is like now; what a fault of ours keeps from answering is not asked."""
    services = [*deployment.graph.services, *deployment.infrastructure]
    mark = Mark(since, {service: context.platform.replicas(deployment, service) for service in services})
    context.marks[deployment.name] = mark
    faults = [fault for fault in context.faults if fault.entry.target.get("deployment") == deployment.name]
    if not any(fault.entry.state.is_open for fault in faults):
        _read_counters(context, deployment, mark, _QUICK_S)
    return mark


def observe_all(context: Context) -> None:
    """The beginning of a test: all that is up. A deployment that cannot be seen has no mark, and no check passes."""
    context.marks.clear()
    for deployment in context.deployments:
        with suppress(FaultLibraryError):
            observe(context, deployment, TEST)


def begin_observation(context: Context) -> None:
    """Before a test's first request or fault: what the frontend could not tell before, it is asked now."""
    mark = context.marks.get(context.deployment.name)
    if mark is not None and mark.metrics is None:
        _read_counters(context, context.deployment, mark, TIMEOUT)


def mark_of(context: Context) -> Mark:
    """What the deployment was like when the test began.

    Raises:
        DeploymentError: it could not be seen then.
    """
    deployment = context.deployment
    if deployment.name not in context.marks:
        raise DeploymentError(
            f"deployment '{deployment.name}' could not be seen when this test began, so nothing can be compared"
        )
    return context.marks[deployment.name]


def _read_counters(context: Context, deployment: Deployment, mark: Mark, timeout_s: float) -> None:
    frontend = deployment.graph.frontend.name
    with suppress(DeploymentError):
        mark.metrics = read_metrics(context.platform, deployment, frontend, timeout_s=timeout_s) or None


def new_text(context: Context, log: Log, whole: bool = False) -> str:
    """What a log has gained since the test began; all of it with `whole`. For absence, flush it first.

    Raises:
        DeploymentError: the log is missing or empty, so it proves nothing.
    """
    start = 0 if whole else context.log_start(log)
    text = text_of(log, start)
    if not text and not start:
        raise DeploymentError(f"log '{log}' is empty, so nothing can be told from it")
    return text


def wait_for(context: Context, condition: Callable[[], bool], timeout: timedelta) -> bool:
    """Wait until metrics or logs say something: True; False after `timeout`."""
    return wait_until(condition, timeout, max(_LOOK_S, context.platform.poll_s))


def counter(texts: dict[str, str], name: str, **labels: str) -> float:
    """Sum of a counter's samples over Prometheus texts; samples must carry `labels`."""
    found = (sample for _, sample in samples(texts, name) if labels.items() <= sample.labels.items())
    return float(sum(sample.value for sample in found))


def counter_growth(context: Context, name: str, **labels: str) -> int:
    """How much a counter of the frontend has grown since the test began.

    Raises:
        DeploymentError: what it was then is not known, or does not compare with what it is now.
    """
    frontend = context.deployment.graph.frontend.name
    mark = mark_of(context)
    if mark.metrics is None:
        raise DeploymentError(f"'{frontend}' did not tell its metrics when {mark.since}, so '{name}' has no beginning")
    now = context.platform.replicas(context.deployment, frontend)
    if not now:
        raise Unready(f"'{frontend}' does not run, so there are no metrics to read '{name}' from")
    if now != mark.replicas[frontend]:
        raise DeploymentError(
            f"'{frontend}' is not the process any more that it was when {mark.since}: what '{name}' had counted is lost"
        )
    texts = read_metrics(context.platform, context.deployment, frontend)
    return round(counter(texts, name, **labels) - counter(mark.metrics, name, **labels))


@dataclass(frozen=True)
class Migrations:
    """Migrations since the test began, by metric and by log.

    `attempted` is ``dynamo_frontend_model_migration_total{migration_type="ongoing_request"}``, which Dynamo counts even
    when the limit is 0; `failed` and `recreated` are lines in the frontend's log.
    """

    attempted: int
    recreated: int
    failed: int

    @property
    def completed(self) -> int:
        """Streams that went on with another worker."""
        return self.recreated - self.failed

    @property
    def agree(self) -> bool:
        """Whether metric and log tell the same."""
        return self.attempted == self.recreated


_RECREATED = re.compile(r"Stream disconnected, recreating stream")
_FAILED = re.compile(r"Cannot recreate stream")


def read_migrations(context: Context) -> Migrations:
    """Read metric and log.

    Raises:
        DeploymentError: one of them cannot tell.
    """
    graph = context.deployment.graph
    check_logged(graph, graph.frontend.name, MIGRATION)
    logs = flushed(context.platform.logs(context.deployment, graph.frontend.name))
    text = "\n".join(new_text(context, log) for log in logs)
    attempted = counter_growth(context, "dynamo_frontend_model_migration_total", migration_type="ongoing_request")
    return Migrations(attempted, len(_RECREATED.findall(text)), len(_FAILED.findall(text)))
