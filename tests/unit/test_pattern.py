"""The text of a stream's events, taken without parsing: always what parsing each event would have brought."""

import json
import random
from typing import Any

import orjson
import pytest

from DynamoFaultLibrary.load import exchange as exchange_module
from DynamoFaultLibrary.load import pattern as pattern_module
from DynamoFaultLibrary.load.exchange import _Answer
from DynamoFaultLibrary.load.pattern import Pattern
from DynamoFaultLibrary.load.records import Endpoint, Record, RequestSpec

SPEC = RequestSpec("request-1", "http://x", Endpoint.CHAT, "m", "Tell me", 8, streaming=True)
DONE = b"data: [DONE]\n\n"


def event(data: Any, end: bytes = b"\n\n") -> bytes:
    return b"data: " + orjson.dumps(data) + end


def chat(text: str | None, finish: str | None = None, *, id: str = "a-1", **more: Any) -> dict[str, Any]:  # noqa: A002
    choice = {"index": 0, "delta": {"content": text, "role": "assistant"}, "finish_reason": finish, "logprobs": None}
    return {"id": id, "choices": [choice], "created": 1, "usage": None, **more}


def completion(text: str, finish: str | None = None) -> dict[str, Any]:
    return {"id": "a-1", "choices": [{"index": 0, "text": text, "finish_reason": finish}]}


def read(pieces: list[bytes]) -> Record:
    record = Record.of(SPEC)
    answer = _Answer(SPEC, record, lambda _: None)
    answer.status(200)
    for piece in pieces:
        answer.body(piece, 0.0)
    record.ttft_s, record.gaps_s = None if record.ttft_s is None else 0.0, [0.0] * len(record.gaps_s)
    return record


def read_by_parsing(pieces: list[bytes]) -> Record:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Pattern, "text_in", lambda self, event: "")
        return read(pieces)


WORDS = [" a", "b", " 1933", "a-1", "text", "assistant", "content", "null", "?"]
ODD = ['say "hi"', "back\\slash", "tab\there", "new\nline", "naïve", "日本", "\x7f", "", " ", "data:", "[DONE]", "}]"]
USAGE = {"prompt_tokens": 3, "completion_tokens": 1}
STREAMS = {
    "chat": [event(chat(word)) for word in WORDS],
    "completion": [event(completion(word)) for word in WORDS],
    "odd texts": [event(chat(word)) for odd in ODD for word in (" a", odd, "b")],
    "odd texts first": [event(chat(word)) for odd in ODD for word in (odd, "b", " a")],
    "other spelling": [b"data:" + json.dumps(chat(word)).encode() + b"\n\n" for word in [*WORDS, *ODD]],
    "carriage returns": [event(chat(word), b"\r\n\r\n") for word in WORDS],
    "one line feed": [event(chat(word), b"\n") for word in WORDS],
    "no role at first": [event({"id": "a-1", "choices": [{"delta": {"content": "a"}}]})] + [event(chat("b"))] * 3,
    "an end with a text": [event(chat("a")), event(chat("b")), event(chat("c", "length")), event(chat("d", "length"))],
    "usage each time": [event(chat(word, usage={**USAGE, "completion_tokens": 7})) for word in WORDS],
    "usage at the end": [event(chat("a")), event(chat("b")), event(chat("c", usage=USAGE)), event(chat("d")), DONE],
    "an error in between": [event(chat("a")), event(chat("b")), event({"error": "gone"}), event(chat("c"))],
    "another id": [event(chat(word, id=f"{number}")) for number, word in enumerate(WORDS)],
    "two choices": [event({**chat("a"), "choices": chat("a")["choices"] + chat("b")["choices"]})] * 3,
    "another time each": [event(chat(word, created=number)) for number, word in enumerate(WORDS * 2)],
    "text and delta": [event({"id": "a", "choices": [{"text": word, "delta": {"content": word}}]}) for word in "abca"],
    "an empty text beside": [
        event({"id": "a", "choices": [{"text": "", "delta": {"content": word}}]}) for word in "abc"
    ],
    "named twice": [
        b'data: {"id":"i","choices":[{"delta":{"content":"%s","content":"a"}}]}\n\n' % w for w in (b"a", b"b")
    ],
    "the last one twice": [event(chat("a"))]
    + [b'data: {"id":"i","choices":[{"delta":{"content":"a"}}],"choices":[]}\n\n'] * 3,
    "comments": [event(chat("a")), b": still here\n\n", event(chat("b")), b": still here\n\n", event(chat("c"))],
    "a comment without an end": [event(chat("a")), event(chat("b")), b": half", event(chat("c")), event(chat("d"))],
    "spaces before the next line": [
        event(chat(word), end) for word, end in zip("abcd", [b"\n ", b"\n\n"] * 2, strict=True)
    ],
    "a line that does not begin with data": [b"data:", *(b"     " + orjson.dumps(chat(w)) + b"\n" for w in "abc")],
    "two lines of data": [event(chat("a"), b"\n") + event(chat("b"))] * 2 + [event(chat("c"))],
    "behind the end": [event(chat("a")), event(chat("b")), DONE],
}


@pytest.mark.parametrize("events", STREAMS.values(), ids=STREAMS)
def test_what_is_read_is_what_parsing_brings(events: list[bytes]) -> None:
    chance = random.Random(1)  # noqa: S311  # cuts, the same each time
    whole = b"".join(events)
    cuts = [sorted(chance.sample(range(len(whole)), k=min(9, len(whole) - 1))) for _ in range(200)]
    for pieces in [
        events,
        [whole],
        *([whole[begin:end] for begin, end in zip([0, *at], [*at, len(whole)], strict=True)] for at in cuts),
    ]:
        assert read(pieces) == read_by_parsing(pieces), pieces
    assert read(events).text


class Parser:
    """Stands for orjson where events are parsed, and counts."""

    JSONDecodeError = orjson.JSONDecodeError
    dumps = staticmethod(orjson.dumps)

    def __init__(self) -> None:
        self.count = 0

    def loads(self, data: bytes) -> Any:
        self.count += 1
        return orjson.loads(data)


@pytest.fixture
def parser(monkeypatch: pytest.MonkeyPatch) -> Parser:
    made = Parser()
    monkeypatch.setattr(exchange_module, "orjson", made)
    return made


@pytest.mark.parametrize("name", ["chat", "completion", "other spelling", "carriage returns", "one line feed"])
def test_only_the_first_event_of_many_that_are_alike_is_parsed(name: str, parser: Parser) -> None:
    read(STREAMS[name][:9])
    assert parser.count == 1


def test_a_new_pattern_is_learned_when_something_else_changes(parser: Parser) -> None:
    read([event(chat(word, created=second)) for second in range(20) for word in WORDS])
    assert parser.count == 20


def test_an_answer_whose_events_are_never_alike_is_parsed_and_no_more_patterns_are_made(
    parser: Parser, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = []
    found = pattern_module._around_text
    monkeypatch.setattr(pattern_module, "_around_text", lambda *args: made.append(args) or found(*args))
    assert read([event(chat("a", created=number)) for number in range(20)]).output_tokens == 20
    assert (parser.count, len(made)) == (20, 3)
