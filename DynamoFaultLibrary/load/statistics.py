"""Figures of a load, as pure functions over its table."""

import math
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.table import OUTCOMES, Floats, Table

CONSECUTIVE_GOOD = 5
"""Good responses in a row that mean: recovered."""


def percentile(values: Floats, percent: float) -> float:
    """The smallest value that `percent` of all values do not exceed (nearest rank).

    Raises:
        LoadError: there is no value, or `percent` is not from 1 to 100.
    """
    check_percentile(percent)
    if not len(values):
        raise LoadError("no percentile of nothing: no request delivered this figure")
    rank = math.ceil(len(values) * Fraction(str(percent)) / 100)
    return float(np.partition(values, rank - 1)[rank - 1])


def check_percentile(percent: float) -> None:
    """Refuse what is no percentile, and a share that is given in place of one.

    Raises:
        LoadError: `percent` is not from 1 to 100.
    """
    if not 1 <= percent <= 100:
        meant = f"; for the {percent * 100:g}th percentile write {percent * 100:g}" if 0 < percent < 1 else ""
        raise LoadError(f"percentile must be from 1 to 100, not {percent:g}{meant}")


@dataclass(frozen=True)
class Distribution:
    """How a figure is spread; in the unit of the figure."""

    count: int
    mean: float
    std: float
    min: float
    p50: float
    p90: float
    p95: float
    p99: float
    max: float

    @classmethod
    def of(cls, values: Floats) -> "Distribution | None":
        """None when there are no values."""
        if not len(values):
            return None
        ordered = np.sort(values)
        ranks = {f"p{p}": float(ordered[math.ceil(len(ordered) * p / 100) - 1]) for p in (50, 90, 95, 99)}
        return cls(
            len(ordered),
            float(np.mean(ordered)),
            float(np.std(ordered)),
            float(ordered[0]),
            max=float(ordered[-1]),
            **ranks,
        )


@dataclass(frozen=True)
class Targets:
    """What each request is to keep, in seconds; None: anything."""

    latency: float | None = None
    time_to_first_token: float | None = None
    inter_token_latency: float | None = None


@dataclass(frozen=True)
class Figures:
    """What there is to say of some requests. Times in seconds, rates a second; None: nothing delivered it.

    Times are of good requests. Rates are of good requests that ended in the `seconds` looked at.
    """

    requests: int
    good: int
    errors: dict[str, int]
    cancelled: int
    retries: int
    seconds: float
    throughput: float | None
    token_throughput: float | None
    latency: Distribution | None
    time_to_first_token: Distribution | None
    inter_token_latency: Distribution | None
    longest_gap: float | None

    @property
    def failed(self) -> int:
        """Requests that failed."""
        return sum(self.errors.values())

    @property
    def success_rate(self) -> float | None:
        """Share of good requests among those that were not given up on purpose."""
        counted = self.good + self.failed
        return self.good / counted if counted else None


def figures(rows: Table, ended_there: Table, seconds: float) -> Figures:
    """Figures of requests; rates count those that ended in the `seconds` looked at."""
    delivered = ended_there.output_tokens[ended_there.is_ok]
    codes, counts = np.unique(rows.outcome[rows.is_error], return_counts=True)
    gaps = _delivered(rows.longest_gap)
    return Figures(
        requests=len(rows),
        good=int(rows.is_ok.sum()),
        errors={OUTCOMES[int(code)].value: int(count) for code, count in zip(codes, counts, strict=True)},
        cancelled=int(rows.has(Outcome.CANCELLED).sum()),
        retries=int(rows.retries.sum()),
        seconds=seconds,
        throughput=len(delivered) / seconds if seconds > 0 else None,
        token_throughput=float(delivered.sum()) / seconds if seconds > 0 else None,
        latency=Distribution.of(latencies(rows)),
        time_to_first_token=Distribution.of(first_token_times(rows)),
        inter_token_latency=Distribution.of(token_latencies(rows)),
        longest_gap=float(gaps.max()) if len(gaps) else None,
    )


