import asyncio
import json
import os
import socket
import struct
import threading
import time
import tracemalloc
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest
import uvloop

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.engines.sequence import token_at
from DynamoFaultLibrary.load import exchange as exchange_module
from DynamoFaultLibrary.load import http1
from DynamoFaultLibrary.load.exchange import exchange
from DynamoFaultLibrary.load.http1 import Client
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record, RequestSpec
from DynamoFaultLibrary.load.table import Table
from tests.unit.test_stamps import LATE, needs_stamps

COMPLETIONS, CHAT = "/v1/completions", "/v1/chat/completions"
DONE = b"data: [DONE]\n\n"
PROMPT = "Tell me a story"
WORDS = [f"{token_at(4 + index)}" for index in range(8)]


def event(data: Any) -> bytes:
    return b"data: " + json.dumps(data).encode() + b"\n\n"


def text(word: str, finish: str | None = None, chat: bool = False) -> bytes:
    content = {"delta": {"content": word}} if chat else {"text": word}
    return event({"id": "answer-1", "choices": [{"index": 0, **content, "finish_reason": finish}]})


def usage(prompt: int, tokens: int) -> bytes:
    numbers = {"prompt_tokens": prompt, "completion_tokens": tokens}
    return event({"id": "answer-1", "choices": [], "usage": numbers})


def spec_of(url: str, **changes: Any) -> RequestSpec:
    fields: dict[str, Any] = {
        "id": "request-1",
        "url": url,
        "endpoint": Endpoint.COMPLETION,
        "model": "m",
        "prompt": PROMPT,
        "max_tokens": 3,
        "streaming": True,
        "timeout_s": 5.0,
    }
    return RequestSpec(**{**fields, **changes})


def send(spec: RequestSpec, on_chunk: Callable[[], None] = lambda: None) -> tuple[Record, list[int]]:
    record = Record.of(spec)
    counts: list[int] = []

    def note(seen: Record) -> None:
        counts.append(seen.output_tokens)
        on_chunk()

    async def run() -> None:
        async with Client() as client:
            await exchange(client, spec, record, note)

    uvloop.run(run())
    return record, counts


