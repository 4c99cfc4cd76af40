import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.records import Attempt, Endpoint, Outcome, Record
from DynamoFaultLibrary.load.statistics import Distribution, Figures, Targets
from DynamoFaultLibrary.load.table import Table

NUMBERS = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=200)
GOOD_OR_NOT = st.sampled_from([Outcome.OK, Outcome.TIMEOUT, Outcome.CANCELLED])


def record(ended: float, outcome: Outcome = Outcome.OK, started: float = 0.0, **fields: Any) -> Record:
    made = Record("r", "load", 0, Endpoint.CHAT, True, 8, outcome=outcome)
    made.started_monotonic_s, made.ended_monotonic_s = started, ended
    for name, value in fields.items():
        setattr(made, name, value)
    return made


def percentile(values: Sequence[float], percent: float) -> float:
    return statistics.percentile(np.array(values, dtype=float), percent)


def figures(*records: Record, seconds: float = 10.0) -> Figures:
    table = Table.of(records)
    return statistics.figures(table, table, seconds)


@pytest.mark.parametrize(
    ("percent", "value"), [(1, 15), (5, 15), (20, 15), (30, 20), (40, 20), (50, 35), (80, 40), (81, 50), (100, 50)]
)
def test_a_percentile_is_the_nearest_rank(percent: float, value: float) -> None:
    assert percentile([40, 15, 50, 20, 35], percent) == value


def test_a_percentile_of_one_value_is_that_value() -> None:
    assert percentile([7.5], 1) == 7.5


@pytest.mark.parametrize("percent", [0, -1, 100.1, float("nan")])
def test_a_percentile_outside_of_its_range_is_an_error_with_the_value(percent: float) -> None:
    with pytest.raises(LoadError, match=f"percentile must be from 1 to 100, not {percent:g}$"):
        percentile([1.0], percent)


@pytest.mark.parametrize(("given", "meant"), [(0.95, "95"), (0.999, "99.9"), (0.5, "50")])
def test_a_share_in_place_of_a_percentile_is_refused_and_the_percentile_proposed(given: float, meant: str) -> None:
    """0.95 was taken for a percentile near the minimum (row 38)."""
    with pytest.raises(LoadError, match=f"not {given:g}; for the {meant}th percentile write {meant}"):
        percentile([1.0], given)


def test_a_percentile_of_nothing_is_an_error() -> None:
    with pytest.raises(LoadError, match="no percentile of nothing: no request delivered this figure"):
        percentile([], 50)


@given(NUMBERS, st.integers(1, 100))
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(values: list[float], percent: int) -> None:
    found = percentile(values, percent)
    assert found in values
    assert 100 * sum(value <= found for value in values) >= percent * len(values)
    smaller = [value for value in values if value < found]
    assert 100 * len(smaller) < percent * len(values)


@given(NUMBERS, st.integers(1, 100), st.integers(1, 100))
def test_a_higher_percentile_is_no_smaller_value(values: list[float], one: int, other: int) -> None:
    low, high = sorted([one, other])
    assert percentile(values, low) <= percentile(values, high)


@pytest.mark.parametrize(("count", "percent"), [(1000, "99.9"), (2000, "99.5"), (250, "64.4"), (375, "35.2")])
def test_a_percentile_with_a_decimal_has_the_exact_rank(count: int, percent: str) -> None:
    rank = Fraction(percent) * count / 100
    assert rank.denominator == 1
    assert percentile(range(1, count + 1), float(percent)) == rank


@given(NUMBERS)
def test_a_distribution_has_the_percentiles_the_mean_and_the_ends(values: list[float]) -> None:
    seen = Distribution.of(np.array(values))
    assert seen is not None
    assert (seen.count, seen.min, seen.max) == (len(values), min(values), max(values))
    assert seen.mean == pytest.approx(math.fsum(values) / len(values), abs=1e-6)
    for percent in (50, 90, 95, 99):
        assert getattr(seen, f"p{percent}") == percentile(values, percent)


def test_a_distribution_has_the_deviation_of_all_values() -> None:
    seen = Distribution.of(np.array([2.0, 4, 4, 4, 5, 5, 7, 9]))
    assert seen is not None
    assert (seen.mean, seen.std) == (5, 2)


