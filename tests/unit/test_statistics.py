from collections import Counter
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)


def record(ended: float, outcome: Outcome = Outcome.OK, started: float = 0.0, **fields: object) -> Record:
    made = Record("r", "load", 0, Endpoint.CHAT, True, 8, "", started, ended, outcome=outcome)
    for name, value in fields.items():
        setattr(made, name, value)
    return made


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 15), (5, 15), (20, 15), (30, 20), (40, 20), (50, 35), (80, 40), (81, 50), (100, 50)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert statistics.percentile([40, 15, 50, 20, 35], percent) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert statistics.percentile([7.5], 0.1) == 7.5


@pytest.mark.parametrize("percent", [0, -1, 100.1, float("nan")])
def test_a_percentile_outside_of_its_range_is_an_error_with_the_value(percent: float) -> None:
    with pytest.raises(LoadError, match=f"a percentile is above 0 and at most 100, not {percent:g}"):
        statistics.percentile([1.0], percent)


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(LoadError, match="no percentile of nothing: no request delivered this figure"):
        statistics.percentile([], 50)


@given(NUMBERS, st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = statistics.percentile(values, percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    smaller = [value for value in values if value < found]
    assert 100 * len(smaller) < percent * len(values)


@given(NUMBERS, st.integers(1, 100), st.integers(1, 100))
def test_a_higher_percentile_is_no_smaller_value(values: list[float], one: int, other: int) -> None:
    low, high = sorted([one, other])
    assert statistics.percentile(values, low) <= statistics.percentile(values, high)


@pytest.mark.parametrize(("count", "percent"), [(1000, "99.9"), (2000, "99.5"), (250, "64.4"), (375, "35.2")])
def test_a_percentile_with_a_decimal_has_the_exact_rank(count: int, percent: str) -> None:
    rank = Fraction(percent) * count / 100
    assert rank.denominator == 1
    assert statistics.percentile(range(1, count + 1), float(percent)) == rank


def test_outcomes_are_counted() -> None:
    records = [record(1), record(2, Outcome.TIMEOUT), record(3)]
    assert statistics.outcomes(records) == Counter({Outcome.OK: 2, Outcome.TIMEOUT: 1})


def test_errors_are_all_that_is_not_ok() -> None:
    records = [record(1), record(2, Outcome.TRUNCATED), record(3, Outcome.CANCELLED), record(4, Outcome.TRUNCATED)]
    assert [r.ended_monotonic_s for r in statistics.errors(records)] == [2, 3, 4]
    assert [r.ended_monotonic_s for r in statistics.errors(records, Outcome.TRUNCATED)] == [2, 4]
    assert statistics.errors(records, Outcome.TIMEOUT) == []


def test_latencies_are_those_of_good_requests_counted_from_their_schedule() -> None:
    records = [
        record(5, started=3),
        record(9, Outcome.TIMEOUT, started=3),
        record(5, started=3, scheduled_monotonic_s=1.0),
        record(5, started=3, scheduled_monotonic_s=0.0),
    ]
    assert statistics.latencies(records) == [2, 4, 5]


def test_first_token_times_are_those_of_good_streamed_requests() -> None:
    records = [record(1, ttft_s=0.5), record(1), record(1, Outcome.INCOMPLETE, ttft_s=0.7), record(1, ttft_s=0.0)]
    assert statistics.first_token_times(records) == [0.5, 0.0]


def test_token_gaps_are_those_of_all_streams() -> None:
    records = [record(1, gaps_s=[0.1, 0.2]), record(1), record(1, Outcome.INCOMPLETE, gaps_s=[0.9])]
    assert statistics.token_gaps(records) == [0.1, 0.2, 0.9]


def recovered(*ends: tuple[float, bool], fault: float = 10.0, consecutive: int = 3) -> float | None:
    records = [record(end, Outcome.OK if good else Outcome.CONNECTION) for end, good in ends]
    return statistics.recovery_time(records, fault, consecutive)


def test_recovery_is_at_the_first_of_the_good_responses_in_a_row() -> None:
    assert recovered((11, False), (12, True), (13, True), (14, True), (15, True)) == 2


def test_a_bad_response_starts_the_row_again() -> None:
    assert recovered((11, True), (12, True), (13, False), (14, True), (15, True), (16, True)) == 4


def test_responses_before_the_fault_do_not_count() -> None:
    assert recovered((7, True), (8, True), (9, True), (11, True), (12, True), (13, True)) == 1


def test_a_response_at_the_very_moment_of_the_fault_counts() -> None:
    assert recovered((10, True), (11, True), (12, True)) == 0


def test_responses_count_in_the_order_of_their_ends() -> None:
    assert recovered((14, True), (13, True), (11, False), (12, True)) == 2


def test_a_request_counts_by_its_end_wherever_it_started() -> None:
    records = [record(end, started=1) for end in (11, 12, 13)]
    assert statistics.recovery_time(records, 10.0, 3) == 1


def test_without_enough_good_responses_there_is_no_recovery() -> None:
    assert recovered((11, True), (12, True), (13, False), (14, True)) is None
    assert recovered() is None


def test_five_good_responses_in_a_row_mean_recovered_unless_told_otherwise() -> None:
    assert statistics.recovery_time([record(end) for end in range(11, 15)], 10) is None
    assert statistics.recovery_time([record(end) for end in range(11, 16)], 10) == 1


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_recovery_is_where_the_first_long_enough_run_of_good_ones_begins(goods: list[bool], consecutive: int) -> None:
    text = "".join("+" if good else "-" for good in goods)
    place = text.find("+" * consecutive)
    seen = recovered(*((11 + n, good) for n, good in enumerate(goods)), consecutive=consecutive)
    assert seen == (None if place < 0 else place + 1)
