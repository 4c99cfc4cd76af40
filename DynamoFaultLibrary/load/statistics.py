"""Figures of a load, as pure functions over its records."""

import math
from collections import Counter
from collections.abc import Sequence
from fractions import Fraction

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import Outcome, Record

CONSECUTIVE_GOOD = 5
"""Good responses in a row that mean: recovered."""


def percentile(values: Sequence[float], percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed (nearest rank).

    Raises:
        LoadError: there is no value, or `percent` is not above 0 and at most 100.
    """
    if not 0 < percent <= 100:
        raise LoadError(f"a percentile is above 0 and at most 100, not {percent:g}")
    if not values:
        raise LoadError("no percentile of nothing: no request delivered this figure")
    rank = math.ceil(len(values) * Fraction(str(percent)) / 100)
    return sorted(values)[rank - 1]


def outcomes(records: Sequence[Record]) -> Counter[Outcome]:
    """Number of requests by outcome."""
    return Counter(record.outcome for record in records)


def errors(records: Sequence[Record], kind: Outcome | None = None) -> list[Record]:
    """The requests that did not do all that was asked for, optionally of one error class."""
    return [r for r in records if not r.is_ok and (kind is None or r.outcome is kind)]


def latencies(records: Sequence[Record]) -> list[float]:
    """Seconds from the scheduled time (else the start) to the end, of good requests."""
    return [record.latency_s for record in records if record.is_ok]


def first_token_times(records: Sequence[Record]) -> list[float]:
    """Seconds from the start to the first token, of good streamed requests."""
    return [record.ttft_s for record in records if record.is_ok and record.ttft_s is not None]


def token_gaps(records: Sequence[Record]) -> list[float]:
    """Seconds between two chunks, of all streams."""
    return [gap for record in records for gap in record.gaps_s]


def recovery_time(
    records: Sequence[Record], fault_active_s: float, consecutive: int = CONSECUTIVE_GOOD
) -> float | None:
    """Seconds from a fault's proof to the first of `consecutive` good responses in a row; None if there are none.

    Responses count by when they ended. `fault_active_s` is on the monotonic clock, as the records are.
    """
    if consecutive < 1:
        raise LoadError(f"recovery needs 1 good response or more in a row, not {consecutive}")
    after = sorted((r for r in records if r.ended_monotonic_s >= fault_active_s), key=lambda r: r.ended_monotonic_s)
    row: list[Record] = []
    for record in after:
        row = [*row, record] if record.is_ok else []
        if len(row) == consecutive:
            return row[0].ended_monotonic_s - fault_active_s
    return None
