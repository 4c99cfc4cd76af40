"""What a load is asked to do: what its requests look like, and when they are sent."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from enum import StrEnum
from typing import Any, Self

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.address import Address
from DynamoFaultLibrary.load.records import Endpoint


class Arrival(StrEnum):
    """How the requests of an open-loop load are spread over time."""

    CONSTANT = "constant"
    """One each 1/rate seconds."""
    POISSON = "poisson"
    """Independent of each other: the pauses between them are exponentially distributed."""


class ConnectionReuse(StrEnum):
    """Which requests share a connection to the frontend."""

    POOLED = "pooled"
    """Any free connection."""
    NEVER = "never"
    """Each request opens its own."""


@dataclass(frozen=True)
class Workload:
    """What the requests of a load look like.

    Lengths are in tokens, normally distributed when a standard deviation is given, 1 at least. Each prompt is unlike
    the others, but begins with one of `prefixes` shared beginnings of `prefix_tokens` (part of `input_tokens`).
    """

    input_tokens: int = 16
    input_tokens_stddev: float = 0.0
    output_tokens: int = 64
    output_tokens_stddev: float = 0.0
    prefix_tokens: int = 0
    prefixes: int = 1
    endpoint: Endpoint = Endpoint.CHAT
    streaming: bool = True
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    check_sequence: bool = False

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "input_tokens", "output_tokens", "prefixes")
        _check_at_least(self, 0, "input_tokens_stddev", "output_tokens_stddev", "prefix_tokens")
        if self.prefix_tokens > self.input_tokens:
            raise LoadError(
                f"prefix_tokens are part of input_tokens, so at most {self.input_tokens}, not {self.prefix_tokens}"
            )

    def describe(self) -> str:
        """A few words for people."""
        how = "streaming" if self.streaming else "unary"
        return f"{how} {self.endpoint.value}, {self.input_tokens} tokens in, {self.output_tokens} out"


@dataclass(frozen=True)
class LoadPlan:
    """A named stream of requests. Exactly one of `request_count`, `requests_per_client`, `duration_s` ends it.

    Without `request_rate` (requests a second) it is closed-loop: `concurrency` clients, each with one request at a
    time. With it requests start on schedule, `concurrency` at most at once, and latency counts from the schedule.
    Clients start, or the rate grows, over `ramp_s`. `warmup_requests` go ahead and count for nothing. A share of
    `cancellation_rate` of the requests is given up `cancellation_delay_s` after its start.

    A closed-loop client waits `think_time_s` between two requests, and `refused_pause_s` at least after one that
    failed before its answer began: no connection, or one that broke. Else two clients of a frontend that is gone would
    count thousands of failures a second.
    """

    name: str
    url: str
    model: str
    concurrency: int
    request_count: int | None = None
    requests_per_client: int | None = None
    duration_s: float | None = None
    request_rate: float | None = None
    arrival: Arrival = Arrival.CONSTANT
    ramp_s: float = 0.0
    warmup_requests: int = 0
    timeout_s: float = 60.0
    retries: int = 0
    cancellation_rate: float = 0.0
    cancellation_delay_s: float = 0.0
    connections: ConnectionReuse = ConnectionReuse.POOLED
    think_time_s: float = 0.0
    refused_pause_s: float = 0.1
    seed: int = 0
    workload: Workload = field(default_factory=Workload)

    def __post_init__(self) -> None:
        try:
            Address.parse(self.url)
        except LoadError as error:
            raise LoadError(f"load '{self.name}' {error}") from error
        ends = [self.request_count, self.requests_per_client, self.duration_s]
        if sum(end is not None for end in ends) != 1:
            raise LoadError("a load ends by exactly one of request_count, requests_per_client and duration")
        for what in ("concurrency", "request_count", "requests_per_client", "duration_s", "request_rate", "timeout_s"):
            value = getattr(self, what)
            if value is not None and not 0 < value < float("inf"):
                raise LoadError(f"{what.removesuffix('_s')} of load '{self.name}' must be above 0, not {value:g}")
        _check_at_least(self, 0, "ramp_s", "warmup_requests", "retries", "cancellation_delay_s")
        _check_at_least(self, 0, "think_time_s", "refused_pause_s")
        if self.think_time_s and self.request_rate:
            raise LoadError("think_time is for clients that send in turn; with request_rate requests start on schedule")
        if not 0 <= self.cancellation_rate <= 1:
            raise LoadError(f"cancellation_rate is a share from 0 to 1, not {self.cancellation_rate:g}")

    @property
    def total(self) -> int | None:
        """Number of requests, those for warm-up not counted; None when time ends the load."""
        if self.requests_per_client is not None:
            return self.requests_per_client * self.concurrency
        return self.request_count

    def describe(self) -> str:
        """One line for people."""
        end = f"{self.duration_s:g} s" if self.duration_s is not None else f"{self.total} requests"
        rate = f" at {self.request_rate:g} requests/s ({self.arrival.value})" if self.request_rate else ""
        options = [
            f"ramp {self.ramp_s:g} s" if self.ramp_s else "",
            f"{self.warmup_requests} for warm-up" if self.warmup_requests else "",
            f"{self.retries} retries" if self.retries else "",
            f"{self.cancellation_rate:.0%} cancelled" if self.cancellation_rate else "",
            f"{self.think_time_s:g} s between two requests of a client" if self.think_time_s else "",
        ]
        return ", ".join(filter(None, [f"{self.concurrency} clients", end + rate, self.workload.describe(), *options]))

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_json`; what a later version added is left out."""
        workload = _known(Workload, data["workload"])
        return cls(
            **{
                **_known(cls, data),
                "workload": Workload(**{**workload, "endpoint": Endpoint(workload["endpoint"])}),
                "arrival": Arrival(data["arrival"]),
                "connections": ConnectionReuse(data["connections"]),
            }
        )


def _known(made: type[Workload | LoadPlan], data: dict[str, Any]) -> dict[str, Any]:
    return {each.name: data[each.name] for each in fields(made) if each.name in data}


def _check_at_least(asked: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(asked, name)
        if not least <= value < float("inf"):
            raise LoadError(f"{name.removesuffix('_s')} must be {least} or more, not {value:g}")
