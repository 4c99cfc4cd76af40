from pathlib import Path

import pytest

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.served import SERVED_FILE, Served
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import FaultWindow
from DynamoFaultLibrary.reports.tables import cut, figures_table

NAMES = ["Decode-0", "Decode-1", "Prefill-0"]


def uuid(number: int) -> str:
    return f"12345678-1234-1234-1234-{number:012x}"


def load(*requests: tuple[str, Outcome]) -> Table:
    """A request a second; each with the id of its answer."""
    records = [Record("r", "l", 0, Endpoint.CHAT, True, 8, outcome=outcome) for _, outcome in requests]
    for second, (record, (answer, _)) in enumerate(zip(records, requests, strict=True)):
        record.started_monotonic_s, record.ended_monotonic_s, record.response_id = second, second + 0.5, answer
    return Table.of(records)


@pytest.fixture
def table() -> Table:
    ids = [(f"cmpl-{uuid(number)}", Outcome.OK) for number in range(4)]
    return load(*ids, (f"cmpl-{uuid(4)}", Outcome.TRUNCATED), ("", Outcome.CONNECTION))


@pytest.fixture
def served() -> Served:
    ways = {
        uuid(0): ["Prefill-0", "Decode-0"],
        uuid(1): ["Prefill-0", "Decode-1"],
        uuid(2): ["Prefill-0", "Decode-0", "Decode-1"],
        uuid(3): ["Prefill-0", "Decode-1"],
        uuid(4): ["Prefill-0", "Decode-0"],
        uuid(99): ["Decode-0"],
    }
    return Served.of(NAMES, ways)


def numbers(table: Table) -> list[int]:
    return [int(started) for started in table.started]


@pytest.mark.parametrize(
    ("replica", "rows"), [("Decode-0", [0, 4]), ("Decode-1", [1, 2, 3]), ("Prefill-0", [0, 1, 2, 3, 4])]
)
def test_a_request_counts_for_the_last_replica_of_each_service(
    table: Table, served: Served, replica: str, rows: list[int]
) -> None:
    assert numbers(table.where(served.by(table, replica))) == rows


def test_a_request_without_an_answer_belongs_to_nobody(table: Table, served: Served) -> None:
    assert numbers(table.where(served.nobody(table))) == [5]
    assert not served.unknown(table).any()


def test_a_replica_that_is_not_there_is_an_error_that_names_those_that_are(table: Table, served: Served) -> None:
    with pytest.raises(LoadError) as raised:
        served.by(table, "Decode-7")
    assert str(raised.value) == f"no replica 'Decode-7' among those that serve requests; there are {NAMES}"


def test_a_number_is_enough_where_one_service_serves(served: Served) -> None:
    assert Served.of(["W-0", "W-1"], {}).name_of(1) == "W-1"
    assert Served.of(["W-0", "W-1"], {}).name_of("0") == "W-0"
    with pytest.raises(LoadError, match="no replica '0' among"):
        served.name_of("0")


def test_an_answer_in_no_log_is_an_error_and_never_a_zero(table: Table) -> None:
    some = Served.of(NAMES, {uuid(0): ["Decode-0"]})
    with pytest.raises(LoadError, match="of load 'x' is not known: 4 of 5 answers are in no log of"):
        some.check_complete(table, "load 'x'")
    with pytest.raises(LoadError, match="5 of 5 answers"):
        Served.of(NAMES, {}).check_complete(table, "load 'x'")
    with pytest.raises(LoadError, match="0 of 0 answers"):
        Served.of(NAMES, {}).check_complete(load(("", Outcome.CONNECTION)), "load 'x'")


def test_what_was_found_out_is_kept_in_the_folder_of_the_load(tmp_path: Path, table: Table, served: Served) -> None:
    assert Served.read(tmp_path) is None
    served.save(tmp_path, table)
    again = Served.read(tmp_path)
    assert again is not None
    assert list(again.replicas) == NAMES
    for name in NAMES:
        assert again.by(table, name).tolist() == served.by(table, name).tolist()
    assert len((tmp_path / SERVED_FILE).read_text().splitlines()) == 1 + 5


@pytest.mark.parametrize("text", ["", "5\n", "{}\n", '{"replicas": []}\n{"x": 1}\n', "{\n"])
def test_a_file_of_something_else_is_an_error(tmp_path: Path, text: str) -> None:
    (tmp_path / SERVED_FILE).write_text(text)
    with pytest.raises(LoadError, match="is not what this library writes"):
        Served.read(tmp_path)


def test_tables_have_a_column_a_replica_and_one_for_what_nobody_served(table: Table, served: Served) -> None:
    parts = cut(table, FaultWindow("kill", 2.0, 2.0, None), [], served)
    grid = figures_table({name: part.figures for name, part in parts.items()})
    rows = {row[0]: dict(zip(grid.header[1:], row[1:], strict=True)) for row in grid.rows}
    assert grid.header == ["", "all", "before", "during", "after", *NAMES, "not served"]
    assert rows["Requests"]["Decode-1"] == "3"
    assert rows["Failed"]["not served"] == "1 (1 connection)"
    assert rows["Time looked at"]["Decode-1"] == rows["Time looked at"]["all"]


def test_parts_keep_their_time_when_one_replica_is_looked_at(table: Table, served: Served) -> None:
    whole = cut(table, None, [])["all"]
    part = whole.only(lambda rows: served.by(rows, "Decode-0"))
    assert (part.start_s, part.end_s) == (whole.start_s, whole.end_s)
    assert part.figures.requests == 2
    assert part.figures.throughput == pytest.approx(1 / 5.5)
