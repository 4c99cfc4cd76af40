"""Keywords that look at a service's replicas: their metrics, and whether they still are the same processes."""

import re
from collections.abc import Callable
from datetime import timedelta
from time import sleep
from typing import TypeVar

from prometheus_client.parser import text_string_to_metric_families
from robot.api.deco import keyword

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Component, Count, Number, Operator, check
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.platforms.base import Replica, Signalling, require
from DynamoFaultLibrary.platforms.readiness import known_instances
from DynamoFaultLibrary.reports.timeline import EventKind

Value = TypeVar("Value")
_LABEL = re.compile(r'(\w+)="([^"]*)"')
_SELECTOR = re.compile(r'(?P<name>[\w:]+)(\{(?P<labels>(\w+="[^"]*"(, *)?)*)\})?')
INTERVAL = 0.02
"""Seconds between two looks at a value that is expected to change."""


class ServiceKeywords(Component):
    """Get Metric, Service Should Exit By Itself, Service Should Not Have Restarted."""

    @keyword(tags=["Getter"])
    @on_graph
    def get_metric(
        self,
        service: str,
        selector: str,
        assertion_operator: Operator = None,
        assertion_expected: Number | None = None,
        message: str | None = None,
        *,
        timeout: timedelta = timedelta(0),
    ) -> float:
        """Returns a Prometheus metric, summed over the running replicas of a service and over all its samples.

        The ``selector`` is a name, and labels in braces if only samples with these are to count. A metric that no
        replica has is an error, never 0. Optionally asserts the value, see `Assertions`; with ``timeout`` it may still
        become what it should be.

        Example:
        | `Get Metric` | VllmWorker | dynamo_component_inflight_requests | ``==`` | 0 | timeout=5 s |
        | `Get Metric` | Frontend | dynamo_frontend_requests_total{status="success"} | > | 0 |
        """
        name, labels = _parse(selector)

        def look() -> float:
            value = self._metric(service, name, labels)
            return float(check(value, assertion_operator, assertion_expected, f"{selector} of {service}", message))

        return until_it_holds(look, timeout)

    @keyword(tags=["Getter"])
    @on_graph
    def get_known_workers(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        timeout: timedelta = timedelta(0),
    ) -> int:
        """Returns how many worker instances the frontend routes to, by its ``/health``.

        Discovery keeps a worker that died or hangs until its lease ends, after 10 s by default (``ETCD_LEASE_TTL``).
        Optionally asserts the value, see `Assertions`; with ``timeout`` it may still become what it should be.

        Example:
        | `Get Known Workers` | ``==`` | 1 | timeout=15 s |
        """
        deployment = self.context.deployment

        def look() -> int:
            try:
                value = len(known_instances(deployment.url))
            except (OSError, ValueError) as error:
                raise DeploymentError(f"the frontend does not tell its workers at {deployment.url}: {error}") from error
            return int(check(value, assertion_operator, assertion_expected, "Workers known to the frontend", message))

        return until_it_holds(look, timeout)

    @keyword(tags=["Check", "Wait"])
    @on_graph
    def service_should_exit_by_itself(
        self, service: str, replica: int | None = None, *, timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        """Waits until all replicas of a service, or the one of that index, have ended.

        Meant are those that ran at this test's first request, load or fault. Fails when one still runs after
        ``timeout``, and when one was killed by a signal instead.

        Example:
        | `Kill Etcd Leader` | force=True |
        | `Service Should Exit By Itself` | Frontend |
        """
        platform = require(self.context.platform, Signalling)  # type: ignore[type-abstract]  # a protocol is meant
        deadline = monotonic() + timeout.total_seconds()
        for one in self._first_replicas(service):
            if replica is not None and one.index != replica:
                continue
            ended = platform.wait_exit(one, timedelta(seconds=max(0.0, deadline - monotonic())))
            if ended is None:
                limit = seconds_text(timeout.total_seconds())
                raise AssertionError(f"{one.name} still runs after {limit} (log: {one.log})")
            if ended.signal is not None:
                raise AssertionError(f"{one.name} did not exit by itself, it was {ended.how} (log: {one.log})")
            self.note(EventKind.FAULT, f"{one.name} has exited by itself: {ended.how}", ended.at)

    @keyword(tags=["Check"])
    @on_graph
    def service_should_not_have_restarted(self, service: str) -> None:
        """Fails unless a service's replicas are the processes that they were at this test's first request or fault."""
        running = self.context.platform.replicas(self.context.deployment, service)
        for replica in self._first_replicas(service):
            if replica not in running:
                raise AssertionError(
                    f"{replica.name} is not the process {replica.process.pid} any more that it was (log: {replica.log})"
                )

    def _first_replicas(self, service: str) -> list[Replica]:
        begin_observation(self.context)
        assert self.context.mark is not None  # noqa: S101  # it was made just now
        replicas = self.context.mark.replicas.get(service)
        if not replicas:
            raise DeploymentError(f"no replica of '{service}' ran when this test began")
        return replicas

    def _metric(self, service: str, name: str, labels: dict[str, str]) -> float:
        texts = self.context.platform.metrics(self.context.deployment, service)
        if not texts:
            raise DeploymentError(f"'{service}' does not run, so there are no metrics to read '{name}' from")
        samples = [
            sample
            for text in texts.values()
            for family in text_string_to_metric_families(text)
            for sample in family.samples
            if sample.name == name
        ]
        found = [sample.value for sample in samples if labels.items() <= sample.labels.items()]
        if not found:
            there = [sample.labels for sample in samples]
            raise DeploymentError(
                f"no replica of '{service}' has the metric '{name}' with labels {labels}; has {there}"
            )
        return float(sum(found))


def _parse(selector: str) -> tuple[str, dict[str, str]]:
    """Name and labels of a selector as Prometheus writes them, equality alone."""
    found = _SELECTOR.fullmatch(selector)
    if found is None:
        raise FaultLibraryError(f"'{selector}' is no metric; write name, or name{{label=\"value\", …}}")
    return found["name"], dict(_LABEL.findall(found["labels"] or ""))


def until_it_holds(look: Callable[[], Value], timeout: timedelta) -> Value:
    """What `look` returns, as soon as it does not fail with an assertion; after `timeout` its failure."""
    deadline = monotonic() + timeout.total_seconds()
    while True:
        try:
            return look()
        except AssertionError:
            if monotonic() >= deadline:
                raise
        sleep(INTERVAL)