def test_a_whole_stream_is_ok(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a "), text("b "), text("c", "length"), usage(4, 3), DONE)
    record, counts = send(spec_of(loopback.url))
    assert (record.outcome, record.error, record.status) == (Outcome.OK, "", 200)
    assert (record.text, record.output_tokens, record.prompt_tokens) == ("a b c", 3, 4)
    assert (record.finish_reason, record.response_id) == ("length", "answer-1")
    assert counts == [1, 2, 3]


def test_a_stream_is_measured_on_the_monotonic_clock(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a "), text("b "), text("c", "length"), DONE)
    before = monotonic()
    record, _ = send(spec_of(loopback.url))
    assert before <= record.started_monotonic_s <= record.ended_monotonic_s <= monotonic()
    assert record.ttft_s is not None
    assert len(record.gaps_s) == 2
    assert 0 < record.ttft_s + sum(record.gaps_s) <= record.latency_s + 2e-6  # gaps are whole microseconds
    assert record.started_at.endswith("Z")


def test_a_pause_in_a_stream_is_a_gap(loopback: Any) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(text("a "))
        loopback.ended.wait(0.1)
        handler.wfile.write(text("b ") + text("c", "length"))

    loopback.routes[COMPLETIONS] = answer
    record, _ = send(spec_of(loopback.url))
    assert record.is_ok
    assert record.longest_gap_s is not None
    assert 0.09 < record.longest_gap_s < 2
    assert record.gaps_s[1] < record.gaps_s[0]


@needs_stamps
def test_a_token_that_is_read_late_has_come_when_it_was_sent(loopback: Any) -> None:
    sent = threading.Event()
    began: list[float] = []
    ended: list[float] = []

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        began.append(monotonic())
        handler.wfile.write(text("a "))
        loopback.ended.wait(0.01)
        handler.wfile.write(text("b") + text(" c", "length") + DONE)
        ended.append(monotonic())
        sent.set()

    def be_late() -> None:
        if sent.wait(5):
            time.sleep(LATE)

    loopback.routes[COMPLETIONS] = answer
    record, counts = send(spec_of(loopback.url), be_late)
    assert (record.outcome, counts) == (Outcome.OK, [1, 2, 3])
    assert record.ttft_s is not None
    assert 0 < record.gaps_s[0] < ended[0] - began[0] + LATE
    assert record.gaps_s[1] == 0  # read together with the one before
    assert record.ended_monotonic_s < ended[0] + LATE  # it was not read before


def test_the_times_of_a_stream_never_go_back() -> None:
    """Whatever the clocks do, a piece comes at the request's start or later, and not before the one ahead of it."""
    record = Record.of(spec_of("http://127.0.0.1:1"))
    record.started_monotonic_s = 100.0
    answer = exchange_module._Answer(spec_of("http://127.0.0.1:1"), record, lambda _: None)
    for word, at in (("a", 99.0), ("b", 101.0), ("c", 100.5), ("d", 102.0)):
        answer.body(text(word), at)
    answer.end(101.0)
    assert (record.ttft_s, record.gaps_s, answer.over_s) == (0.0, [1.0, 0.0, 1.0], 102.0)


def test_a_chat_stream_is_read_from_its_deltas(loopback: Any) -> None:
    first = event({"id": "answer-1", "choices": [{"delta": {"role": "assistant", "content": None}}]})
    loopback.stream(CHAT, first, text("a ", chat=True), text("b ", chat=True), text("c", "length", chat=True), DONE)
    record, counts = send(spec_of(loopback.url, endpoint=Endpoint.CHAT))
    assert (record.outcome, record.text, record.output_tokens) == (Outcome.OK, "a b c", 3)
    assert counts == [1, 2, 3]


def test_our_id_and_body_are_sent(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a b c", "length"), usage(4, 3), DONE)
    spec = spec_of(loopback.url)
    send(spec)
    ((path, headers, body),) = loopback.seen
    assert (path, headers["x-request-id"], body) == (COMPLETIONS, "request-1", spec.body)


def test_an_event_split_over_reads_is_put_together(loopback: Any) -> None:
    whole = text("a ä ✓", "length") + usage(4, 3)
    loopback.stream(COMPLETIONS, *(whole[index : index + 1] for index in range(len(whole))))
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.text) == (Outcome.OK, "a ä ✓")


def test_comments_events_and_carriage_returns_are_read_over(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, b": ping\r\n\r\nevent: x\r\n", text("a", "length").replace(b"\n", b"\r\n"), DONE)
    record, _ = send(spec_of(loopback.url, max_tokens=1))
    assert (record.outcome, record.text) == (Outcome.OK, "a")


def test_the_server_count_of_tokens_wins_over_the_number_of_chunks(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a b", None), text(" c", "length"), usage(4, 3), DONE)
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.output_tokens) == (Outcome.OK, 3)


def test_a_unary_completion_is_ok(loopback: Any) -> None:
    body = {
        "id": "answer-1",
        "choices": [{"text": "a b c", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3},
    }
    loopback.answer(COMPLETIONS, body)
    record, counts = send(spec_of(loopback.url, streaming=False))
    assert (record.outcome, record.text, record.output_tokens) == (Outcome.OK, "a b c", 3)
    assert (record.response_id, record.finish_reason, record.prompt_tokens) == ("answer-1", "length", 4)
    assert (counts, record.ttft_s, record.gaps_s) == ([], None, [])


def test_a_unary_chat_is_read_from_its_message(loopback: Any) -> None:
    body = {
        "id": "answer-1",
        "choices": [{"message": {"content": "a b c"}, "finish_reason": "length"}],
        "usage": {"prompt_tokens": 4, "completion_tokens": 3},
    }
    loopback.answer(CHAT, body)
    record, _ = send(spec_of(loopback.url, streaming=False, endpoint=Endpoint.CHAT))
    assert (record.outcome, record.text) == (Outcome.OK, "a b c")


def test_fewer_tokens_than_asked_for_are_truncated(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a "), text("b", "stop"), usage(4, 2), DONE)
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.error) == (Outcome.TRUNCATED, "2 of 3 tokens")
    assert record.finish_reason == "stop"


def test_an_error_object_in_a_stream_is_a_stream_error_with_its_text(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a "), event({"message": "worker is gone", "code": 500}), DONE)
    record, _ = send(spec_of(loopback.url))
    assert record.outcome is Outcome.STREAM_ERROR
    assert json.loads(record.error) == {"message": "worker is gone", "code": 500}
    assert (record.status, record.text, record.output_tokens) == (200, "a ", 1)


def test_a_stream_error_stays_one_whatever_follows(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, event({"error": {"message": "x"}}), text("a b c", "length"), usage(4, 3), DONE)
    record, _ = send(spec_of(loopback.url))
    assert record.outcome is Outcome.STREAM_ERROR


def test_a_status_other_than_200_is_an_http_error_with_its_body(loopback: Any) -> None:
    loopback.answer(COMPLETIONS, b"no instances " + b"x" * 1000, status=500)
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.status) == (Outcome.HTTP_ERROR, 500)
    assert record.error.startswith("no instances ")
    assert len(record.error) == 500


@pytest.mark.parametrize("status", [201, 404, 429, 503])
def test_each_status_but_200_is_an_http_error_of_unary_requests_too(loopback: Any, status: int) -> None:
    loopback.answer(COMPLETIONS, {"error": "busy"}, status=status)
    record, _ = send(spec_of(loopback.url, streaming=False))
    assert (record.outcome, record.status, record.error) == (Outcome.HTTP_ERROR, status, '{"error": "busy"}')


def test_a_refused_connection_is_recorded() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        port = closed.getsockname()[1]
        record, _ = send(spec_of(f"http://127.0.0.1:{port}"))
    assert (record.outcome, record.status) == (Outcome.CONNECTION, None)
    assert record.error == f"127.0.0.1:{port} refused the connection"
    assert record.ended_monotonic_s >= record.started_monotonic_s > 0


def test_a_stream_that_ends_without_a_finish_reason_is_incomplete(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a "), text("b "), text("c "))
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.status, record.output_tokens) == (Outcome.INCOMPLETE, 200, 3)


def test_a_stream_that_is_done_without_a_finish_reason_is_incomplete(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a b c"), usage(4, 3), DONE)
    record, _ = send(spec_of(loopback.url))
    assert record.outcome is Outcome.INCOMPLETE


@pytest.mark.parametrize("streaming", [True, False])
def test_an_answer_that_breaks_off_is_a_broken_connection(loopback: Any, streaming: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", "100000")
        handler.end_headers()
        handler.wfile.write(text("a "))

    loopback.routes[COMPLETIONS] = answer
    record, _ = send(spec_of(loopback.url, streaming=streaming))
    assert (record.outcome, record.status) == (Outcome.CONNECTION, 200)
    assert record.error


def test_a_server_that_hangs_up_without_an_answer_is_a_broken_connection(loopback: Any) -> None:
    loopback.routes[COMPLETIONS] = lambda handler: None
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.status) == (Outcome.CONNECTION, None)
    assert "closed the connection before its answer began" in record.error


def test_an_answer_that_is_no_http_is_a_broken_connection(loopback: Any) -> None:
    loopback.routes[COMPLETIONS] = lambda handler: handler.wfile.write(b"good morning\r\n\r\n")
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.status) == (Outcome.CONNECTION, None)
    assert record.error


def test_a_connection_that_is_reset_in_a_stream_is_a_broken_connection(loopback: Any) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version = "HTTP/1.1"
        handler.send_response(200)
        handler.send_header("Transfer-Encoding", "chunked")
        handler.end_headers()
        chunk = text("a ")
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
        received.wait(5)
        handler.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        os.close(handler.connection.detach())

    received = threading.Event()
    loopback.routes[COMPLETIONS] = answer
    record, _ = send(spec_of(loopback.url), received.set)
    assert (record.outcome, record.status, record.text) == (Outcome.CONNECTION, 200, "a ")
    assert record.error


@pytest.mark.parametrize("headers", [True, False], ids=["in the body", "before the head"])
def test_a_server_that_does_not_go_on_is_a_timeout(loopback: Any, headers: bool) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        if headers:
            handler.send_response(200)
            handler.end_headers()
            handler.wfile.write(text("a "))
        loopback.ended.wait(5)

    loopback.routes[COMPLETIONS] = answer
    record, _ = send(spec_of(loopback.url, timeout_s=0.15))
    assert (record.outcome, record.error) == (Outcome.TIMEOUT, f"{int(headers)} of 3 tokens after 0.15 s")
    assert 0.1 < record.latency_s < 3
    assert record.status == (200 if headers else None)


def test_a_cancelled_request_is_recorded_and_the_cancel_goes_on(loopback: Any) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(text("a "))
        loopback.ended.wait(5)

    loopback.routes[COMPLETIONS] = answer
    spec = spec_of(loopback.url)
    record = Record.of(spec)

    async def run() -> None:
        async with Client() as client:
            first = asyncio.Event()
            task = asyncio.ensure_future(exchange(client, spec, record, lambda _: first.set()))
            await asyncio.wait_for(first.wait(), 5)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    uvloop.run(run())
    assert (record.outcome, record.text) == (Outcome.CANCELLED, "a ")
    assert record.ended_monotonic_s > record.started_monotonic_s


@pytest.mark.parametrize("events", [[b"data: {broken\n\n"], [b"data:\n\n"]], ids=["broken json", "no json"])
def test_a_chunk_that_is_no_json_is_an_error(loopback: Any, events: list[bytes]) -> None:
    loopback.stream(COMPLETIONS, text("a "), *events, text("b c", "length"), DONE)
    record, _ = send(spec_of(loopback.url))
    assert record.outcome is Outcome.MALFORMED
    assert record.error.startswith("JSONDecodeError: ")


@pytest.mark.parametrize("chunk", [None, 5, {"choices": None}, {"choices": [None]}], ids=json.dumps)
def test_a_chunk_of_an_unknown_shape_is_recorded_as_an_error(loopback: Any, chunk: Any) -> None:
    loopback.stream(COMPLETIONS, text("a "), event(chunk), DONE)
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.status) == (Outcome.MALFORMED, 200)
    assert record.error


@pytest.mark.parametrize("body", [None, [], {"choices": [None]}], ids=json.dumps)
def test_an_answer_of_an_unknown_shape_is_recorded_as_an_error(loopback: Any, body: Any) -> None:
    loopback.answer(COMPLETIONS, body)
    record, _ = send(spec_of(loopback.url, streaming=False))
    assert (record.outcome, record.status) == (Outcome.MALFORMED, 200)
    assert record.error


def test_a_unary_answer_that_is_no_json_is_an_error(loopback: Any) -> None:
    loopback.answer(COMPLETIONS, b"<html>")
    record, _ = send(spec_of(loopback.url, streaming=False))
    assert record.outcome is Outcome.MALFORMED
    assert record.error.startswith("JSONDecodeError: ")


def sequence(loopback: Any, words: list[str], prompt_tokens: int = 4, counted: int | None = None) -> Record:
    chunks = [text(f"{word} ") for word in words[:-1]] + [text(words[-1], "length")]
    loopback.stream(COMPLETIONS, *chunks, usage(prompt_tokens, len(words) if counted is None else counted), DONE)
    record, _ = send(spec_of(loopback.url, max_tokens=8, check_sequence=True))
    return record


def test_an_answer_in_sequence_is_ok(loopback: Any) -> None:
    assert sequence(loopback, WORDS).outcome is Outcome.OK


def test_a_sequence_counts_from_the_prompt_that_was_sent_and_not_from_usage(loopback: Any) -> None:
    assert sequence(loopback, WORDS, prompt_tokens=7).outcome is Outcome.OK


def test_a_wrong_token_is_a_wrong_sequence_with_its_place(loopback: Any) -> None:
    record = sequence(loopback, [*WORDS[:5], "999", *WORDS[6:]])
    assert (record.outcome, record.error) == (Outcome.WRONG_SEQUENCE, "token 5 is '999', expected '19'")


def test_a_lost_token_is_a_wrong_sequence_even_where_the_answer_is_too_short(loopback: Any) -> None:
    record = sequence(loopback, WORDS[:3] + WORDS[4:])
    assert (record.outcome, record.error) == (Outcome.WRONG_SEQUENCE, "token 3 is '18', expected '17'")


def test_a_count_that_differs_from_the_text_is_a_wrong_sequence(loopback: Any) -> None:
    record = sequence(loopback, WORDS, counted=9)
    assert record.outcome is Outcome.WRONG_SEQUENCE
    assert record.error == "the text has 8 tokens, the server counts 9"


def test_a_short_answer_in_sequence_is_truncated(loopback: Any) -> None:
    record = sequence(loopback, WORDS[:6])
    assert (record.outcome, record.error) == (Outcome.TRUNCATED, "6 of 8 tokens")


def test_the_sequence_is_not_checked_where_nobody_asks_for_it(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("not a sequence", "length"), usage(4, 3), DONE)
    record, _ = send(spec_of(loopback.url))
    assert record.is_ok


BUSY, GOOD = 503, 200


def answering(loopback: Any, *statuses: int) -> None:
    """Answer with each status in turn, then with the last one."""
    left = list(statuses)

    def answer(handler: BaseHTTPRequestHandler) -> None:
        status = left.pop(0) if len(left) > 1 else left[0]
        handler.send_response(status)
        handler.end_headers()
        handler.wfile.write(text("a b c", "length") + usage(4, 3) if status == GOOD else b"busy")

    loopback.routes[COMPLETIONS] = answer


@pytest.fixture
def no_delay(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "RETRY_DELAY", 0.0)


@pytest.mark.usefixtures("no_delay")
def test_a_failed_request_is_sent_again_until_it_is_good(loopback: Any) -> None:
    answering(loopback, BUSY, BUSY, GOOD)
    record, _ = send(spec_of(loopback.url, retries=3))
    assert (record.outcome, record.status, record.text, record.error) == (Outcome.OK, 200, "a b c", "")
    assert [(each.outcome, each.status, each.error) for each in record.failed_attempts] == [
        (Outcome.HTTP_ERROR, 503, "busy")
    ] * 2
    assert len(loopback.seen) == 3


@pytest.mark.usefixtures("no_delay")
def test_after_its_last_retry_a_request_has_failed(loopback: Any) -> None:
    answering(loopback, BUSY)
    record, _ = send(spec_of(loopback.url, retries=2))
    assert (record.outcome, record.status, record.error) == (Outcome.HTTP_ERROR, 503, "busy")
    assert len(record.failed_attempts) == 2
    assert len(loopback.seen) == 3


def test_without_retries_a_request_is_sent_once(loopback: Any) -> None:
    answering(loopback, BUSY, GOOD)
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.failed_attempts, len(loopback.seen)) == (Outcome.HTTP_ERROR, [], 1)


@pytest.mark.usefixtures("no_delay")
def test_a_retry_starts_with_nothing_of_the_failed_attempt(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("x "), text("y "), usage(9, 2))
    first = loopback.routes[COMPLETIONS]

    def answer(handler: BaseHTTPRequestHandler) -> None:
        first(handler)
        loopback.stream(COMPLETIONS, text("a "), text("b "), text("c", "length"), DONE)

    loopback.routes[COMPLETIONS] = answer
    record, _ = send(spec_of(loopback.url, retries=1))
    assert (record.outcome, record.text, record.output_tokens) == (Outcome.OK, "a b c", 3)
    assert (record.prompt_tokens, len(record.gaps_s)) == (None, 2)
    assert [each.outcome for each in record.failed_attempts] == [Outcome.INCOMPLETE]


@pytest.mark.usefixtures("no_delay")
def test_times_count_from_the_start_of_the_first_attempt(loopback: Any) -> None:
    answering(loopback, BUSY, GOOD)
    record, _ = send(spec_of(loopback.url, retries=1))
    (failed,) = record.failed_attempts
    assert record.started_monotonic_s < failed.ended_monotonic_s < record.ended_monotonic_s
    assert record.ttft_s is not None
    assert failed.ended_monotonic_s - record.started_monotonic_s < record.ttft_s <= record.latency_s


def test_between_a_failure_and_the_next_attempt_there_is_a_pause(
    loopback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(exchange_module, "RETRY_DELAY", 0.1)
    answering(loopback, BUSY, GOOD)
    record, _ = send(spec_of(loopback.url, retries=1))
    assert record.ended_monotonic_s - record.failed_attempts[0].ended_monotonic_s >= 0.1


def test_the_timeout_covers_all_attempts(loopback: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange_module, "RETRY_DELAY", 0.02)
    answering(loopback, BUSY)
    record, _ = send(spec_of(loopback.url, retries=1000, timeout_s=0.2))
    assert (record.outcome, record.error) == (Outcome.TIMEOUT, "0 of 3 tokens after 0.2 s")
    assert record.failed_attempts
    assert 0.2 <= record.latency_s < 3


def test_a_request_that_is_given_up_between_two_attempts_is_cancelled(loopback: Any) -> None:
    answering(loopback, BUSY)
    spec = spec_of(loopback.url, retries=1)
    record = Record.of(spec)

    async def run() -> None:
        async with Client() as client:
            task = asyncio.ensure_future(exchange(client, spec, record, lambda _: None))
            while not record.failed_attempts:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    uvloop.run(run())
    assert record.outcome is Outcome.CANCELLED
    assert [each.outcome for each in record.failed_attempts] == [Outcome.HTTP_ERROR]


def test_a_cancelled_request_is_not_sent_again(loopback: Any) -> None:
    loopback.routes[COMPLETIONS] = lambda handler: loopback.ended.wait(5)
    spec = spec_of(loopback.url, retries=5)
    record = Record.of(spec)

    async def run() -> None:
        async with Client() as client:
            task = asyncio.ensure_future(exchange(client, spec, record, lambda _: None))
            while not loopback.seen:
                await asyncio.sleep(0.005)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task

    uvloop.run(run())
    assert (record.outcome, record.failed_attempts, len(loopback.seen)) == (Outcome.CANCELLED, [], 1)


def test_a_short_answer_is_ok_where_the_end_of_a_sequence_is_not_ignored(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a "), text("b", "stop"), usage(4, 2), DONE)
    record, _ = send(spec_of(loopback.url, extra_body={"ignore_eos": False}))
    assert (record.outcome, record.output_tokens, record.finish_reason) == (Outcome.OK, 2, "stop")
    assert loopback.seen[0][2]["ignore_eos"] is False


def test_more_tokens_than_asked_for_are_malformed(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a b c d", "length"), usage(4, 4), DONE)
    record, _ = send(spec_of(loopback.url))
    assert (record.outcome, record.error) == (Outcome.MALFORMED, "4 tokens, 3 were asked for")


@pytest.mark.parametrize(("reuse", "connections"), [(True, 1), (False, 2)])
def test_requests_share_a_connection_unless_told_otherwise(loopback: Any, reuse: bool, connections: int) -> None:
    seen = set()

    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version, handler.close_connection = "HTTP/1.1", False
        seen.add(handler.client_address)
        body = json.dumps({"choices": [{"text": "a", "finish_reason": "length"}], "usage": {"completion_tokens": 1}})
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body.encode())

    loopback.routes[COMPLETIONS] = answer
    spec = spec_of(loopback.url, streaming=False, max_tokens=1)

    async def run() -> None:
        async with Client(reuse_connections=reuse) as client:
            for _ in range(2):
                record = Record.of(spec)
                await exchange(client, spec, record, lambda _: None)
                assert record.is_ok, record.error

    uvloop.run(run())
    assert len(seen) == connections


def test_a_request_ends_with_its_last_event_though_the_server_lingers(loopback: Any) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(text("a b c", "length") + usage(4, 3) + DONE)
        ended.append(monotonic())
        loopback.ended.wait(5)

    ended: list[float] = []
    loopback.routes[COMPLETIONS] = answer
    before = monotonic()
    record, _ = send(spec_of(loopback.url))
    after = monotonic()
    assert record.is_ok
    assert before < record.ended_monotonic_s
    assert after - record.ended_monotonic_s >= http1.DRAIN_TIMEOUT - 0.01


@pytest.mark.parametrize("finish", ["length", "stop"])
def test_the_timeout_does_not_hit_a_request_of_which_all_has_come(
    loopback: Any, monkeypatch: pytest.MonkeyPatch, finish: str
) -> None:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.end_headers()
        handler.wfile.write(text("a b", finish) + usage(4, 3 if finish == "length" else 2) + DONE)
        loopback.ended.wait(5)

    monkeypatch.setattr(http1, "DRAIN_TIMEOUT", 3600.0)
    loopback.routes[COMPLETIONS] = answer
    record, _ = send(spec_of(loopback.url, timeout_s=0.3))
    assert record.outcome is (Outcome.OK if finish == "length" else Outcome.TRUNCATED)
    assert record.latency_s < 0.3


@pytest.mark.parametrize("name", ["prompt_tokens", "completion_tokens"])
@pytest.mark.parametrize("count", ["3", -1, 2.5, True, [3]], ids=repr)
@pytest.mark.parametrize("streaming", [True, False])
def test_a_usage_that_counts_no_tokens_is_no_answer(loopback: Any, name: str, count: Any, streaming: bool) -> None:
    """The request counted as good, or no record of its load could be read any more."""
    said = {"prompt_tokens": 4, "completion_tokens": 3, name: count}
    answer = {"choices": [{"index": 0, "text": "a b c", "finish_reason": "length"}], "usage": said}
    if streaming:
        loopback.stream(COMPLETIONS, event(answer), DONE)
    else:
        loopback.answer(COMPLETIONS, answer)
    record, _ = send(spec_of(loopback.url, streaming=streaming))
    assert record.outcome is Outcome.MALFORMED
    assert f"usage has {name} {count!r}, which is no number of tokens" in record.error
    assert len(Table.of([record])) == 1


class _Counted:
    """A client whose server sends `pieces` of a body after `status`; how much of it was kept at most."""

    def __init__(self, status: int, piece: bytes, pieces: int) -> None:
        self.status, self.piece, self.pieces = status, piece, pieces

    async def post(self, address: Any, headers: bytes, body: bytes, sink: Any) -> None:
        sink.sent = True
        sink.status(self.status)
        tracemalloc.start()
        try:
            for _ in range(self.pieces):
                sink.body(bytes(bytearray(self.piece)), 0.0)
        finally:
            self.kept = tracemalloc.get_traced_memory()[1]
            tracemalloc.stop()


@pytest.mark.parametrize(
    ("status", "outcome", "error"),
    [
        (500, Outcome.HTTP_ERROR, "x" * 500),
        (200, Outcome.MALFORMED, "a line of the stream has more than 1048576 bytes"),
    ],
)
def test_a_body_without_end_is_not_collected(status: int, outcome: Outcome, error: str) -> None:
    """All of it was kept, and a line that did not end was copied again with each piece."""
    client = _Counted(status, b"x" * 65536, 400)
    spec = spec_of("http://127.0.0.1:1")
    record = Record.of(spec)
    asyncio.run(exchange(client, spec, record, lambda _: None))  # type: ignore[arg-type]
    assert (record.outcome, record.error) == (outcome, error)
    assert client.kept < 4 * 2**20


def test_an_answer_at_once_that_has_no_end_is_not_collected() -> None:
    """It was kept until its time-out: gigabytes from a server on the same machine."""
    client = _Counted(200, b"x" * 2**20, 200)
    spec = spec_of("http://127.0.0.1:1", streaming=False)
    record = Record.of(spec)
    asyncio.run(exchange(client, spec, record, lambda _: None))  # type: ignore[arg-type]
    assert (record.outcome, record.error) == (Outcome.MALFORMED, "the answer has more than 67108864 bytes")
    assert client.kept < 80 * 2**20


def test_a_long_answer_is_not_copied_for_each_token() -> None:
    """The text so far was copied with each chunk: 100,000 tokens took 7 s, in which nothing else was read."""
    chunk = text("token ")
    copies = set()

    class Streaming:
        async def post(self, address: Any, headers: bytes, body: bytes, sink: Any) -> None:
            sink.status(200)
            for _ in range(50):
                sink.body(chunk, 0.0)
                copies.add(record.text)
            sink.body(DONE, 0.0)

    spec = spec_of("http://127.0.0.1:1", max_tokens=50)
    record = Record.of(spec)
    asyncio.run(exchange(Streaming(), spec, record, lambda _: None))  # type: ignore[arg-type]
    assert copies == {""}
    assert (record.text, record.output_tokens) == ("token " * 50, 50)


def test_a_timeout_between_two_attempts_is_not_the_end_of_the_first(
    loopback: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It became an answer without a finish reason, which ended before its own failed attempt."""
    monkeypatch.setattr(exchange_module, "RETRY_DELAY", 3600.0)
    loopback.stream(COMPLETIONS, text("a b", "length"), usage(4, 2), DONE)
    record, _ = send(spec_of(loopback.url, timeout_s=0.5, retries=1))
    assert [attempt.outcome for attempt in record.failed_attempts] == [Outcome.TRUNCATED]
    assert (record.outcome, record.error) == (Outcome.TIMEOUT, "0 of 3 tokens after 0.5 s")
    assert record.ended_monotonic_s > record.failed_attempts[0].ended_monotonic_s


def test_a_timeout_before_there_is_a_connection_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        address = listener.getsockname()
        with socket.create_connection(address), socket.socket() as second:
            second.setblocking(False)
            second.connect_ex(address)
            url = f"http://127.0.0.1:{address[1]}"
            record, _ = send(spec_of(url, timeout_s=0.2))
            assert (record.outcome, record.error) == (Outcome.TIMEOUT, f"no connection to {url} after 0.2 s")
            monkeypatch.setattr(http1, "CONNECT_TIMEOUT", 0.1)
            record, _ = send(spec_of(url, timeout_s=5.0))
            assert record.outcome is Outcome.TIMEOUT
            assert record.error == f"no connection to 127.0.0.1:{address[1]} within 0.1 s"


def test_an_address_that_is_none_is_said() -> None:
    record, _ = send(spec_of("nowhere"))
    assert record.outcome is Outcome.CONNECTION
    assert record.error.startswith("needs an address such as http://127.0.0.1:8000, not 'nowhere")


@pytest.mark.parametrize(("name", "sent"), [("l\u00e1s 図", "l%C3%A1s %E5%9B%B3"), ("a\r\nx: y", "a%0D%0Ax%3A y")])
def test_a_name_of_any_characters_is_sent_as_ascii(loopback: Any, name: str, sent: str) -> None:
    """A server was blamed for names that cannot be a header (row 32)."""
    loopback.stream(COMPLETIONS, text("a b c", "length"), usage(4, 3), DONE)
    record, _ = send(spec_of(loopback.url, id=name))
    assert record.is_ok, record.error
    ((_, headers, _),) = loopback.seen
    assert headers["x-request-id"] == sent
    assert "x" not in headers


def test_a_base_path_goes_before_that_of_the_api(loopback: Any) -> None:
    for base in ("/base", "/base/"):
        loopback.stream("/base" + COMPLETIONS, text("a b c", "length"), usage(4, 3), DONE)
        record, _ = send(spec_of(loopback.url + base))
        assert record.is_ok, record.error


def test_the_timeout_between_two_attempts_is_one_whatever_the_first_has_brought(loopback: Any) -> None:
    loopback.stream(COMPLETIONS, text("a ", "stop"), usage(4, 1), DONE)
    record, _ = send(spec_of(loopback.url, retries=1, timeout_s=0.3))
    assert (record.outcome, record.error) == (Outcome.TIMEOUT, "0 of 3 tokens after 0.3 s")
    assert [each.outcome for each in record.failed_attempts] == [Outcome.TRUNCATED]
    assert record.latency_s >= 0.3
