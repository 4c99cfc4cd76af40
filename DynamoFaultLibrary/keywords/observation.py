"""Where a test began to look: what logs and metrics said before it did anything."""

import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.keywords.context import Context, Mark
from DynamoFaultLibrary.platforms.base import Deployment


def begin_observation(context: Context) -> None:
    """Remember logs' lengths, replicas and the frontend's counters, once a test: before its first request or fault.

    Those of all graphs: a fault that hits one must not be found in another one.
    """
    meant = context.deployment
    for deployment in context.deployments:
        with context.chosen(deployment):
            if context.mark is None:
                # Another graph may be unwell, which is no reason to fail; it is looked at when it is meant.
                with suppress(*[] if deployment is meant else [DeploymentError]):
                    context.mark = _look(context, deployment)


def _look(context: Context, deployment: Deployment) -> Mark:
    frontend = deployment.graph.frontend.name
    services = [*deployment.graph.services, *deployment.infrastructure]
    logs = [log for service in services for log in context.platform.logs(deployment, service)]
    return Mark(
        {log: log.stat().st_size for log in logs if log.exists()},
        context.platform.metrics(deployment, frontend),
        {service: context.platform.replicas(deployment, service) for service in services},
    )


def new_text(log: Path, start: int) -> str:
    """What a log has from byte `start` on.

    Raises:
        DeploymentError: the log is missing or empty, so it proves nothing.
    """
    try:
        data = log.read_bytes()
    except OSError as error:
        raise DeploymentError(f"log '{log}' cannot be read: {error.strerror}") from error
    if not data:
        raise DeploymentError(f"log '{log}' is empty, so nothing can be told from it")
    return data[start:].decode(errors="replace")


def counter(texts: dict[str, str], name: str, **labels: str) -> float:
    """Sum of a counter's samples over Prometheus texts; samples must carry `labels`."""
    total = 0.0
    for text in texts.values():
        for family in text_string_to_metric_families(text):
            for sample in family.samples:
                if sample.name == name and labels.items() <= sample.labels.items():
                    total += sample.value
    return total


def counter_growth(context: Context, name: str, **labels: str) -> int:
    """How much a counter of the frontend has grown since the test began to look."""
    frontend = context.deployment.graph.frontend.name
    texts = context.platform.metrics(context.deployment, frontend)
    if not texts:
        raise DeploymentError(f"'{frontend}' does not run, so there are no metrics to read '{name}' from")
    now = counter(texts, name, **labels)
    before = counter(context.mark.metrics, name, **labels) if context.mark else 0.0
    return round(now - before)


@dataclass(frozen=True)
class Migrations:
    """Migrations since the test began to look, by metric and by log.

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
    """Read metric and log."""
    logs = context.platform.logs(context.deployment, context.deployment.graph.frontend.name)
    starts = context.mark.log_sizes if context.mark else {}
    text = "\n".join(new_text(log, starts.get(log, 0)) for log in logs)
    attempted = counter_growth(context, "dynamo_frontend_model_migration_total", migration_type="ongoing_request")
    return Migrations(attempted, len(_RECREATED.findall(text)), len(_FAILED.findall(text)))
