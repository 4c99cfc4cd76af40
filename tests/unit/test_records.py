import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.plan import LoadPlan, prompt_of
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record, RequestSpec, read_records


def plan(**changes: Any) -> LoadPlan:
    fields: dict[str, Any] = {
        "name": "background",
        "url": "http://127.0.0.1:1",
        "model": "m",
        "concurrency": 4,
        "request_count": 100,
        "requests_per_client": None,
        "duration_s": None,
        "request_rate": None,
        "input_tokens": 8,
        "output_tokens": 16,
        "endpoint": Endpoint.CHAT,
        "streaming": True,
        "timeout_s": 60.0,
        "check_sequence": False,
    }
    return LoadPlan(**{**fields, **changes})


def spec(**changes: Any) -> RequestSpec:
    fields: dict[str, Any] = {
        "id": "r-1",
        "url": "http://host:1",
        "endpoint": Endpoint.COMPLETION,
        "model": "m",
        "prompt": "a b",
        "max_tokens": 5,
        "streaming": False,
    }
    return RequestSpec(**{**fields, **changes})


def record(**changes: Any) -> Record:
    made = Record("r-1", "", 0, Endpoint.CHAT, True, 8, "2026-01-01T00:00:00.000000Z", 100.0, 102.5)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def test_a_load_has_as_many_requests_as_were_asked_for() -> None:
    assert plan().total == 100
    assert plan(request_count=None, requests_per_client=7).total == 28
    assert plan(request_count=None, duration_s=10.0).total is None


@pytest.mark.parametrize(
    "ends",
    [
        {"request_count": None},
        {"requests_per_client": 2},
        {"duration_s": 1.0},
        {"request_count": None, "requests_per_client": 1, "duration_s": 1.0},
    ],
)
def test_a_load_ends_by_exactly_one_of_three(ends: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="exactly one of request_count, requests_per_client and duration"):
        plan(**ends)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concurrency": 0}, "concurrency of load 'background' must be above 0, not 0"),
        ({"request_count": -1}, "request_count of load 'background' must be above 0, not -1"),
        ({"request_count": None, "duration_s": 0.0}, "duration of load 'background' must be above 0, not 0"),
        ({"request_count": None, "requests_per_client": 0}, "requests_per_client of load 'background' must be above 0"),
        ({"request_rate": -0.5}, "request_rate of load 'background' must be above 0, not -0.5"),
        ({"input_tokens": 0}, "input_tokens of load 'background' must be 1 or more, not 0"),
        ({"output_tokens": 0}, "output_tokens of load 'background' must be 1 or more, not 0"),
    ],
)
def test_a_load_of_nothing_is_an_error_with_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError) as raised:
        plan(**changes)
    assert str(raised.value).startswith(message)


def test_a_load_is_described_in_one_line() -> None:
    assert plan().describe() == "4 clients, 100 requests, streaming chat, 8 tokens in, 16 out"
    rated = plan(request_count=None, duration_s=2.5, request_rate=20.0, streaming=False, endpoint=Endpoint.COMPLETION)
    assert rated.describe() == "4 clients, 2.5 s at 20 requests/s, unary completion, 8 tokens in, 16 out"


def test_a_plan_is_the_same_after_it_was_json() -> None:
    made = plan(request_rate=2.5)
    assert LoadPlan.from_json(json.loads(json.dumps(made.to_json()))) == made


@pytest.mark.parametrize("tokens", [1, 8, 10, 11, 100])
def test_a_prompt_has_so_many_words(tokens: int) -> None:
    assert len(prompt_of(tokens).split()) == tokens


def test_a_completion_sends_its_prompt_as_text() -> None:
    assert spec().api == "http://host:1/v1/completions"
    assert spec().body == {"model": "m", "max_tokens": 5, "temperature": 0, "ignore_eos": True, "prompt": "a b"}


