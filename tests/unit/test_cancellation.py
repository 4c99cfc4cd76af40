import json
from dataclasses import dataclass, field
from datetime import timedelta
from math import inf
from typing import Any, cast

import pytest

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, LoadError
from DynamoFaultLibrary.faults.cancellation import CancelRequests
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record, RequestSpec
from DynamoFaultLibrary.platforms.base import Deployment

SOON = timedelta(milliseconds=50)
CANCELLED = "dynamo_component_cancellation_total"
UNREAD = "dynamo_component_errors_total"


@dataclass
class Server:
    """A frontend and a worker that count what a test wants."""

    chats: int = 3
    cancelled: int = 5
    unread: int = 7
    poll_s: float = 0.005

    def metrics(
        self, deployment: Deployment, *services: str, timeout_s: float = 10.0
    ) -> tuple[dict[str, str], list[str]]:
        if services == ("Frontend",):
            name = "dynamo_frontend_model_cancellation_total"
            return {"Frontend-0": sample(name, self.chats, endpoint="chat_completions", request_type="stream")}, []
        counters = [
            sample(CANCELLED, self.cancelled, dynamo_endpoint="generate"),
            sample(CANCELLED, 100, dynamo_endpoint="clear_kv_blocks"),
            sample(UNREAD, self.unread, error_type="publish_response"),
            sample(UNREAD, 100, error_type="deserialization"),
        ]
        return {"PositionWorker-0": "\n".join(counters)}, []


def sample(name: str, value: int, **labels: str) -> str:
    told = ",".join(f'{label}="{text}"' for label, text in labels.items())
    return f"# TYPE {name} counter\n{name}{{{told}}} {value}\n"


@dataclass
class Sender:
    """Ends requests as a test wants when it is told to cancel them."""

    server: Server
    outcome: Outcome | None = Outcome.CANCELLED
    frontend_notices: bool = True
    worker_counts: str = "cancelled"
    ended_s: float = inf
    """When its requests ended, on the monotonic clock."""
    commands: list[tuple[str, Any]] = field(default_factory=list)

    def command(self, do: str, **arguments: Any) -> None:
        self.commands.append((do, arguments))
        self.server.chats += self.frontend_notices
        if self.worker_counts:
            setattr(self.server, self.worker_counts, getattr(self.server, self.worker_counts) + 1)

    def wait_for(self, matches: Any, timeout: timedelta, what: str) -> dict[str, Any]:
        if self.outcome is None:
            raise LoadError(f"waited for {what}")
        records = (self.record(f"request-{number}", self.outcome) for number in range(1, 10))
        events = ({"event": "done", "record": json.loads(record.to_line())} for record in records)
        return next(event for event in events if matches(event))

    def record(self, identity: str, outcome: Outcome) -> Record:
        ended_s = min(monotonic(), self.ended_s)
        return Record(
            identity, "", 0, Endpoint.CHAT, True, 900, outcome=outcome, output_tokens=12, ended_monotonic_s=ended_s
        )


def cancel(sender: Sender, count: int = 2) -> CancelRequests:
    spec = {"endpoint": Endpoint.CHAT, "model": "m", "prompt": "a", "max_tokens": 900, "streaming": True}
    requests = [
        Request(RequestSpec(f"request-{number}", "http://f", **cast("Any", spec)), cast("Any", sender))
        for number in range(1, count + 1)
    ]
    graph = Manifest.load(find_graph("position-agg.yaml")).graph()
    deployment = cast("Deployment", type("D", (), {"name": "d", "graph": graph})())
    fault = CancelRequests(cast("Any", sender.server), deployment, requests, SOON)
    fault.apply()
    return fault


@pytest.mark.parametrize("way", ["cancelled", "unread"])
def test_a_cancellation_is_proven_by_both_counters(way: str) -> None:
    sender = Sender(Server(), worker_counts=way)
    evidence = cancel(sender).prove()
    assert sender.commands == [("cancel", {"id": "request-1"}), ("cancel", {"id": "request-2"})]
    assert evidence[:2] == [f"request-{number}: hung up after 12 of 900 tokens" for number in (1, 2)]
    assert evidence[2].startswith("dynamo_frontend_model_cancellation_total has grown by 2 (chat_completions stream), ")
    assert evidence[3] == f"the workers have noticed: 2 (PositionWorker-0 {way})"


def test_many_requests_are_not_all_named() -> None:
    evidence = cancel(Sender(Server()), count=8).prove()
    assert evidence[4:6] == ["request-5: hung up after 12 of 900 tokens", "and 3 more"]


def test_it_is_irreversible_and_its_recipe_harmless() -> None:
    fault = cancel(Sender(Server()))
    fault.prove()
    assert fault.compensation
    assert fault.recipe == {"action": "nothing"}
    assert fault.facts["replica"] == "2 requests"


def test_a_frontend_that_does_not_notice_is_no_evidence() -> None:
    with pytest.raises(EvidenceMissing) as raised:
        cancel(Sender(Server(), frontend_notices=False)).prove()
    assert str(raised.value) == (
        "the client has hung up on 2 (chat_completions stream), but 50 ms later the frontend has cancelled none, "
        "and the workers have noticed 2 (PositionWorker-0 cancelled)"
    )


def test_workers_that_go_on_are_no_evidence() -> None:
    with pytest.raises(EvidenceMissing, match="and the workers have noticed none"):
        cancel(Sender(Server(), worker_counts="")).prove()


def test_a_request_that_had_ended_was_not_cancelled() -> None:
    with pytest.raises(EvidenceMissing, match="had ended before it could be cancelled: ok: 12 of 900 tokens"):
        cancel(Sender(Server(), outcome=Outcome.OK)).prove()


def test_a_request_is_not_cancelled_twice() -> None:
    """One that its client had hung up on before was waited for in vain, as if the frontend had overlooked it."""
    fault = cancel(Sender(Server(), ended_s=monotonic()))
    with pytest.raises(EvidenceMissing, match="had ended before it could be cancelled: cancelled"):
        fault.prove()


def test_a_request_that_goes_on_was_not_cancelled() -> None:
    with pytest.raises(EvidenceMissing, match=r"was not cancelled: waited for the end of request 'request-1'"):
        cancel(Sender(Server(), outcome=None)).prove()


def test_no_request_is_an_error() -> None:
    with pytest.raises(FaultError, match="no request to cancel was given"):
        cancel(Sender(Server()), count=0)
