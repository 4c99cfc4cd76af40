import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import (
    FaultWindow,
    PhaseMark,
    Segment,
    Window,
    cut_at_fault,
    cut_at_phases,
    whole,
)

SPANS = st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10)), min_size=1, max_size=15)


def load(*spans: tuple[float, float]) -> Table:
    """Requests from a start to an end; `prompt` is their number, to recognise them."""
    return Table.of(
        Record(
            "r",
            "l",
            0,
            Endpoint.CHAT,
            True,
            8,
            prompt_hash=number,
            started_monotonic_s=start,
            ended_monotonic_s=end,
            outcome=Outcome.OK,
        )
        for number, (start, end) in enumerate(spans)
    )


def fault(injected: float, ended: float | None) -> FaultWindow:
    return FaultWindow("stall", injected, injected, ended)


def windows(table: Table, hit: FaultWindow) -> dict[int, Window]:
    return {
        int(prompt): window for window, segment in cut_at_fault(table, hit).items() for prompt in segment.rows.prompt
    }


def times(segment: Segment) -> tuple[float, float]:
    return segment.start_s, segment.end_s


def test_a_load_lasts_from_its_first_start_to_its_last_end() -> None:
    segment = whole(load((3, 9), (2, 4), (5, 6)))
    assert times(segment) == (2, 9)
    assert len(segment.rows) == len(segment.ended_there) == 3
    assert (segment.figures.seconds, segment.figures.throughput) == (7, 3 / 7)


def test_a_load_without_a_request_has_no_figures() -> None:
    for cut in (whole, lambda table: cut_at_fault(table, fault(1, 2)), lambda table: cut_at_phases(table, [])):
        with pytest.raises(LoadError, match="the load has no finished request, so it has no figures"):
            cut(load())


@pytest.mark.parametrize(
    ("start", "end", "window"),
    [
        (1, 9.999, Window.BEFORE),
        (1, 10, Window.DURING),
        (1, 15, Window.DURING),
        (10, 12, Window.DURING),
        (19.999, 25, Window.DURING),
        (1, 25, Window.DURING),
        (20, 25, Window.AFTER),
        (20.001, 25, Window.AFTER),
    ],
)
def test_a_request_lies_where_it_was_in_flight(start: float, end: float, window: Window) -> None:
    assert windows(load((start, end), (0, 1), (29, 30)), fault(10, 20))[0] is window


def test_a_fault_that_stays_leaves_nothing_for_after() -> None:
    parts = cut_at_fault(load((0, 1), (9, 11), (15, 16), (20, 21)), fault(10, None))
    assert [len(parts[window].rows) for window in Window] == [1, 3, 0]
    assert times(parts[Window.DURING]) == (10, 21)
    assert parts[Window.AFTER].figures.seconds == 0


def test_a_fault_that_ended_at_once_has_only_what_was_in_flight() -> None:
    parts = cut_at_fault(load((0, 1), (9, 11), (10, 12), (11, 12)), fault(10, 10))
    assert [parts[window].rows.prompt.tolist() for window in Window] == [[0], [1], [2, 3]]


def test_the_parts_of_a_load_lie_side_by_side() -> None:
    parts = cut_at_fault(load((0, 5), (8, 22), (25, 30)), fault(10, 20))
    assert [times(parts[window]) for window in Window] == [(0, 10), (10, 20), (20, 30)]
    assert [parts[window].name for window in Window] == ["before", "during", "after"]


def test_rates_count_what_ended_in_the_part() -> None:
    parts = cut_at_fault(load((0, 5), (8, 22), (12, 18), (25, 30)), fault(10, 20))
    assert [parts[window].figures.throughput for window in Window] == [0.1, 0.1, 0.2]
    assert [parts[window].figures.requests for window in Window] == [1, 2, 1]


def test_a_fault_after_the_load_leaves_all_before_it() -> None:
    parts = cut_at_fault(load((0, 5), (2, 6)), fault(10, 20))
    assert [len(parts[window].rows) for window in Window] == [2, 0, 0]
    assert times(parts[Window.BEFORE]) == (0, 6)
    assert [parts[window].figures.seconds for window in Window] == [6, 0, 0]


