"""What is recorded of a request: schema version 2, one JSON object a line in ``requests.jsonl``.

Times end in ``_s`` and are seconds; those with ``monotonic`` are readings of this machine's CLOCK_MONOTONIC, so they
can be compared with the times of faults. What came is timed by the kernel that received it (see `stamps`).
"""

import zlib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

import orjson

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.address import with_login

SCHEMA_VERSION = 2


class Endpoint(StrEnum):
    """Which API a request uses: ``/v1/completions`` or ``/v1/chat/completions``."""

    COMPLETION = "completion"
    CHAT = "chat"


class Outcome(StrEnum):
    """How a request ended. Everything but `OK` and `CANCELLED` is an error class."""

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
    """The client gave up on purpose: no error."""

    @property
    def is_error(self) -> bool:
        """Whether the request failed."""
        return self not in (Outcome.OK, Outcome.CANCELLED)


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
    """Seconds that the request may take in all, retries included."""
    seed: int | None = None
    check_sequence: bool = False
    """Whether the answer must follow the position engine's sequence."""
    input_tokens: int = 0
    """Length that the prompt was made with; 0: not known."""
    retries: int = 0
    """How often it is sent again after a failure."""
    cancel_after_s: float | None = None
    """Seconds after its start at which the client gives up on purpose."""
    login: str = ""
    """User and password as in a URL. Not in `url`, which errors and records name."""
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    """What the body has beside the usual, or in place of it."""
    load: str = ""
    client: int = 0
    warmup: bool = False

    @property
    def api(self) -> str:
        """URL of the API at the frontend `url`, with `login`: not for people."""
        return with_login(self.url, self.login).rstrip("/") + (
            "/v1/completions" if self.endpoint is Endpoint.COMPLETION else "/v1/chat/completions"
        )

    @property
    def ignores_eos(self) -> bool:
        """Whether the answer must have all tokens: generation goes on after an end-of-sequence token."""
        return bool(self.extra_body.get("ignore_eos", True))

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
        return {**body, **self.extra_body}

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "RequestSpec":
        """The inverse of `to_json`."""
        return cls(**{**data, "endpoint": Endpoint(data["endpoint"])})


@dataclass
class Attempt:
    """A try of a request that failed and was followed by another one."""

    outcome: Outcome
    status: int | None
    error: str
    ended_monotonic_s: float


@dataclass
class Record:
    """One request as it went. `gaps_s` are the pauses between the chunks of a stream.

    After retries it is the last attempt's, counted from the start of the first; the others are in `failed_attempts`.
    """

    id: str
    load: str
    client: int
    endpoint: Endpoint
    streaming: bool
    requested_tokens: int
    input_tokens: int = 0
    prompt_hash: int = 0
    """CRC-32 of the prompt: tells how many prompts a load had."""
    warmup: bool = False
    started_at: str = ""
    started_monotonic_s: float = 0.0
    ended_monotonic_s: float = 0.0
    scheduled_monotonic_s: float | None = None
    failed_attempts: list[Attempt] = field(default_factory=list)
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

    def to_line(self) -> bytes:
        """As a line of JSON."""
        return orjson.dumps(self, option=orjson.OPT_APPEND_NEWLINE)

    @classmethod
    def of(cls, spec: RequestSpec, scheduled_monotonic_s: float | None = None) -> Self:
        """The record of a request that is to be sent."""
        return cls(
            id=spec.id,
            load=spec.load,
            client=spec.client,
            endpoint=spec.endpoint,
            streaming=spec.streaming,
            requested_tokens=spec.max_tokens,
            input_tokens=spec.input_tokens,
            prompt_hash=zlib.crc32(spec.prompt.encode()),
            warmup=spec.warmup,
            scheduled_monotonic_s=scheduled_monotonic_s,
        )

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> Self:
        """The inverse of `to_line`.

        Raises:
            ValueError: the record is of another schema version.
        """
        version = data["version"]
        if version != SCHEMA_VERSION:
            raise ValueError(f"schema version {version}, expected {SCHEMA_VERSION}")
        attempts = [Attempt(**{**each, "outcome": Outcome(each["outcome"])}) for each in data["failed_attempts"]]
        made = {
            "endpoint": Endpoint(data["endpoint"]),
            "outcome": Outcome(data["outcome"]),
            "failed_attempts": attempts,
        }
        return cls(**{**data, **made})


def read_records(path: Path) -> list[Record]:
    """Read a ``requests.jsonl``; a torn last line (a load that was killed) is left out.

    Raises:
        LoadError: the file is missing, or a line other than the last one is no record.
    """
    return list(iterate_records(path))


def iterate_records(path: Path) -> Iterator[Record]:
    """The same, one record at a time."""
    for number, line in enumerate(complete_lines(path), start=1):
        try:
            yield Record.from_json(orjson.loads(line))
        except (ValueError, TypeError, KeyError) as error:
            raise LoadError(f"'{path}' line {number} is no record of schema {SCHEMA_VERSION}: {error}") from error


def complete_lines(path: Path) -> Iterator[bytes]:
    """Lines of a file, without a torn last one.

    Raises:
        LoadError: it cannot be read.
    """
    try:
        with path.open("rb") as file:
            yield from (line for line in file if line.endswith(b"\n"))
    except OSError as error:
        raise LoadError(f"cannot read records '{path}': {error.strerror}") from error
