"""One request over HTTP, measured: what is sent, what comes back, when."""

import asyncio
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import orjson

from DynamoFaultLibrary.clock import monotonic, utc_text
from DynamoFaultLibrary.engines.sequence import first_break
from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.address import Address
from DynamoFaultLibrary.load.alarm import full
from DynamoFaultLibrary.load.http1 import Client, ConnectTimeoutError, ExchangeError
from DynamoFaultLibrary.load.records import Attempt, Outcome, Record, RequestSpec

OnChunk = Callable[[Record], None]
RETRY_DELAY = 0.5
"""Seconds between a failure and the next attempt."""
_DATA = b"data:"
_DONE = b"[DONE]"
_MOST_OF_ERROR = 500
"""Characters of an error's body that are kept."""
_MOST_OF_LINE = 2**20
"""Bytes that a line of a stream may have: what has no end is not collected."""
_MOST_OF_BODY = 64 * 2**20
"""Bytes that an answer may have that comes at once; it is read when it is whole."""


class _NoAnswerError(Exception):
    """What came is no answer; the message says why."""


async def exchange(client: Client, spec: RequestSpec, record: Record, on_chunk: OnChunk) -> None:
    """Send `spec`, again after a failure if it asks for that, and fill `record`. Never raises but on cancel.

    `on_chunk` is called after each chunk of a stream. The header ``x-request-id`` carries our id: Dynamo's frontend
    writes it beside its own in its log.
    """
    record.started_at, record.started_monotonic_s = utc_text(), monotonic()
    answer = _Answer(spec, record, on_chunk)
    try:
        async with asyncio.timeout(full(spec.timeout_s)):
            await _attempt(client, spec, record, answer)
            for _ in range(spec.retries):
                if not record.outcome.is_error:
                    break
                _set_aside(record)
                answer = _Answer(spec, record, on_chunk, sent=answer.sent)
                await asyncio.sleep(full(RETRY_DELAY))
                await _attempt(client, spec, record, answer)
    except TimeoutError:
        _interrupt(spec, record, answer, Outcome.TIMEOUT)
    except asyncio.CancelledError:
        _interrupt(spec, record, answer, Outcome.CANCELLED)
        raise
    finally:
        record.ended_monotonic_s = answer.over_s or monotonic()


def _interrupt(spec: RequestSpec, record: Record, answer: "_Answer", why: Outcome) -> None:
    if answer.is_over:  # only the server's end of it was still to come
        if record.outcome is Outcome.OK:
            _judge(spec, record)
        return
    record.outcome = why
    if why is Outcome.TIMEOUT:
        reached = answer.sent or record.failed_attempts
        what = f"{record.output_tokens} of {spec.max_tokens} tokens" if reached else f"no connection to {spec.url}"
        record.error = f"{what} after {spec.timeout_s:g} s"


def give_up_unsent(record: Record) -> None:
    """Fill the record of a request that was cancelled before anything was done for it."""
    record.started_at, record.started_monotonic_s = utc_text(), monotonic()
    record.ended_monotonic_s = record.started_monotonic_s
    record.outcome, record.error = Outcome.CANCELLED, "given up before it was sent"


def _set_aside(record: Record) -> None:
    """Keep what a failed attempt brought to light, and make room for the next one."""
    record.failed_attempts.append(Attempt(record.outcome, record.status, record.error, monotonic()))
    record.outcome, record.status, record.error = Outcome.INCOMPLETE, None, ""
    record.response_id = record.finish_reason = record.text = ""
    record.prompt_tokens, record.output_tokens, record.ttft_s, record.gaps_s = None, 0, None, []


async def _attempt(client: Client, spec: RequestSpec, record: Record, answer: "_Answer") -> None:
    try:
        try:
            await client.post(Address.parse(spec.api), _headers(spec), orjson.dumps(spec.body), answer)
        finally:
            record.text = "".join(answer.texts)  # also of an answer that was cut off
        answer.finish()
    except (ExchangeError, LoadError) as error:  # LoadError: an address that is none
        record.outcome = Outcome.TIMEOUT if isinstance(error, ConnectTimeoutError) else Outcome.CONNECTION
        record.error = str(error)
    except _NoAnswerError as error:
        record.outcome, record.error = Outcome.MALFORMED, str(error)
    except Exception as error:
        record.outcome, record.error = Outcome.MALFORMED, f"{type(error).__name__}: {error}"
    if record.outcome is Outcome.OK:
        _judge(spec, record)


def _headers(spec: RequestSpec) -> bytes:
    name = spec.id if spec.id.isascii() and spec.id.isprintable() else quote(spec.id, safe=" ")
    return f"content-type: application/json\r\naccept: */*\r\nx-request-id: {name}\r\n".encode()