def test_nothing_is_not_spread() -> None:
    assert Distribution.of(np.array([])) is None


def test_requests_are_counted_by_how_they_ended() -> None:
    ends = [Outcome.OK, Outcome.TRUNCATED, Outcome.CANCELLED, Outcome.TRUNCATED, Outcome.TIMEOUT, Outcome.OK]
    seen = figures(*(record(end, outcome) for end, outcome in enumerate(ends)))
    assert (seen.requests, seen.good, seen.failed, seen.cancelled) == (6, 2, 3, 1)
    assert seen.errors == {"truncated": 2, "timeout": 1}


@pytest.mark.parametrize("outcome", Outcome)
def test_all_but_good_and_cancelled_requests_are_errors(outcome: Outcome) -> None:
    seen = figures(record(1, outcome))
    assert seen.errors == ({} if outcome in (Outcome.OK, Outcome.CANCELLED) else {outcome.value: 1})


def test_the_success_rate_leaves_out_cancelled_requests() -> None:
    ends = [Outcome.OK, Outcome.OK, Outcome.OK, Outcome.TIMEOUT, Outcome.CANCELLED, Outcome.CANCELLED]
    assert figures(*(record(1, outcome) for outcome in ends)).success_rate == 0.75


@pytest.mark.parametrize("outcomes", [[], [Outcome.CANCELLED]])
def test_without_a_request_that_counts_there_is_no_success_rate(outcomes: list[Outcome]) -> None:
    assert figures(*(record(1, outcome) for outcome in outcomes)).success_rate is None


def test_retries_are_those_of_all_requests() -> None:
    failed = Attempt(Outcome.CONNECTION, None, "", 1.0)
    seen = figures(record(1, failed_attempts=[failed]), record(2, Outcome.TIMEOUT, failed_attempts=[failed, failed]))
    assert seen.retries == 3


def test_throughput_counts_good_requests_that_ended_there() -> None:
    rows = Table.of([record(1, output_tokens=5), record(2, Outcome.TRUNCATED, output_tokens=3)])
    ended = Table.of([record(1, output_tokens=8), record(1, output_tokens=8), record(1, Outcome.TRUNCATED)])
    seen = statistics.figures(rows, ended, 4.0)
    assert (seen.throughput, seen.token_throughput, seen.seconds) == (0.5, 4.0, 4.0)


def test_in_no_time_there_is_no_throughput() -> None:
    seen = figures(record(1), seconds=0.0)
    assert (seen.throughput, seen.token_throughput) == (None, None)


def test_figures_of_nothing_do_not_exist() -> None:
    seen = figures()
    assert (seen.requests, seen.good, seen.errors, seen.retries, seen.throughput) == (0, 0, {}, 0, 0)
    assert (seen.latency, seen.time_to_first_token, seen.inter_token_latency, seen.longest_gap) == (None,) * 4


def test_latencies_are_those_of_good_requests_counted_from_their_schedule() -> None:
    records = [
        record(5, started=3),
        record(9, Outcome.TIMEOUT, started=3),
        record(5, started=3, scheduled_monotonic_s=1.0),
        record(5, started=3, scheduled_monotonic_s=0.0),
    ]
    assert list(statistics.latencies(Table.of(records))) == [2, 4, 5]
    assert figures(*records).latency == Distribution.of(np.array([2.0, 4, 5]))


def test_first_token_times_are_those_of_good_streamed_requests() -> None:
    records = [record(1, ttft_s=0.5), record(1), record(1, Outcome.INCOMPLETE, ttft_s=0.7), record(1, ttft_s=0.0)]
    assert list(statistics.first_token_times(Table.of(records))) == [0.5, 0.0]
    assert figures(*records).time_to_first_token == Distribution.of(np.array([0.5, 0.0]))


def test_token_latencies_are_the_means_of_good_streams() -> None:
    records = [
        record(1, gaps_s=[0.1, 0.3], output_tokens=3),
        record(1, gaps_s=[0.5], output_tokens=6),
        record(1, gaps_s=[0.9], output_tokens=1),
        record(1, output_tokens=4),
        record(1, Outcome.INCOMPLETE, gaps_s=[0.9], output_tokens=2),
    ]
    assert list(statistics.token_latencies(Table.of(records))) == pytest.approx([0.2, 0.1])
    assert figures(*records).inter_token_latency == Distribution.of(statistics.token_latencies(Table.of(records)))


