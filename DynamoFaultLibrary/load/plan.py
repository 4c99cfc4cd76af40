"""What a load is asked to do."""

from dataclasses import asdict, dataclass
from typing import Any

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import Endpoint


@dataclass(frozen=True)
class LoadPlan:
    """A named stream of requests. Exactly one of `request_count`, `requests_per_client`, `duration_s` ends it.

    Without `request_rate` (requests a second) it is closed-loop: `concurrency` clients, each with one request at a
    time. With it requests start on schedule, `concurrency` at most at once, and latency counts from the schedule.
    """

    name: str
    url: str
    model: str
    concurrency: int
    request_count: int | None
    requests_per_client: int | None
    duration_s: float | None
    request_rate: float | None
    input_tokens: int
    output_tokens: int
    endpoint: Endpoint
    streaming: bool
    timeout_s: float
    check_sequence: bool

    def __post_init__(self) -> None:
        ends = [self.request_count, self.requests_per_client, self.duration_s]
        if sum(end is not None for end in ends) != 1:
            raise LoadError("a load ends by exactly one of request_count, requests_per_client and duration")
        for what in ("concurrency", "request_count", "requests_per_client", "duration_s", "request_rate"):
            value = getattr(self, what)
            if value is not None and value <= 0:
                raise LoadError(f"{what.removesuffix('_s')} of load '{self.name}' must be above 0, not {value:g}")
        for what in ("input_tokens", "output_tokens"):
            if getattr(self, what) < 1:
                raise LoadError(f"{what} of load '{self.name}' must be 1 or more, not {getattr(self, what)}")

    @property
    def total(self) -> int | None:
        """Number of requests; None when time ends the load."""
        if self.requests_per_client is not None:
            return self.requests_per_client * self.concurrency
        return self.request_count

    def describe(self) -> str:
        """One line for people."""
        end = f"{self.duration_s:g} s" if self.duration_s is not None else f"{self.total} requests"
        rate = f" at {self.request_rate:g} requests/s" if self.request_rate else ""
        how = "streaming" if self.streaming else "unary"
        return (
            f"{self.concurrency} clients, {end}{rate}, {how} {self.endpoint.value}, "
            f"{self.input_tokens} tokens in, {self.output_tokens} out"
        )

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "LoadPlan":
        """The inverse of `to_json`."""
        return cls(**{**data, "endpoint": Endpoint(data["endpoint"])})


def prompt_of(tokens: int) -> str:
    """A prompt of so many words; with the project's own model a word is a token."""
    words = ["Tell", "me", "a", "long", "long", "long", "story", "about", "yourself", "?"]
    return " ".join(words[index] if index < len(words) else "long" for index in range(tokens))