def test_a_fault_before_the_load_leaves_all_after_it() -> None:
    parts = cut_at_fault(load((30, 35), (32, 36)), fault(10, 20))
    assert [len(parts[window].rows) for window in Window] == [0, 0, 2]
    assert [parts[window].figures.seconds for window in Window] == [0, 0, 6]
    assert parts[Window.AFTER].figures.throughput == 2 / 6


def test_a_load_in_the_midst_of_a_fault_is_measured_while_it_runs() -> None:
    parts = cut_at_fault(load((12, 14), (13, 16)), fault(10, 20))
    assert [len(parts[window].rows) for window in Window] == [0, 2, 0]
    assert [parts[window].figures.seconds for window in Window] == [0, 4, 0]
    assert parts[Window.DURING].figures.throughput == 0.5


@given(SPANS, st.integers(-5, 35), st.none() | st.integers(0, 20))
def test_each_request_is_in_exactly_one_window(spans: list[tuple[int, int]], injected: int, length: int | None) -> None:
    hit = fault(injected, None if length is None else injected + length)
    table = load(*((start, start + took) for start, took in spans))
    parts = cut_at_fault(table, hit)
    found = sorted(prompt for segment in parts.values() for prompt in segment.rows.prompt.tolist())
    assert found == list(range(len(spans)))
    end = math.inf if hit.ended_s is None else hit.ended_s
    for window, (start, ended) in ((windows(table, hit)[n], (s, s + t)) for n, (s, t) in enumerate(spans)):
        if ended < injected:
            assert window is Window.BEFORE
        else:
            assert window is (Window.AFTER if start >= end else Window.DURING)


@given(SPANS, st.integers(-5, 35), st.none() | st.integers(0, 20))
def test_the_parts_are_together_as_long_as_the_load(
    spans: list[tuple[int, int]], injected: int, length: int | None
) -> None:
    table = load(*((start, start + took) for start, took in spans))
    parts = cut_at_fault(table, fault(injected, None if length is None else injected + length))
    assert sum(part.figures.seconds for part in parts.values()) == whole(table).figures.seconds


def test_a_request_belongs_to_the_phase_in_which_it_started() -> None:
    marks = [PhaseMark("standard", 0), PhaseMark("overflow", 10), PhaseMark("recovery", 20)]
    parts = cut_at_phases(load((0, 1), (9.9, 25), (10, 11), (20, 30)), marks)
    assert {name: part.rows.prompt.tolist() for name, part in parts.items()} == {
        "standard": [0, 1],
        "overflow": [2],
        "recovery": [3],
    }
    assert [times(part) for part in parts.values()] == [(0, 10), (10, 20), (20, 30)]


def test_rates_of_a_phase_count_what_ended_in_it() -> None:
    parts = cut_at_phases(load((0, 5), (1, 15), (11, 19)), [PhaseMark("one", 0), PhaseMark("two", 10)])
    assert parts["one"].figures.throughput == 0.1
    assert parts["two"].figures.throughput == 2 / 9


def test_what_started_before_the_first_phase_is_in_none() -> None:
    parts = cut_at_phases(load((0, 5), (10, 12)), [PhaseMark("late", 8)])
    assert parts["late"].rows.prompt.tolist() == [1]


def test_a_load_outside_of_a_phase_has_nothing_in_it() -> None:
    marks = [PhaseMark("before", 0), PhaseMark("now", 10), PhaseMark("later", 40)]
    parts = cut_at_phases(load((12, 14), (13, 16)), marks)
    assert [len(part.rows) for part in parts.values()] == [0, 2, 0]
    assert [part.figures.seconds for part in parts.values()] == [0, 4, 0]
    assert parts["before"].figures.throughput is None


def test_without_marks_there_are_no_phases() -> None:
    assert cut_at_phases(load((0, 1)), []) == {}


@given(SPANS, st.lists(st.integers(-5, 35), unique=True, min_size=1, max_size=4).map(sorted))
def test_each_request_is_in_one_phase_unless_it_started_before_them(
    spans: list[tuple[int, int]], begins: list[int]
) -> None:
    table = load(*((start, start + took) for start, took in spans))
    parts = cut_at_phases(table, [PhaseMark(str(began), began) for began in begins])
    found = sorted(prompt for part in parts.values() for prompt in part.rows.prompt.tolist())
    assert found == [number for number, (start, _) in enumerate(spans) if start >= begins[0]]