def test_the_longest_pause_is_that_of_all_streams() -> None:
    records = [record(1, gaps_s=[0.1, 0.2]), record(1), record(1, Outcome.INCOMPLETE, gaps_s=[0.9, 0.3])]
    assert figures(*records).longest_gap == 0.9


STREAMED = {"ttft_s": 0.2, "gaps_s": [0.1, 0.1], "output_tokens": 3}


@pytest.mark.parametrize(
    ("targets", "share"),
    [
        (Targets(), 0.75),
        (Targets(latency=2.0), 0.5),
        (Targets(latency=1.9), 0.25),
        (Targets(time_to_first_token=0.2), 0.5),
        (Targets(time_to_first_token=0.1), 0.0),
        (Targets(inter_token_latency=0.11), 0.5),
        (Targets(inter_token_latency=0.09), 0.0),
        (Targets(latency=2.0, time_to_first_token=0.2, inter_token_latency=0.11), 0.25),
    ],
)
def test_goodput_is_the_share_of_good_requests_that_met_all_targets(targets: Targets, share: float) -> None:
    table = Table.of(
        [
            record(1, **STREAMED),
            record(2),
            record(3, **STREAMED),
            record(1, Outcome.TRUNCATED, **STREAMED),
            record(1, Outcome.CANCELLED),
        ]
    )
    assert statistics.goodput(table, targets) == share


@pytest.mark.parametrize("outcomes", [[], [Outcome.CANCELLED]])
def test_without_a_request_that_counts_there_is_no_goodput(outcomes: list[Outcome]) -> None:
    assert statistics.goodput(Table.of([record(1, outcome) for outcome in outcomes]), Targets(latency=1.0)) is None


def recovered(*ends: tuple[float, bool], fault: float = 10.0, consecutive: int = 3) -> float | None:
    records = [record(end, Outcome.OK if good else Outcome.CONNECTION) for end, good in ends]
    return statistics.recovery_time(Table.of(records), fault, consecutive)


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
    assert statistics.recovery_time(Table.of(records), 10.0, 3) == 1


def test_without_enough_good_responses_there_is_no_recovery() -> None:
    assert recovered((11, True), (12, True), (13, False), (14, True)) is None
    assert recovered() is None


def test_five_good_responses_in_a_row_mean_recovered_unless_told_otherwise() -> None:
    assert statistics.recovery_time(Table.of(record(end) for end in range(11, 15)), 10) is None
    assert statistics.recovery_time(Table.of(record(end) for end in range(11, 16)), 10) == 1


@given(st.lists(st.booleans(), max_size=30), st.integers(1, 5))
def test_recovery_is_where_the_first_long_enough_run_of_good_ones_begins(goods: list[bool], consecutive: int) -> None:
    text = "".join("+" if good else "-" for good in goods)
    place = text.find("+" * consecutive)
    seen = recovered(*((11 + n, good) for n, good in enumerate(goods)), consecutive=consecutive)
    assert seen == (None if place < 0 else place + 1)


def test_a_cancelled_request_neither_breaks_a_row_nor_counts_in_it() -> None:
    ends = [Outcome.CANCELLED, Outcome.OK, Outcome.CANCELLED, Outcome.OK]
    table = Table.of(record(11 + n, outcome) for n, outcome in enumerate(ends))
    assert statistics.recovery_time(table, 10.0, 2) == 2
    assert statistics.recovery_time(table, 10.0, 3) is None


@given(st.lists(GOOD_OR_NOT, max_size=30), st.integers(1, 5))
def test_cancelled_requests_change_no_recovery(outcomes: list[Outcome], consecutive: int) -> None:
    records = [record(11 + n, outcome) for n, outcome in enumerate(outcomes)]
    others = [each for each in records if each.outcome is not Outcome.CANCELLED]
    seen = [statistics.recovery_time(Table.of(some), 10.0, consecutive) for some in (records, others)]
    assert seen[0] == seen[1]


@pytest.mark.parametrize("consecutive", [0, -1])
def test_recovery_needs_a_good_response(consecutive: int) -> None:
    with pytest.raises(LoadError, match=f"recovery needs 1 good response or more in a row, not {consecutive}"):
        recovered((11, True), consecutive=consecutive)


