import json
from dataclasses import fields
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load import table as table_module
from DynamoFaultLibrary.load.records import Attempt, Endpoint, Outcome, Record
from DynamoFaultLibrary.load.table import OUTCOMES, Follower, Table, read_table, response_number

TIMES = st.floats(0, 1e6)
RECORDS = st.lists(
    st.builds(
        Record,
        id=st.just("r"),
        load=st.just("l"),
        client=st.integers(0, 3),
        endpoint=st.sampled_from(Endpoint),
        streaming=st.booleans(),
        requested_tokens=st.just(8),
        input_tokens=st.integers(0, 9),
        prompt_hash=st.integers(0, 2**32 - 1),
        warmup=st.booleans(),
        started_monotonic_s=TIMES,
        ended_monotonic_s=TIMES,
        scheduled_monotonic_s=st.none() | TIMES,
        failed_attempts=st.lists(st.just(Attempt(Outcome.TIMEOUT, None, "", 1.0)), max_size=2),
        status=st.none() | st.integers(100, 599),
        outcome=st.sampled_from(Outcome),
        prompt_tokens=st.none() | st.integers(0, 9),
        output_tokens=st.integers(0, 9),
        ttft_s=st.none() | TIMES,
        gaps_s=st.lists(TIMES, max_size=3),
    ),
    max_size=6,
)


def record(**changes: Any) -> Record:
    made = Record("r", "load", 0, Endpoint.CHAT, True, 8, ended_monotonic_s=1.0, outcome=Outcome.OK)
    for name, value in changes.items():
        setattr(made, name, value)
    return made


def columns(table: Table) -> dict[str, list[float]]:
    return {each.name: getattr(table, each.name).tolist() for each in fields(Table)}


@given(records=RECORDS)
def test_a_file_and_its_records_are_the_same_table(records: list[Record], tmp_path_factory: Any) -> None:
    path = tmp_path_factory.mktemp("table") / "requests.jsonl"
    path.write_bytes(b"".join(each.to_line() for each in records))
    np.testing.assert_equal(columns(read_table(path)), columns(Table.of(records)))


@given(records=RECORDS)
def test_rows_are_the_requests_after_the_warm_up_in_the_order_of_their_ends(records: list[Record]) -> None:
    counted = sorted((each for each in records if not each.warmup), key=lambda each: each.ended_monotonic_s)
    table = Table.of(records)
    assert len(table) == len(counted)
    assert table.ended.tolist() == [each.ended_monotonic_s for each in counted]
    assert table.prompt.tolist() == [each.prompt_hash for each in counted]
    assert table.latency.tolist() == [each.latency_s for each in counted]
    assert [OUTCOMES[int(code)] for code in table.outcome] == [each.outcome for each in counted]
    assert table.is_error.tolist() == [each.outcome.is_error for each in counted]
    assert table.is_ok.tolist() == [each.is_ok for each in counted]


def test_a_row_has_what_its_request_delivered() -> None:
    made = record(
        started_monotonic_s=2.0,
        ended_monotonic_s=5.0,
        scheduled_monotonic_s=1.5,
        ttft_s=0.5,
        gaps_s=[0.2, 0.4],
        input_tokens=7,
        output_tokens=4,
        prompt_hash=99,
        status=200,
        failed_attempts=[Attempt(Outcome.TIMEOUT, None, "", 1.0), Attempt(Outcome.TIMEOUT, None, "", 1.25)],
        response_id="cmpl-12345678-1234-1234-1234-00000000ff01",
    )
    seen = {name: values[0] for name, values in columns(Table.of([made])).items()}
    assert seen.pop("token_latency") == pytest.approx(0.2)
    assert OUTCOMES[int(seen.pop("outcome"))] is Outcome.OK
    assert seen == {
        "started": 2.0,
        "ended": 5.0,
        "latency": 3.5,
        "first_token": 0.5,
        "longest_gap": 0.4,
        "input_tokens": 7,
        "output_tokens": 4,
        "retries": 2,
        "retried": 1.25,
        "scheduled": 1.5,
        "response": 0xFF01,
        "prompt": 99,
        "status": 200,
    }


