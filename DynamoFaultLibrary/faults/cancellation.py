"""Clients that hang up on their requests, and servers that must notice.

A worker of Dynamo 1.4.2 learns of a cancellation in two ways that race: it is told, and counts a cancellation; or its
answer finds nobody who reads it, and it counts an error ``publish_response``, often but not always besides.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, LoadError
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record, RequestSpec
from DynamoFaultLibrary.platforms.base import Deployment, Observing, read_metrics
from DynamoFaultLibrary.platforms.effects import Effect
from DynamoFaultLibrary.platforms.metrics import samples

FRONTEND_METRIC = "dynamo_frontend_model_cancellation_total"
WORKER_METRIC = "dynamo_component_cancellation_total"
UNREAD_METRIC = "dynamo_component_errors_total"
_POLL_S = 0.01
"""Seconds between two looks at counters, at least."""

_ENDPOINTS = {Endpoint.COMPLETION: "completions", Endpoint.CHAT: "chat_completions"}


@dataclass
class CancelRequests(Effect):
    """The client's ends of some requests are closed while these are in flight; that is no platform's matter."""

    platform: Observing
    deployment: Deployment
    requests: Sequence[Request]
    timeout: timedelta = timedelta(seconds=5)
    _frontend: Counter[str] = field(init=False)
    _workers: Counter[str] = field(init=False)
    """Both ways in which workers learn of it, by replica and way."""
    _records: list[Record] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if not self.requests:
            raise FaultError("no request to cancel was given")
        self._frontend, self._workers = self._cancelled_requests(), self._cancelled_work()

    @property
    def facts(self) -> dict[str, Any]:
        ids = [request.id for request in self.requests]
        named = ids[0] if len(ids) == 1 else f"{len(ids)} requests"
        return {"replica": named, "requests": ids}

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "nothing"}

    def apply(self) -> None:
        self.applied_s = monotonic()
        for request in self.requests:
            request.sender.command("cancel", id=request.id)

    def prove(self) -> list[str]:
        self._records = [self._hung_up(request) for request in self.requests]
        self.effective_s = min(record.ended_monotonic_s for record in self._records)
        wanted = Counter(_kind(request.spec) for request in self.requests)
        frontend, workers = Counter[str](), Counter[str]()

        def noticed() -> bool:
            nonlocal frontend, workers
            frontend = self._cancelled_requests() - self._frontend
            workers = self._cancelled_work() - self._workers
            return wanted <= frontend and workers.total() >= len(self.requests)

        if not wait_until(noticed, self.timeout, max(_POLL_S, self.platform.poll_s)):
            raise EvidenceMissing(
                f"the client has hung up on {_told(wanted)}, but {seconds_text(self.timeout.total_seconds())} later "
                f"the frontend has cancelled {_told(frontend)}, and the workers have noticed {_told(workers)}"
            )
        after = seconds_text(monotonic() - self.applied_s)
        self.compensation = "a client that has hung up is gone for good"
        return [
            *(f"{r.id}: hung up after {r.output_tokens} of {r.requested_tokens} tokens" for r in self._records[:5]),
            *([f"and {len(self._records) - 5} more"] if len(self._records) > 5 else []),
            f"{FRONTEND_METRIC} has grown by {_told(frontend)}, {after} after it",
            f"the workers have noticed: {_told(workers)}",
        ]

    def _hung_up(self, request: Request) -> Record:
        try:
            record = request.wait(self.timeout)
        except LoadError as error:
            raise EvidenceMissing(f"{request} was not cancelled: {error}") from error
        if record.outcome is not Outcome.CANCELLED:
            raise EvidenceMissing(f"{request} had ended before it could be cancelled: {record.summary()}")
        return record

    def _cancelled_requests(self) -> Counter[str]:
        """The frontend's cancellations by endpoint and type of request."""
        texts = read_metrics(self.platform, self.deployment, self.deployment.graph.frontend.name)
        found = Counter[str]()
        for _, sample in samples(texts, FRONTEND_METRIC):
            found[f"{sample.labels['endpoint']} {sample.labels['request_type']}"] += round(sample.value)
        return found

    def _cancelled_work(self) -> Counter[str]:
        """What the workers have noticed."""
        found = Counter[str]()
        workers = [service.name for service in self.deployment.graph.workers]
        texts = read_metrics(self.platform, self.deployment, *workers)
        for name, sample in samples(texts, WORKER_METRIC):
            if sample.labels.get("dynamo_endpoint") == "generate":
                found[f"{name} cancelled"] += round(sample.value)
        for name, sample in samples(texts, UNREAD_METRIC):
            if sample.labels.get("error_type") == "publish_response":
                found[f"{name} unread"] += round(sample.value)
        return found


def _kind(spec: RequestSpec) -> str:
    return f"{_ENDPOINTS[spec.endpoint]} {'stream' if spec.streaming else 'unary'}"


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} ({what})" for what, count in counts.items()) or "none"