def last_error(*ends: tuple[float, Outcome]) -> float | None:
    return statistics.last_error_time(Table.of(record(end, outcome) for end, outcome in ends), 10.0)


def test_the_last_error_is_the_one_that_ended_last() -> None:
    assert last_error((13, Outcome.TIMEOUT), (11, Outcome.TRUNCATED), (14, Outcome.OK)) == 3
    assert last_error((10, Outcome.TIMEOUT)) == 0


def test_an_attempt_that_failed_and_was_followed_by_a_retry_is_an_error_too() -> None:
    attempts = [Attempt(Outcome.CONNECTION, None, "", moment) for moment in (11.0, 16.0)]
    table = Table.of([record(12, Outcome.TIMEOUT), record(17, failed_attempts=attempts)])
    assert statistics.last_error_time(table, 10.0) == 6
    assert statistics.last_error_time(table, 16.5) is None


def test_without_an_error_after_the_fault_there_is_no_last_one() -> None:
    assert last_error((9, Outcome.TIMEOUT), (11, Outcome.OK), (12, Outcome.CANCELLED)) is None
    assert last_error() is None


@pytest.mark.parametrize(
    ("started", "ended", "outcome", "lost"),
    [
        (9, 11, Outcome.CONNECTION, 1),
        (10, 11, Outcome.CONNECTION, 1),
        (9, 10, Outcome.CONNECTION, 1),
        (9, 11, Outcome.OK, 0),
        (9, 11, Outcome.CANCELLED, 0),
        (10.1, 11, Outcome.CONNECTION, 0),
        (8, 9.9, Outcome.CONNECTION, 0),
    ],
)
def test_lost_are_requests_that_were_in_flight_at_the_injection_and_failed(
    started: float, ended: float, outcome: Outcome, lost: int
) -> None:
    assert statistics.lost_requests(Table.of([record(ended, outcome, started), record(20, started=15)]), 10.0) == lost


def outage(*requests: tuple[float, float, Outcome], start: float = 0, end: float = 10) -> float:
    table = Table.of(record(ended, outcome, started) for started, ended, outcome in requests)
    return statistics.longest_outage(table, start, end)


def test_an_outage_is_the_time_without_a_good_response() -> None:
    assert outage((0, 2, Outcome.OK), (0, 9, Outcome.OK), (1, 10, Outcome.OK)) == 7
    assert outage((0, 2, Outcome.OK), (0, 5, Outcome.TIMEOUT), (0, 9, Outcome.OK)) == 7


def test_an_outage_lasts_only_while_a_request_waits() -> None:
    assert outage((0, 1, Outcome.OK), (5, 6, Outcome.TIMEOUT), (8, 9, Outcome.OK)) == 2


def test_an_outage_is_looked_for_between_two_moments() -> None:
    requests = [(0.0, 4.0, Outcome.OK), (0.0, 9.0, Outcome.OK)]
    assert outage(*requests, start=2, end=5) == 2
    assert outage(*requests, start=5, end=8) == 3
    assert outage(*requests, start=8, end=20) == 1


def test_where_nothing_was_in_flight_there_is_no_outage() -> None:
    assert outage() == 0
    assert outage((0, 10, Outcome.OK), start=5, end=5) == 0
    assert outage((0, 10, Outcome.OK), start=6, end=5) == 0
    assert outage((0, 1, Outcome.TIMEOUT), start=2, end=9) == 0


@given(
    st.lists(st.tuples(st.integers(0, 20), st.integers(0, 10), GOOD_OR_NOT), max_size=12),
    st.integers(-2, 30),
    st.integers(-2, 30),
)
def test_an_outage_is_what_counting_second_by_second_finds(
    requests: list[tuple[int, int, Outcome]], start: int, end: int
) -> None:
    longest = current = 0
    for second in range(start, end):
        if second > start and any(begun + took == second and how is Outcome.OK for begun, took, how in requests):
            current = 0
        current += any(begun <= second < begun + took for begun, took, _ in requests)
        longest = max(longest, current)
    seen = outage(*((begun, begun + took, how) for begun, took, how in requests), start=start, end=end)
    assert seen == longest
