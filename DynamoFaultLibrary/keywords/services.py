"""Keywords that look at a service's replicas: their metrics, and whether they still are the same processes."""

import re
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta
from difflib import get_close_matches
from time import sleep
from typing import TypeVar

from prometheus_client.samples import Sample
from robot.api.deco import keyword

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unready
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Component, Count, Number, Operator, check
from DynamoFaultLibrary.keywords.context import Mark, UnorderedEnd
from DynamoFaultLibrary.keywords.ends import is_ordered
from DynamoFaultLibrary.keywords.observation import mark_of
from DynamoFaultLibrary.platforms.base import read_metrics
from DynamoFaultLibrary.platforms.metrics import samples
from DynamoFaultLibrary.platforms.readiness import known_instances
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Replica
from DynamoFaultLibrary.reports.timeline import EventKind
from DynamoFaultLibrary.times import check_time

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
        replica has is an error, never 0. Optionally asserts the value, see `Assertions`; with ``timeout`` the metric
        may still come, and become what it should be: Dynamo shows a counter with labels from its first count on.

        Example:
        | `Get Metric` | VllmWorker | dynamo_component_inflight_requests | ``==`` | 0 | timeout=5 s |
        | `Get Metric` | Frontend | dynamo_frontend_requests_total{status="success"} | > | 0 |
        """
        name, labels = _parse(selector)
        check_time("timeout", timeout, may_be_zero=True)

        def look() -> float:
            value = self._metric(service, name, labels)
            return float(check(value, assertion_operator, assertion_expected, f"{selector} of {service}", message))

        return until_it_holds(look, timeout, self.context.platform.poll_s)

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
        check_time("timeout", timeout, may_be_zero=True)

        def look() -> int:
            try:
                value = len(known_instances(deployment.url))
            except (OSError, ValueError) as error:
                raise Unready(f"the frontend does not tell its workers at {deployment.url}: {error}") from error
            return int(check(value, assertion_operator, assertion_expected, "Workers known to the frontend", message))

        return until_it_holds(look, timeout, self.context.platform.poll_s)

    @keyword(tags=["Check", "Wait"])
    @on_graph
    def service_should_exit_by_itself(
        self, service: str, replica: int | str | None = None, *, timeout: timedelta = timedelta(seconds=30)
    ) -> None:
        """Waits until all replicas of a service, or the one of that index, have ended.

        Checks the replicas that ran when this test began, or when the graph was deployed if that was later. Fails when
        one still runs after ``timeout``, when one was killed by a signal, and when a fault of this library ended it.

        Example:
        | `Kill Etcd Leader` | force=True |
        | `Service Should Exit By Itself` | Frontend |
        """
        check_time("timeout", timeout)
        mark, replicas = self._first_replicas(service)
        wanted = [one for one in replicas if replica is None or str(replica) in (str(one.index), one.name)]
        if not wanted:
            there = [one.index for one in replicas]
            raise DeploymentError(f"no replica {replica} of '{service}' ran when {mark.since}; there were {there}")
        deadline = monotonic() + timeout.total_seconds()
        for one in wanted:
            self._wait_exit(one, deadline, timeout)

    def _wait_exit(self, one: Replica, deadline: float, timeout: timedelta) -> None:
        platform = self.context.platform
        ended = platform.wait_exit(one, timedelta(seconds=max(0.0, deadline - monotonic())))
        if ended is None:
            limit = seconds_text(timeout.total_seconds())
            raise AssertionError(f"{one.name} still runs after {limit} (log: {one.log})")
        deployment = self.context.deployment
        ordered = is_ordered(self.context, EndedReplica(one, ended))
        again = [other for other in platform.replicas(deployment, one.service) if other.index == one.index]
        was_replaced = one.incarnation not in [end.replica.incarnation for end in platform.ended(deployment)]
        if ended.signal is not None or ordered or was_replaced:
            how = f"it was {ended.how}" if ended.signal is not None else f"it ended with {ended.how}"
            how += ", by a fault of this test" if ordered else ""
            if was_replaced:
                since = f" as {again[0].incarnation}" if again else ", and has ended since"
                how = f"it was started again{since}"
            raise AssertionError(f"{one.name} did not exit by itself: {how} (log: {one.log})")
        self.context.unordered_ends[one.incarnation] = UnorderedEnd(ended.at, f"{one.name} ended with {ended.how}")
        self.note(EventKind.FAULT, f"{one.name} has exited by itself: {ended.how}", ended.at)

    @keyword(tags=["Check"])
    @on_graph
    def service_should_not_have_restarted(self, service: str) -> None:
        """Fails unless a service's replicas are the processes that they were when this test began.

        Where the graph was deployed later, it counts from then on. The log says since when. A replica that ended before
        that, though no fault of this library ended it, fails it as well, unless it was started again.
        """
        running = self.context.platform.replicas(self.context.deployment, service)
        mark, replicas = self._first_replicas(service)
        for replica in replicas:
            if replica not in running:
                now = [other.incarnation for other in running if other.index == replica.index]
                what = f"was restarted since {mark.since}" if now else f"has ended since {mark.since}"
                present = f", it is {now[0]}" if now else ""
                raise AssertionError(
                    f"{replica.name} {what} (it was {replica.incarnation}{present}; log: {replica.log})"
                )
        deployment = self.context.deployment
        for end in self.context.platform.ended(deployment):
            if end.replica.service == service and not is_ordered(self.context, end):
                raise AssertionError(f"{end} before {mark.since}, and was not started again (log: {end.replica.log})")
        names = ", ".join(f"{replica.name} ({replica.incarnation})" for replica in replicas)
        self.info(f"the same since {mark.since}: {names}")

    def _first_replicas(self, service: str) -> tuple[Mark, list[Replica]]:
        """The replicas of a service that ran when the test began, and when that was."""
        self.context.platform.replicas(self.context.deployment, service)  # fails for an unknown service
        mark = mark_of(self.context)
        replicas = mark.replicas[service]
        if not replicas:
            raise DeploymentError(f"no replica of '{service}' ran when {mark.since}")
        return mark, replicas

    def _metric(self, service: str, name: str, labels: dict[str, str]) -> float:
        texts = read_metrics(self.context.platform, self.context.deployment, service)
        if not texts:
            raise Unready(f"'{service}' does not run, so there are no metrics to read '{name}' from")
        told = [sample for _, sample in samples(texts)]
        named = [sample for sample in told if sample.name == name]
        found = [sample.value for sample in named if labels.items() <= sample.labels.items()]
        if not found:
            raise MetricMissing(_not_there(service, name, labels, named, {sample.name for sample in told}))
        return float(sum(found))


class MetricMissing(DeploymentError):  # noqa: N818  # a counter with labels may still come
    """No running replica of a service shows this metric."""


def _not_there(service: str, name: str, labels: dict[str, str], named: Sequence[Sample], names: Collection[str]) -> str:
    if named:
        there = [sample.labels for sample in named]
        return f"no replica of '{service}' has the metric '{name}' with labels {labels}; it has {there}"
    near = get_close_matches(name, sorted(names))
    proposal = f"; did you mean {' or '.join(near)}?" if near else ", nor one with a similar name"
    return f"no replica of '{service}' has the metric '{name}'{proposal}"


def _parse(selector: str) -> tuple[str, dict[str, str]]:
    """Name and labels of a selector as Prometheus writes them, equality alone."""
    found = _SELECTOR.fullmatch(selector)
    if found is None:
        raise FaultLibraryError(f"'{selector}' is not a metric; write name, or name{{label=\"value\", …}}")
    return found["name"], dict(_LABEL.findall(found["labels"] or ""))


def until_it_holds(look: Callable[[], Value], timeout: timedelta, poll_s: float) -> Value:
    """What `look` returns, as soon as the value is there and as it should be; after `timeout` its failure."""
    deadline = monotonic() + timeout.total_seconds()
    while True:
        try:
            return look()
        except (AssertionError, MetricMissing):
            if monotonic() >= deadline:
                raise
        sleep(max(INTERVAL, poll_s))