def _delivered(values: Floats) -> Floats:
    return values[~np.isnan(values)]


def goodput(table: Table, targets: Targets) -> float | None:
    """Share of requests that were good and met all targets, among those not given up on purpose; None without any."""
    counted = table.where(~table.has(Outcome.CANCELLED))
    if not len(counted):
        return None
    met = counted.is_ok
    for values, limit in (
        (counted.latency, targets.latency),
        (counted.first_token, targets.time_to_first_token),
        (counted.token_latency, targets.inter_token_latency),
    ):
        if limit is not None:
            met = met & (values <= limit)  # NaN meets no target
    return float(met.mean())


def latencies(table: Table) -> Floats:
    """Seconds from the scheduled time (else the start) to the end, of good requests."""
    return table.latency[table.is_ok]


def first_token_times(table: Table) -> Floats:
    """Seconds from the start to the first token, of good streamed requests."""
    return _delivered(table.first_token[table.is_ok])


def token_latencies(table: Table) -> Floats:
    """Seconds from token to token, the mean of each good streamed request (aiperf's ``inter_token_latency``)."""
    return _delivered(table.token_latency[table.is_ok])


def recovery_time(table: Table, effective_s: float, consecutive: int = CONSECUTIVE_GOOD) -> float | None:
    """Seconds from the moment a fault took effect to the first of `consecutive` good responses in a row, if any.

    Responses count by when they ended; those that were given up on purpose do not count.
    """
    if consecutive < 1:
        raise LoadError(f"recovery needs 1 good response or more in a row, not {consecutive}")
    counted = (table.ended >= effective_s) & ~table.has(Outcome.CANCELLED)
    ended, is_ok = table.ended[counted], table.is_ok[counted]
    edges = np.concatenate(([-1], np.flatnonzero(~is_ok), [len(ended)]))
    rows = np.flatnonzero(np.diff(edges) > consecutive)
    return float(ended[edges[rows[0]] + 1]) - effective_s if len(rows) else None


def last_error_time(table: Table, effective_s: float) -> float | None:
    """Seconds from the moment a fault took effect to the last failure after it: of a request, or of an attempt."""
    failed = np.concatenate((table.ended[table.is_error], _delivered(table.retried)))
    after = failed[failed >= effective_s]
    return float(after.max()) - effective_s if len(after) else None


def lost_requests(table: Table, fault_injected_s: float) -> int:
    """Number of requests that were in flight when a fault was injected, and failed."""
    return int(((table.started <= fault_injected_s) & (table.ended >= fault_injected_s) & table.is_error).sum())


def longest_outage(table: Table, start_s: float, end_s: float) -> float:
    """Longest time without a good response between two moments, while requests were in flight.

    The clock runs only while at least one request waits, so an idle load has no outage.
    """
    if end_s <= start_s or not len(table):
        return 0.0
    return float(outages(table, start_s, end_s)[0].max())


def outages(table: Table, start_s: float, end_s: float) -> tuple[Floats, Floats]:
    """Seconds without a good response from each to the next one between two moments, and when each of them was over."""
    good = table.ended[table.is_ok & (table.ended > start_s) & (table.ended < end_s)]
    moments = np.concatenate(([start_s], good, [end_s]))
    return np.diff(_busy_until(table, moments)), moments[1:]


def _busy_until(table: Table, moments: Floats) -> Floats:
    """Seconds up to each of `moments` in which at least one request was in flight."""
    order = np.argsort(table.started)
    starts, ends = table.started[order], np.maximum.accumulate(table.ended[order])
    begins = np.concatenate(([True], starts[1:] > ends[:-1]))  # nothing was in flight just before
    firsts, lasts = starts[begins], ends[np.concatenate((begins[1:], [True]))]
    busy_before = np.concatenate(([0.0], np.cumsum(lasts - firsts)))
    stretch = np.searchsorted(firsts, moments, side="right")
    into = np.minimum(moments, lasts[stretch - 1]) - firsts[stretch - 1]
    return np.where(stretch > 0, busy_before[stretch - 1] + into, 0.0)