class _Answer:
    """Takes the answer to one attempt, and fills the record from it."""

    def __init__(self, spec: RequestSpec, record: Record, on_chunk: OnChunk, *, sent: bool = False) -> None:
        self.sent = sent
        self.is_over = False
        self.over_s = 0.0
        """When the last piece that was wanted came."""
        self.texts: list[str] = []
        """Of the chunks so far. Adding each to a string would copy all that is there, for each token."""
        self._record = record
        self._on_chunk = on_chunk
        self._streams = spec.streaming
        self._at_s = self._last_s = record.started_monotonic_s
        self._rest = b""
        self._body: list[bytes] = []
        self._body_bytes = 0

    def status(self, code: int) -> None:
        self._record.status = code
        if code != 200:
            self._streams = False

    def body(self, data: bytes, at_s: float) -> None:
        self._at_s = max(at_s, self._at_s)
        if not self._streams:
            self._collect(data)
            return
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            if line.startswith(_DATA):
                payload = line[len(_DATA) :]
                if payload[:8].strip() == _DONE:
                    self.is_over, self.over_s = True, self._at_s
                    return
                self._take_event(orjson.loads(payload))
        if len(self._rest) > _MOST_OF_LINE:
            raise _NoAnswerError(f"a line of the stream has more than {_MOST_OF_LINE} bytes")

    def _collect(self, data: bytes) -> None:
        is_error = self._record.status != 200
        if is_error and self._body_bytes >= 4 * _MOST_OF_ERROR:  # UTF-8: 4 bytes at most
            return
        self._body_bytes += len(data)
        if not is_error and self._body_bytes > _MOST_OF_BODY:
            raise _NoAnswerError(f"the answer has more than {_MOST_OF_BODY} bytes")
        self._body.append(data)

    def end(self, at_s: float) -> None:
        self.over_s = self.over_s or max(at_s, self._at_s)

    def finish(self) -> None:
        """Judge the whole answer."""
        record = self._record
        if record.status != 200:
            record.outcome = Outcome.HTTP_ERROR
            record.error = b"".join(self._body).decode(errors="replace")[:_MOST_OF_ERROR]
        elif not self._streams:
            _read_body(orjson.loads(b"".join(self._body)), record)

    def _take_event(self, chunk: dict[str, Any]) -> None:
        record = self._record
        text = _take_chunk(chunk, record)
        if not text:
            return
        self.texts.append(text)
        if record.ttft_s is None:
            record.ttft_s = self._at_s - record.started_monotonic_s
        else:
            record.gaps_s.append(round(self._at_s - self._last_s, 6))
        self._last_s = self._at_s
        self._on_chunk(record)


def _take_chunk(chunk: dict[str, Any], record: Record) -> str:
    """Note one chunk; returns its text."""
    if "choices" not in chunk:
        record.outcome = Outcome.STREAM_ERROR
        record.error = orjson.dumps(chunk).decode()[:500]
        return ""
    if not record.response_id:
        record.response_id = str(chunk.get("id") or "")
    usage = chunk.get("usage")
    if usage:
        _take_usage(usage, record)
    carried = ""
    for choice in chunk["choices"]:
        text = choice.get("text") or (choice.get("delta") or {}).get("content")
        if text:
            carried += text
            if not usage:
                record.output_tokens += 1
        if choice.get("finish_reason"):
            _take_finish(choice, record)
    return carried


def _read_body(body: dict[str, Any], record: Record) -> None:
    record.response_id = str(body.get("id") or "")
    for choice in body.get("choices") or []:
        record.text += choice.get("text") or (choice.get("message") or {}).get("content") or ""
        _take_finish(choice, record)
    if body.get("usage"):
        _take_usage(body["usage"], record)
    if record.outcome is Outcome.INCOMPLETE:
        record.error = f"no finish reason in {orjson.dumps(body).decode()[:300]}"


def _take_usage(usage: dict[str, Any], record: Record) -> None:
    record.prompt_tokens = _tokens(usage, "prompt_tokens")
    record.output_tokens = _tokens(usage, "completion_tokens") or 0


def _tokens(usage: dict[str, Any], name: str) -> int | None:
    count = usage.get(name)
    if count is None:
        return None
    if not isinstance(count, int | float) or isinstance(count, bool) or count < 0 or count != int(count):
        raise _NoAnswerError(f"usage has {name} {count!r}, which is no number of tokens")
    return int(count)


def _take_finish(choice: dict[str, Any], record: Record) -> None:
    reason = choice.get("finish_reason")
    if reason:
        record.finish_reason = reason
        if record.outcome is Outcome.INCOMPLETE:
            record.outcome = Outcome.OK


def _judge(spec: RequestSpec, record: Record) -> None:
    """Well-formed is not good: all tokens must be there, and in order where the order is known."""
    if record.output_tokens < spec.max_tokens and spec.ignores_eos:
        record.outcome = Outcome.TRUNCATED
        record.error = f"{record.output_tokens} of {spec.max_tokens} tokens"
    elif record.output_tokens > spec.max_tokens:
        record.outcome = Outcome.MALFORMED
        record.error = f"{record.output_tokens} tokens, {spec.max_tokens} were asked for"
    if spec.check_sequence:
        # Counted from the prompt, not from `usage`: after a migration Dynamo adds the carried tokens to prompt_tokens.
        found = first_break(record.text, len(spec.prompt.split()))
        words = len(record.text.split())
        if found is not None:
            record.outcome, record.error = Outcome.WRONG_SEQUENCE, str(found)
        elif words != record.output_tokens:
            record.outcome = Outcome.WRONG_SEQUENCE
            record.error = f"the text has {words} tokens, the server counts {record.output_tokens}"
