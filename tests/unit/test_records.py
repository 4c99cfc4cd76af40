import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import (
    SCHEMA_VERSION,
    Attempt,
    Endpoint,
    Outcome,
    Record,
    RequestSpec,
    iterate_records,
    read_records,
)


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
    made = Record("r-1", "", 0, Endpoint.CHAT, True, 8, started_at="2026-01-01T00:00:00.000000Z")
    made.started_monotonic_s, made.ended_monotonic_s = 100.0, 102.5
    for name, value in changes.items():
        setattr(made, name, value)
    return made


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


def test_an_extra_body_adds_to_the_body_and_overrides_it() -> None:
    body = spec(extra_body={"temperature": 0.7, "ignore_eos": False, "nvext": {"a": 1}}).body
    assert (body["temperature"], body["ignore_eos"], body["nvext"], body["max_tokens"]) == (0.7, False, {"a": 1}, 5)


def test_the_end_of_a_sequence_is_ignored_unless_the_extra_body_says_otherwise() -> None:
    assert spec().ignores_eos
    assert spec(extra_body={"top_p": 1}).ignores_eos
    assert not spec(extra_body={"ignore_eos": False}).ignores_eos


def test_a_spec_is_the_same_after_it_was_json() -> None:
    made = spec(
        seed=3,
        check_sequence=True,
        load="l",
        client=2,
        retries=1,
        cancel_after_s=0.5,
        extra_body={"a": [1]},
        warmup=True,
    )
    assert RequestSpec.from_json(json.loads(json.dumps(made.to_json()))) == made


@given(
    outcome=st.sampled_from(Outcome),
    endpoint=st.sampled_from(Endpoint),
    status=st.none() | st.integers(100, 599),
    error=st.text('a"\\\nä✓', max_size=8),
    gaps=st.lists(st.floats(0, 1e6), max_size=4),
    scheduled=st.none() | st.floats(0, 1e6),
    attempts=st.lists(
        st.builds(Attempt, st.sampled_from(Outcome), st.none(), st.text("é", max_size=2), st.floats(0, 9))
    ),
)
def test_a_record_is_the_same_after_it_was_json(
    outcome: Outcome,
    endpoint: Endpoint,
    status: int | None,
    error: str,
    gaps: list[float],
    scheduled: float | None,
    attempts: list[Attempt],
) -> None:
    made = record(outcome=outcome, endpoint=endpoint, status=status, error=error, gaps_s=gaps)
    made.scheduled_monotonic_s, made.failed_attempts = scheduled, attempts
    assert Record.from_json(json.loads(made.to_line())) == made


def test_a_record_is_one_line_with_its_version() -> None:
    line = record(error="two\nlines").to_line()
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert json.loads(line)["version"] == SCHEMA_VERSION == 2


def test_a_record_of_a_request_knows_what_was_asked_for() -> None:
    made = Record.of(spec(load="l", client=3, input_tokens=2, warmup=True, streaming=True), 7.5)
    assert (made.id, made.load, made.client, made.endpoint) == ("r-1", "l", 3, Endpoint.COMPLETION)
    assert (made.streaming, made.requested_tokens, made.input_tokens, made.warmup) == (True, 5, 2, True)
    assert (made.scheduled_monotonic_s, made.outcome) == (7.5, Outcome.INCOMPLETE)


def test_records_of_the_same_prompt_have_the_same_hash() -> None:
    one, same, other = (Record.of(spec(prompt=prompt)).prompt_hash for prompt in ("a b", "a b", "a c"))
    assert one == same != other


@pytest.mark.parametrize("outcome", Outcome)
def test_a_request_failed_unless_it_is_good_or_was_given_up_on_purpose(outcome: Outcome) -> None:
    assert outcome.is_error is (outcome not in (Outcome.OK, Outcome.CANCELLED))


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
    path.write_bytes(b"".join(record(id=name).to_line() for name in "abc"))
    assert [found.id for found in read_records(path)] == ["a", "b", "c"]


def test_a_torn_last_record_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(record().to_line() + b'{"id": "torn", "lo')
    assert [found.id for found in read_records(path)] == ["r-1"]


def test_a_file_without_records_has_none(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.touch()
    assert read_records(path) == []


@pytest.mark.parametrize("line", ["{", "null", "{}", '{"id": "x"}', ""])
def test_a_line_that_is_no_record_is_an_error_with_its_place(line: str, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    good = record().to_line()
    path.write_bytes(good + line.encode() + b"\n" + good)
    with pytest.raises(LoadError, match=f"'{path}' line 2 is no record of schema 2: "):
        read_records(path)


def test_a_record_with_an_unknown_outcome_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({**json.loads(record().to_line()), "outcome": "fine"}) + "\n")
    with pytest.raises(LoadError, match="line 1 is no record of schema 2: 'fine' is not a valid Outcome"):
        read_records(path)


@pytest.mark.parametrize("version", [1, 3, "2"])
def test_a_record_of_another_schema_is_an_error_with_its_version(version: object, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({**json.loads(record().to_line()), "version": version}) + "\n")
    with pytest.raises(LoadError, match=f"schema 2: schema version {version}, expected 2"):
        read_records(path)


def test_records_are_read_one_at_a_time(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(record().to_line() + b"{}\n")
    assert next(iterate_records(path)) == record()


def test_records_that_are_not_there_are_an_error_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=f"cannot read records '{tmp_path}/none.jsonl': No such file or directory"):
        read_records(tmp_path / "none.jsonl")
