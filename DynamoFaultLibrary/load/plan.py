"""What a load is asked to do: what its requests look like, and when they are sent."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, fields
from datetime import timedelta
from enum import Enum, StrEnum
from types import NoneType
from typing import Any, Self, get_args, get_origin, get_type_hints
from urllib.parse import quote

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.address import Address
from DynamoFaultLibrary.load.records import Endpoint
from DynamoFaultLibrary.words import counted


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


def option(default: Any, text: str, flag: str = "") -> Any:
    """A field that users set: as an argument of `Start Load`, and as an option of ``dynamo-fault load``.

    `text` is its line in the documentation of both; `flag` is a shorter name on the command line, or what a switch is
    called there when it is off. A name that ends in ``_s`` is a time: an argument without that ending, in seconds on
    the command line.
    """
    what: dict[str, Any] = {"default_factory": default} if isinstance(default, type) else {"default": default}
    return field(**what, metadata={"text": text, "flag": flag})


_JUDGED = {
    "max_tokens": "it is what output_tokens says",
    "max_completion_tokens": "it is what output_tokens says",
    "stream": "it is what streaming says",
    "stream_options": "tokens are counted by the usage that comes with the last chunk",
    "n": "a request has one answer",
    "best_of": "a request has one answer",
}
"""Why these do not belong into an extra body: answers are judged by what the plan says."""
_HARMLESS = [("n", 1), ("best_of", 1)]
_STOPS, _PROMPTS = ("stop", "stop_token_ids"), ("prompt", "messages")


@dataclass(frozen=True)
class Workload:
    """What the requests of a load look like.

    Lengths are in tokens, normally distributed when a standard deviation is given, 1 at least. Each prompt is unlike
    the others, but begins with one of `prefixes` shared beginnings of `prefix_tokens` (part of `input_tokens`).
    """

    input_tokens: int = option(16, "Mean length of the prompts, in tokens")
    input_tokens_stddev: float = option(0.0, "Its standard deviation; lengths are normally distributed")
    output_tokens: int = option(64, "Mean length of the answers, in tokens")
    output_tokens_stddev: float = option(0.0, "Its standard deviation")
    prefix_tokens: int = option(0, "Tokens at the beginning of a prompt that it shares with others")
    prefixes: int = option(1, "Number of such shared beginnings; the rest of each prompt is its own")
    endpoint: Endpoint = option(Endpoint.CHAT, "API that the requests use")  # noqa: RUF009  # it returns a field
    streaming: bool = option(True, "Whether answers come token by token, or at once", "unary")
    extra_body: Mapping[str, Any] = option(
        dict, "More for the JSON body of each request; not max_tokens, stream and what else other options say"
    )
    check_sequence: bool = False

    def __post_init__(self) -> None:
        _check_at_least(self, 1, "input_tokens", "output_tokens", "prefixes")
        _check_at_least(self, 0, "input_tokens_stddev", "output_tokens_stddev", "prefix_tokens")
        if self.prefix_tokens > self.input_tokens:
            raise LoadError(
                f"prefix_tokens are part of input_tokens, so at most {self.input_tokens}, not {self.prefix_tokens}"
            )

    def check_extra_body(self) -> None:
        """Refuse what would change how much is answered, or how: answers are judged by what the other options say.

        Raises:
            LoadError: it has such a value.
        """
        reasons = dict(_JUDGED)
        if self.extra_body.get("ignore_eos", True):
            reasons |= dict.fromkeys(_STOPS, 'it ends answers early, which needs "ignore_eos": false beside it')
        if self.check_sequence:
            reasons |= dict.fromkeys(_PROMPTS, "each token is checked by the prompt that the load has made")
        for name, value in self.extra_body.items():
            if name in reasons and (name, value) not in _HARMLESS:
                raise LoadError(f"extra_body cannot have '{name}' ({json.dumps(value, default=str)}): {reasons[name]}")

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
    concurrency: int = option(8, "Clients, each with one request at a time; with a request rate the most at once")
    request_count: int | None = option(None, "Ends after so many requests of all clients together", "requests")
    requests_per_client: int | None = option(None, "Ends when each client has sent so many")
    duration_s: float | None = option(None, "Ends after this time; without any end it is 30 s")
    request_rate: float | None = option(
        None,
        "Requests a second, started on schedule; latency counts from the schedule, so that a stalled server is not "
        "flattered",
        "rate",
    )
    arrival: Arrival = option(Arrival.CONSTANT, "How the requests of a rate are spread")  # noqa: RUF009  # the same
    ramp_s: float = option(0.0, "Time over which the clients start, or the rate grows")
    think_time_s: float = option(0.0, "Pause of a client between an answer and its next request")
    warmup_requests: int = option(0, "Requests that go ahead and count for nothing")
    timeout_s: float = option(60.0, "Time for a whole request, retries included")
    retries: int = option(0, "How often a failed request is sent again, after 0.5 s")
    refused_pause_s: float = option(
        0.1,
        "Pause of a client whose connection was refused; with 0 a server that is down is asked thousands of times a "
        "second",
    )
    cancellation_rate: float = option(0.0, "Share of requests, 0 to 1, whose connection the client closes")
    cancellation_delay_s: float = option(0.0, "Time after their start at which it does so")
    connections: ConnectionReuse = option(ConnectionReuse.POOLED, "Connections: kept, or a new one for each")  # noqa: RUF009
    seed: int = option(0, "Makes prompts, lengths and schedule repeatable")
    workload: Workload = field(default_factory=Workload)

    @classmethod
    def of(cls, name: str, url: str, model: str, options: Mapping[str, Any], *, check_sequence: bool = False) -> Self:
        """A plan from the values of `OPTIONS`, by their names; it lasts 30 s when none of them ends it.

        Raises:
            LoadError: the values contradict each other, or one is out of its range.
        """
        given = {each.field: each.plain(options[each.name]) for each in OPTIONS if each.name in options}
        if all(given.get(end) is None for end in ("request_count", "requests_per_client", "duration_s")):
            given["duration_s"] = DEFAULT_DURATION_S
        shape = {name: given.pop(name) for name in list(given) if name in Workload.__dataclass_fields__}
        made = cls(name, url, model, **given, workload=Workload(**shape, check_sequence=check_sequence))
        made.check_effects()
        return made

    def check_effects(self) -> None:
        """Refuse what would change nothing: whoever sets it expects that it does.

        Raises:
            LoadError: a value has no effect beside the others.
        """
        if self.arrival is not Arrival.CONSTANT and self.request_rate is None:
            raise LoadError(
                f"arrival={self.arrival.value} says how requests of a rate are spread; it needs request_rate"
            )
        if self.cancellation_delay_s and not self.cancellation_rate:
            raise LoadError("cancellation_delay is for requests that are cancelled; it needs cancellation_rate")
        if self.duration_s is not None and self.ramp_s >= self.duration_s:
            raise LoadError(f"ramp must be shorter than duration ({self.duration_s:g} s), not {self.ramp_s:g} s")
        if self.workload.prefixes > 1 and not self.workload.prefix_tokens:
            raise LoadError("prefixes are shared beginnings of prompts; they need prefix_tokens")
        self.workload.check_extra_body()

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
        _check_at_least(
            self, 0, "ramp_s", "think_time_s", "warmup_requests", "retries", "refused_pause_s", "cancellation_delay_s"
        )
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

    def request_id(self, number: int) -> str:
        """Id of its request of that number. It travels in a header, so it is ASCII whatever the name of the load."""
        return f"load-{quote(self.name, safe=' ')}-{number}"

    def describe(self) -> str:
        """One line for people."""
        end = f"{self.duration_s:g} s" if self.duration_s is not None else counted(self.total or 0, "request")
        rate = f" at {self.request_rate:g} requests/s ({self.arrival.value})" if self.request_rate else ""
        options = [
            f"ramp {self.ramp_s:g} s" if self.ramp_s else "",
            f"think time {self.think_time_s:g} s" if self.think_time_s else "",
            f"{self.warmup_requests} for warm-up" if self.warmup_requests else "",
            f"{self.retries} {'retry' if self.retries == 1 else 'retries'}" if self.retries else "",
            f"{self.cancellation_rate:.0%} cancelled" if self.cancellation_rate else "",
        ]
        return ", ".join(
            filter(None, [counted(self.concurrency, "client"), end + rate, self.workload.describe(), *options])
        )

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


@dataclass(frozen=True)
class Option:
    """What users can set of a load: the one description for `Start Load` and ``dynamo-fault load``."""

    name: str
    """As an argument of the keyword."""
    field: str
    """In `LoadPlan` or `Workload`."""
    kind: Any
    """The type, as users see it: a time is a `timedelta`."""
    default: Any
    text: str
    flag: str

    def plain(self, value: Any) -> Any:
        """A value as the field wants it: a time in seconds, a missing one as the default."""
        if value is None:
            return dict(self.default) if isinstance(self.default, dict) else None
        return value.total_seconds() if isinstance(value, timedelta) else value


def is_choice(each: Option) -> bool:
    """Whether its values are those of an enumeration."""
    return isinstance(each.kind, type) and issubclass(each.kind, Enum)


def _options() -> list[Option]:
    found = []
    for owner in (LoadPlan, Workload):
        hints = get_type_hints(owner)
        for each in fields(owner):
            if "text" not in each.metadata:
                continue
            is_time = each.name.endswith("_s")
            kinds = [kind for kind in get_args(hints[each.name]) or (hints[each.name],) if kind is not NoneType]
            is_mapping = get_origin(hints[each.name]) is not None and isinstance(each.default_factory, type)
            kind = dict[str, Any] if is_mapping else timedelta if is_time else kinds[0]
            default = {} if is_mapping else each.default
            if is_time and default is not None:
                default = timedelta(seconds=default)  # type: ignore[arg-type]  # it is a number of seconds
            name = each.name.removesuffix("_s") if is_time else each.name
            found.append(Option(name, each.name, kind, default, each.metadata["text"], each.metadata["flag"]))
    return found


DEFAULT_DURATION_S = 30.0
OPTIONS = _options()


def _known(made: type[Workload | LoadPlan], data: dict[str, Any]) -> dict[str, Any]:
    return {each.name: data[each.name] for each in fields(made) if each.name in data}


def _check_at_least(asked: object, least: int, *names: str) -> None:
    for name in names:
        value = getattr(asked, name)
        if not least <= value < float("inf"):
            raise LoadError(f"{name.removesuffix('_s')} must be {least} or more, not {value:g}")
