"""One request over HTTP, measured: what is sent, what comes back, when."""

import asyncio
from collections.abc import Callable
from typing import Any

import aiohttp
import httpx
import orjson
from httpx_aiohttp import AiohttpTransport

from DynamoFaultLibrary.clock import monotonic, utc_text
from DynamoFaultLibrary.engines.sequence import first_break
from DynamoFaultLibrary.load.records import Attempt, Outcome, Record, RequestSpec

OnChunk = Callable[[Record], None]
RETRY_DELAY = 0.5
"""Seconds between a failure and the next attempt."""
_DATA = b"data:"
_DONE = b"[DONE]"


def http_client(*, reuse_connections: bool = True) -> httpx.AsyncClient:
    """A client without limits of its own: nothing waits for a connection, nothing is retried or redirected."""

    def session() -> aiohttp.ClientSession:
        return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0, force_close=not reuse_connections))

    return httpx.AsyncClient(transport=AiohttpTransport(client=session), trust_env=False, timeout=None)  # noqa: S113  # see `exchange`


async def exchange(client: httpx.AsyncClient, spec: RequestSpec, record: Record, on_chunk: OnChunk) -> None:
    """Send `spec`, again after a failure if it asks for that, and fill `record`. Never raises but on cancel.

    `on_chunk` is called after each chunk of a stream. The header ``x-request-id`` carries our id: Dynamo's frontend
    writes it beside its own in its log.
    """
    record.started_at, record.started_monotonic_s = utc_text(), monotonic()
    try:
        async with asyncio.timeout(spec.timeout_s):
            await _attempt(client, spec, record, on_chunk)
            for _ in range(spec.retries):
                if not record.outcome.is_error:
                    break
                _set_aside(record)
                await asyncio.sleep(RETRY_DELAY)
                await _attempt(client, spec, record, on_chunk)
    except TimeoutError:
        record.outcome = Outcome.TIMEOUT
        record.error = f"{record.output_tokens} of {spec.max_tokens} tokens after {spec.timeout_s:g} s"
    except asyncio.CancelledError:
        record.outcome = Outcome.CANCELLED
        raise
    finally:
        record.ended_monotonic_s = monotonic()


def _set_aside(record: Record) -> None:
    """Keep what a failed attempt brought to light, and make room for the next one."""
    record.failed_attempts.append(Attempt(record.outcome, record.status, record.error, monotonic()))
    record.outcome, record.status, record.error = Outcome.INCOMPLETE, None, ""
    record.response_id = record.finish_reason = record.text = ""
    record.prompt_tokens, record.output_tokens, record.ttft_s, record.gaps_s = None, 0, None, []


async def _attempt(client: httpx.AsyncClient, spec: RequestSpec, record: Record, on_chunk: OnChunk) -> None:
    headers = {"x-request-id": spec.id, "content-type": "application/json"}
    try:
        async with client.stream("POST", spec.api, content=orjson.dumps(spec.body), headers=headers) as answer:
            record.status = answer.status_code
            if answer.status_code != 200:
                record.outcome = Outcome.HTTP_ERROR
                record.error = (await answer.aread()).decode(errors="replace")[:500]
            elif spec.streaming:
                await _read_stream(answer, record, on_chunk)
            else:
                _read_body(orjson.loads(await answer.aread()), record)
    except (httpx.HTTPError, aiohttp.ClientError) as error:
        # The transport calls a refused connection a timeout; its cause knows better.
        timed_out = isinstance(error.__cause__, TimeoutError)
        record.outcome = Outcome.TIMEOUT if timed_out else Outcome.CONNECTION
        record.error = _describe(error)
    except Exception as error:
        record.outcome, record.error = Outcome.MALFORMED, _describe(error)
    if record.outcome is Outcome.OK:
        _judge(spec, record)


def _describe(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


async def _read_stream(answer: httpx.Response, record: Record, on_chunk: OnChunk) -> None:
    rest = b""
    last = record.started_monotonic_s
    async for data in answer.aiter_raw():
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            if not line.startswith(_DATA):
                continue
            payload = line[len(_DATA) :].strip()
            if payload == _DONE:
                return
            chunk = orjson.loads(payload)
            if _take_chunk(chunk, record):
                now = monotonic()
                if record.ttft_s is None:
                    record.ttft_s = now - record.started_monotonic_s
                else:
                    record.gaps_s.append(round(now - last, 6))
                last = now
                on_chunk(record)


def _take_chunk(chunk: dict[str, Any], record: Record) -> bool:
    """Note one chunk; True when it carries output."""
    if "choices" not in chunk:
        record.outcome = Outcome.STREAM_ERROR
        record.error = orjson.dumps(chunk).decode()[:500]
        return False
    record.response_id = record.response_id or str(chunk.get("id") or "")
    _take_usage(chunk, record)
    carries = False
    for choice in chunk["choices"]:
        text = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
        if text:
            record.text += text
            carries = True
            if not chunk.get("usage"):
                record.output_tokens += 1
        _take_finish(choice, record)
    return carries


def _read_body(body: dict[str, Any], record: Record) -> None:
    record.response_id = str(body.get("id") or "")
    for choice in body.get("choices") or []:
        record.text += choice.get("text") or (choice.get("message") or {}).get("content") or ""
        _take_finish(choice, record)
    _take_usage(body, record)
    if record.outcome is Outcome.INCOMPLETE:
        record.error = f"no finish reason in {orjson.dumps(body).decode()[:300]}"


def _take_usage(data: dict[str, Any], record: Record) -> None:
    usage = data.get("usage")
    if usage:
        record.prompt_tokens = usage.get("prompt_tokens")
        record.output_tokens = usage.get("completion_tokens") or 0


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
