"""The engine beside httpx, an independent client: the same requests to the same servers mean and yield the same."""

import asyncio
import json
from typing import Any

import httpx
import pytest
import uvloop

from DynamoFaultLibrary.load.address import Address
from DynamoFaultLibrary.load.exchange import exchange
from DynamoFaultLibrary.load.http1 import Client, ExchangeError
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record, RequestSpec
from tests.unit.test_http1 import CHUNKED, HEAD, TO_CLOSE, WHOLE, Answer, Peer, serving

OWN = {"accept-encoding", "connection", "user-agent"}
"""Headers in which two clients may differ."""


def meaning(request: bytes) -> tuple[bytes, dict[bytes, bytes], Any]:
    """What a request says: its first line, its headers, its body."""
    head, _, body = request.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = dict(line.lower().split(b": ", 1) for line in lines)
    return first, {name: value for name, value in headers.items() if name.decode() not in OWN}, json.loads(body)


def spec_of(url: str, **changes: Any) -> RequestSpec:
    made = RequestSpec("request-1", url, Endpoint.COMPLETION, "m", "Tell me \u00e4", 3, True, 5.0)
    return RequestSpec(**{**made.to_json(), "endpoint": made.endpoint, **changes})


async def by_httpx(spec: RequestSpec) -> tuple[int | None, bytes]:
    async with httpx.AsyncClient(trust_env=False) as client:
        try:
            answer = await client.post(spec.api, json=spec.body, headers={"x-request-id": spec.id})
        except httpx.TransportError:
            return None, b""
        return answer.status_code, answer.content


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize("endpoint", list(Endpoint))
@pytest.mark.parametrize("base", ["", "/base", "/b%20c/\u00e4"])
def test_what_is_received_means_the_same(endpoint: Endpoint, streaming: bool, base: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(WHOLE)

    async def run() -> list[bytes]:
        async with serving(script) as server, Client() as client:
            spec = spec_of(server.url + base, endpoint=endpoint, streaming=streaming, seed=3, extra_body={"top_k": 1})
            await by_httpx(spec)
            await exchange(client, spec, Record.of(spec), lambda _: None)
            return server.requests

    theirs, ours = (meaning(request) for request in uvloop.run(run()))
    assert ours[0] == theirs[0]
    assert ours[2] == theirs[2]
    assert {**ours[1], b"content-length": b""} == {**theirs[1], b"content-length": b""}


ANSWERS = {
    "length": WHOLE,
    "chunked": CHUNKED,
    "to its close": TO_CLOSE,
    "early hints": b"HTTP/1.1 103 Early\r\n\r\n" + WHOLE,
    "busy": b"HTTP/1.1 529 Busy\r\nContent-Length: 4\r\n\r\nbusy",
    "no content": b"HTTP/1.1 204 No\r\n\r\n",
    "redirect": b"HTTP/1.1 307 There\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n",
    "old": b"HTTP/1.0 200 OK\r\n\r\nhello",
    "closed": b"",
    "cut": WHOLE[:-1],
    "cut in a chunk": CHUNKED[:52],
    "no HTTP": b"good morning\r\n\r\n",
    "bad length": HEAD + b"Content-Length: x\r\n\r\nhello",
}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
def test_what_is_answered_is_understood_the_same(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer)

    async def run() -> tuple[tuple[int | None, bytes], tuple[int | None, bytes], Record]:
        async with serving(script) as server, Client() as client:
            spec = spec_of(server.url, streaming=False)
            record, kept = Record.of(spec), Answer()
            await exchange(client, spec, record, lambda _: None)
            try:
                await client.post(Address.parse(spec.api), b"", b"{}", kept)
                ours = kept.code, kept.text
            except ExchangeError:
                ours = None, b""
            return ours, await by_httpx(spec), record

    ours, theirs, record = uvloop.run(asyncio.wait_for(run(), 10))
    assert ours == theirs
    assert (record.outcome is Outcome.CONNECTION) is (theirs[0] is None)