def test_a_chat_sends_its_prompt_as_a_message() -> None:
    chat = spec(endpoint=Endpoint.CHAT)
    assert chat.api == "http://host:1/v1/chat/completions"
    assert chat.body["messages"] == [{"role": "user", "content": "a b"}]
    assert "prompt" not in chat.body


def test_a_stream_asks_for_usage() -> None:
    body = spec(streaming=True).body
    assert body["stream"] is True
    assert body["stream_options"] == {"include_usage": True}


def test_a_seed_is_sent_only_where_there_is_one() -> None:
    assert spec(seed=0).body["seed"] == 0
    assert "seed" not in spec().body


def test_a_spec_is_the_same_after_it_was_json() -> None:
    made = spec(seed=3, check_sequence=True, load="l", client=2)
    assert RequestSpec.from_json(json.loads(json.dumps(made.to_json()))) == made


@given(
    outcome=st.sampled_from(Outcome),
    endpoint=st.sampled_from(Endpoint),
    status=st.none() | st.integers(100, 599),
    error=st.text('a"\\\nä✓', max_size=8),
    gaps=st.lists(st.integers(0, 10**8).map(lambda n: n / 10**5), max_size=4),
)
def test_a_record_is_the_same_after_it_was_json(
    outcome: Outcome, endpoint: Endpoint, status: int | None, error: str, gaps: list[float]
) -> None:
    made = record(outcome=outcome, endpoint=endpoint, status=status, error=error, gaps_s=gaps)
    assert Record.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_gaps_are_written_with_10_microseconds() -> None:
    assert record(gaps_s=[0.123456789]).to_json()["gaps_s"] == [0.12346]


def test_latency_counts_from_the_schedule_else_from_the_start() -> None:
    assert record().latency_s == 2.5
    assert record(scheduled_monotonic_s=99.0).latency_s == 3.5
    assert record(scheduled_monotonic_s=0.0).latency_s == 102.5


def test_the_longest_gap_needs_two_chunks() -> None:
    assert record().longest_gap_s is None
    assert record(gaps_s=[0.1, 0.4, 0.2]).longest_gap_s == 0.4


def test_a_summary_tells_what_was_asked_for_and_what_came() -> None:
    made = record(
        outcome=Outcome.OK, output_tokens=8, status=200, finish_reason="length", gaps_s=[0.01, 0.25], error=""
    )
    assert made.summary() == ("ok: 8 of 8 tokens in 2.500 s, status 200, finish reason 'length', longest gap 250 ms")
    failed = record(outcome=Outcome.CONNECTION, error="ConnectError: refused")
    assert failed.summary() == "connection: 0 of 8 tokens in 2.500 s, status None, ConnectError: refused"


def test_records_are_read_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text("".join(json.dumps(record(id=name).to_json()) + "\n" for name in "abc"))
    assert [found.id for found in read_records(path)] == ["a", "b", "c"]


def test_a_torn_last_record_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps(record().to_json()) + '\n{"id": "torn", "lo')
    assert [found.id for found in read_records(path)] == ["r-1"]


def test_a_file_without_records_has_none(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.touch()
    assert read_records(path) == []


@pytest.mark.parametrize("line", ["{", "null", "{}", '{"id": "x"}', ""])
def test_a_line_that_is_no_record_is_an_error_with_its_place(line: str, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    good = json.dumps(record().to_json())
    path.write_text(f"{good}\n{line}\n{good}\n")
    with pytest.raises(LoadError, match=f"'{path}' line 2 is no record of schema 1: "):
        read_records(path)


def test_a_record_with_an_unknown_outcome_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({**record().to_json(), "outcome": "fine"}) + "\n")
    with pytest.raises(LoadError, match="line 1 is no record of schema 1: 'fine' is not a valid Outcome"):
        read_records(path)


def test_records_that_are_not_there_are_an_error_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=f"cannot read records '{tmp_path}/none.jsonl': No such file or directory"):
        read_records(tmp_path / "none.jsonl")