def test_what_a_request_did_not_deliver_is_not_a_number() -> None:
    table = Table.of([record(outcome=Outcome.CONNECTION)])
    for column in (table.first_token, table.token_latency, table.longest_gap, table.status):
        assert np.isnan(column).all()


def test_without_a_known_length_the_server_counts_the_prompt() -> None:
    table = Table.of([record(prompt_tokens=5), record(prompt_tokens=5, input_tokens=4), record()])
    assert table.input_tokens.tolist() == [5, 4, 0]


@pytest.mark.parametrize("count", [1, 3, 4, 10])
def test_many_rows_are_put_together_from_pieces(count: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(table_module, "_CHUNK", 3)
    table = Table.of(record(ended_monotonic_s=float(-number), prompt_hash=number) for number in range(count))
    assert table.ended.tolist() == [float(-number) for number in reversed(range(count))]
    assert table.prompt.tolist() == list(reversed(range(count)))


@pytest.mark.parametrize("records", [[], [record(warmup=True)]], ids=["none", "only warm-up"])
def test_a_table_may_be_empty(records: list[Record]) -> None:
    table = Table.of(records)
    assert len(table) == 0
    assert not table.is_ok.any()


def test_rows_are_picked_by_a_mask_or_by_their_places() -> None:
    table = Table.of(record(ended_monotonic_s=float(end)) for end in range(5))
    assert table.where(table.ended > 2).ended.tolist() == [3, 4]
    assert table.slice(1, 3).ended.tolist() == [1, 2]
    assert len(table.where(table.ended > 9)) == len(table.slice(2, 2)) == 0


def test_a_torn_last_record_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(record(prompt_hash=3).to_line() + record().to_line()[:40])
    assert read_table(path).prompt.tolist() == [3]


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("{", "unexpected end of data"),
        ("null", "'NoneType' object is not subscriptable"),
        ("[]", "list indices must be integers"),
        ("{}", "'version'"),
        ('{"version": 1}', "schema version 1, expected 2"),
        ('{"version": 2}', "'warmup'"),
        ("", "input data is empty"),
    ],
)
def test_a_line_that_is_no_record_is_an_error_with_its_place(line: str, reason: str, tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_bytes(record().to_line() + line.encode() + b"\n" + record().to_line())
    with pytest.raises(LoadError, match=f"'{path}' line 2 is no record of schema 2: ") as raised:
        read_table(path)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    "change",
    [{"outcome": "fine"}, {"gaps_s": None, "failed_attempts": None}, {"ended_monotonic_s": "1"}, {"ttft_s": "1"}],
    ids=json.dumps,
)
def test_a_figure_of_another_kind_is_an_error_with_its_place(change: dict[str, Any], tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    path.write_text(json.dumps({**json.loads(record().to_line()), **change}) + "\n")
    with pytest.raises(LoadError, match=f"'{path}' line 1 is no record of schema 2: "):
        read_table(path)


def test_records_that_are_not_there_are_an_error_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=f"cannot read records '{tmp_path}/none.jsonl': No such file or directory"):
        read_table(tmp_path / "none.jsonl")


@pytest.mark.parametrize("name", ["", "cmpl-1", "chatcmpl-123456781234123412340000000000001", "x" * 40, "-" * 40])
def test_an_answer_whose_id_ends_in_no_uuid_has_no_number(name: str) -> None:
    assert np.isnan(response_number(name))


def test_records_that_grow_are_read_once_each(tmp_path: Path) -> None:
    path = tmp_path / "requests.jsonl"
    lines = [record(ended_monotonic_s=float(end), warmup=end == 2).to_line() for end in range(5)]
    path.write_bytes(lines[0] + lines[1][:10])
    follower = Follower(path)
    assert len(follower.table()) == 1
    assert len(follower.table()) == 1
    with path.open("ab") as file:
        file.write(lines[1][10:] + lines[2] + lines[3])
    assert follower.table().ended.tolist() == [0, 1, 3]
    with path.open("ab") as file:
        file.write(b"{}\n")
    with pytest.raises(LoadError, match="line 5 is no record"):
        follower.table()


def test_records_that_are_not_there_cannot_be_followed(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match="cannot read records"):
        Follower(tmp_path / "none").table()
