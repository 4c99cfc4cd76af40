"""What is recorded of a request: schema version 1, one JSON object a line in ``requests.jsonl``.

Times end in ``_s`` and are seconds; those with ``monotonic`` are readings of this machine's CLOCK_MONOTONIC, so they
can be compared with the times of faults.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import LoadError

SCHEMA_VERSION = 1


class Endpoint(StrEnum):
    """Which API a request uses: ``/v1/completions`` or ``/v1/chat/completions``."""

    COMPLETION = "completion"
    CHAT = "chat"


class Outcome(StrEnum):
    """How a request ended. Everything but `OK` is an error class."""

    OK = "ok"
    """All tokens that were asked for have arrived."""
    TRUNCATED = "truncated"
    """A well-formed answer with fewer tokens than were asked for."""
    WRONG_SEQUENCE = "wrong_sequence"
    """On the position engine: a token was lost, repeated or out of order."""
    HTTP_ERROR = "http_error"
    """A status other than 200."""
    STREAM_ERROR = "stream_error"
    """Status 200, then an error object in the stream."""
    INCOMPLETE = "incomplete"
    """Status 200, then the stream ended without a finish reason."""
    MALFORMED = "malformed"
    """Status 200, then something that is no answer of this API."""
    CONNECTION = "connection"
    """No connection, or it broke."""
    TIMEOUT = "timeout"
    """No answer in time."""
    CANCELLED = "cancelled"
    """The client gave up on purpose."""


@dataclass(frozen=True)
class RequestSpec:
    """One request as asked for."""

    id: str
    url: str
    endpoint: Endpoint
    model: str
    prompt: str
    max_tokens: int
    streaming: bool
    timeout_s: float = 240.0
    seed: int | None = None
    check_sequence: bool = False
    """Whether the answer must follow the position engine's sequence."""
    load: str = ""
    client: int = 0

    @property
    def api(self) -> str:
        """URL of the API at the frontend `url`."""
        return self.url + ("/v1/completions" if self.endpoint is Endpoint.COMPLETION else "/v1/chat/completions")

    @property
    def body(self) -> dict[str, Any]:
        """JSON body."""
        body: dict[str, Any] = {
            "model": self.model,
            "max_tokens": self.max_tokens,
            "temperature": 0,
            "ignore_eos": True,
        }
        if self.endpoint is Endpoint.COMPLETION:
            body["prompt"] = self.prompt
        else:
            body["messages"] = [{"role": "user", "content": self.prompt}]
        if self.streaming:
            body["stream"] = True
            body["stream_options"] = {"include_usage": True}
        if self.seed is not None:
            body["seed"] = self.seed
        return body

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "RequestSpec":
        """The inverse of `to_json`."""
        return cls(**{**data, "endpoint": Endpoint(data["endpoint"])})


@dataclass
class Record:
    """One request as it went. `gaps_s` are the pauses between the chunks of a stream."""

    id: str
    load: str
    client: int
    endpoint: Endpoint
    streaming: bool
    requested_tokens: int
    started_at: str
    started_monotonic_s: float
    ended_monotonic_s: float = 0.0
    scheduled_monotonic_s: float | None = None
    response_id: str = ""
    status: int | None = None
    outcome: Outcome = Outcome.INCOMPLETE
    error: str = ""
    finish_reason: str = ""
    prompt_tokens: int | None = None
    output_tokens: int = 0
    ttft_s: float | None = None
    gaps_s: list[float] = field(default_factory=list)
    text: str = ""
    version: int = SCHEMA_VERSION

    @property
    def is_ok(self) -> bool:
        """Whether the request did all that was asked for."""
        return self.outcome is Outcome.OK

    @property
    def latency_s(self) -> float:
        """From the scheduled time (else the start) to the end."""
        start = self.scheduled_monotonic_s if self.scheduled_monotonic_s is not None else self.started_monotonic_s
        return self.ended_monotonic_s - start

    @property
    def longest_gap_s(self) -> float | None:
        """The longest pause between two chunks; None without two."""
        return max(self.gaps_s, default=None)

    def summary(self) -> str:
        """One line for people."""
        tokens = f"{self.output_tokens} of {self.requested_tokens} tokens"
        what = f"{self.outcome.value}: {tokens} in {self.latency_s:.3f} s, status {self.status}"
        reason = f", finish reason '{self.finish_reason}'" if self.finish_reason else ""
        gap = f", longest gap {self.longest_gap_s * 1000:.0f} ms" if self.longest_gap_s is not None else ""
        return f"{what}{reason}{gap}{', ' + self.error if self.error else ''}"

    def to_json(self) -> dict[str, Any]:
        """As JSON data, gaps rounded to 10 microseconds."""
        return {**asdict(self), "gaps_s": [round(gap, 5) for gap in self.gaps_s]}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Record":
        """The inverse of `to_json`.

        Raises:
            ValueError: the record is of another schema version.
        """
        version = data["version"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, expected {SCHEMA_VERSION}")
        return cls(**{**data, "endpoint": Endpoint(data["endpoint"]), "outcome": Outcome(data["outcome"])})


def read_records(path: Path) -> list[Record]:
    """Read a ``requests.jsonl``; a torn last line (a load that was killed) is left out.

    Raises:
        LoadError: the file is missing, or a line other than the last one is no record.
    """
    try:
        lines = path.read_text(encoding="utf-8").split("\n")
    except OSError as error:
        raise LoadError(f"cannot read records '{path}': {error.strerror}") from error
    complete = lines[:-1]
    return list(_parse(complete, path))


def _parse(lines: Iterable[str], path: Path) -> Iterable[Record]:
    for number, line in enumerate(lines, start=1):
        try:
            yield Record.from_json(json.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise LoadError(f"'{path}' line {number} is no record of schema {SCHEMA_VERSION}: {error}") from error
