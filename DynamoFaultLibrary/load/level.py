"""The service level of a load, and how far a stretch of time may differ from it by nature.

Throughput, latency and failures spread by nature: a stretch falls short only where it does by more than `_DEVIATIONS`
standard deviations of what the load showed before the fault. Clients that wait for answers of even length are held to
88 % and more. The more the latency varies, the longer the stretch and the larger the tolerance, down to 60 %. Requests
that come at random (Poisson) are held to 90 % of what was due. What is not tolerated is a queue that grows and shrinks
by itself: a service at 80 % of its limit may be called "not reached" in one run of ten though nothing happened to it.
"""

from dataclasses import dataclass

import numpy as np

from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.table import Floats, Table

LEAST_ANSWERS = 20
"""Good answers without which there is no baseline, and that each stretch of time is long enough for."""
KEPT_THROUGHPUT, KEPT_LATENCY, PERCENT = 0.9, 1.25, 95
MORE_FAILURES = 0.01
"""By how much the share of failed requests may be above that of before the fault."""
_DEVIATIONS = 3.0
_STEPS, _MOST_STEPS = 100, 200_000
"""Into how many steps `hold` is cut, and a whole load at most."""
_ANSWERS_AT_RANDOM = 100
"""Answers that a stretch of time needs when their number varies as if they came at random."""
_SHORTEST = 1e-6
_NO_USUAL_GAP = 2.0
"""So many times the longest time without a good answer before the fault: that is an outage."""
_RARE_GAP = 5.0
"""Of n answers at random a gap of log(n) means is to be expected; one so many means longer in exp(-5) of all loads."""


@dataclass(frozen=True)
class ServiceLevel:
    """What a load got before a fault: good answers a second, p95 of their latency in seconds, share of failures."""

    answers: int
    throughput: float
    latency: float
    failures: float = 0.0


def horizon(table: Table, level: ServiceLevel, now_s: float | None) -> float:
    """Up to when the records tell what the load got.

    After its last start a load only drains. But it was meant to go on until a request ended that was followed by none:
    as long as all its requests hang, nothing starts either. Of a load that runs, requests that have not ended are
    missing: what a usual answer takes ago, they are late.
    """
    if now_s is not None:
        return now_s - KEPT_LATENCY * level.latency
    return float(table.ended[np.searchsorted(table.ended, float(table.started.max()), "left")])


def starts_of(first_s: float, room_s: float, window_s: float) -> Floats:
    """Where stretches of `window_s` begin, the last one `room_s` after the first."""
    steps = min(_MOST_STEPS, int(np.ceil(room_s / window_s * _STEPS)))
    return first_s + np.linspace(0.0, room_s, steps + 1)


class _Growth:
    """How many requests were done by a moment, each growing evenly from 0 to 1 over its time.

    So answers that come in bursts, since their requests started together, are no ups and downs of the throughput.
    """

    def __init__(self, starts: Floats, ends: Floats) -> None:
        self._zero = float(starts.min()) if len(starts) else 0.0
        starts = starts - self._zero  # else sums of large numbers would eat the digits
        lengths = np.maximum(ends - self._zero - starts, _SHORTEST)
        ends = starts + lengths
        by_start, by_end = np.argsort(starts), np.argsort(ends)
        self._starts, self._ends = starts[by_start], ends[by_end]
        self._slopes = [_sums(1 / lengths[order]) for order in (by_start, by_end)]
        self._offsets = [_sums((starts / lengths)[order]) for order in (by_start, by_end)]

    def __call__(self, moments: Floats) -> Floats:
        times = moments - self._zero
        begun = np.searchsorted(self._starts, times, "right")
        ended = np.searchsorted(self._ends, times, "right")
        slope = self._slopes[0][begun] - self._slopes[1][ended]
        return ended + slope * times - (self._offsets[0][begun] - self._offsets[1][ended])

    def between(self, first: Floats, last: Floats) -> Floats:
        """How much was done from one moment to another."""
        return self(last) - self(first)


def _sums(values: Floats) -> Floats:
    return np.concatenate(([0.0], np.cumsum(values)))


class Baseline:
    """The service level, and how much a stretch of time may differ from it by nature."""

    def __init__(self, table: Table, seen: Table, begin_s: float, end_s: float, think_s: float) -> None:
        self.think_s = think_s
        self.usual_s = statistics.percentile(seen.latency, 50)
        begun = table.due - think_s < end_s
        rows = table.where(begun & (table.is_ok | ((table.ended >= end_s) & ~table.has(Outcome.CANCELLED))))
        # What was in flight at the fault would have ended as usual.
        ends = np.where(rows.ended < end_s, rows.ended, rows.due + np.maximum(self.usual_s, end_s - rows.due))
        done = _Growth(rows.due - think_s, ends).between(np.array([begin_s]), np.array([end_s]))
        throughput = float(done[0]) / (end_s - begin_s)
        ended = table.where((table.ended >= begin_s) & (table.ended < end_s))
        self.ended, failed = len(ended), int(ended.is_error.sum())
        self.good_share = len(seen) / self.ended
        slow = statistics.percentile(seen.latency, PERCENT)
        self.level = ServiceLevel(len(seen), throughput, slow, failed / (len(seen) + failed))
        self._longest_gap = statistics.longest_outage(table, float(seen.ended[0]), end_s)
        self._gap_spread = _spread_of(np.diff(seen.ended))
        self.is_scheduled = bool((~np.isnan(seen.scheduled)).any())
        rhythm = np.diff(np.sort(seen.scheduled)) if self.is_scheduled else seen.latency + think_s
        self._spread = _spread_of(rhythm)
        self._shift = float(np.abs(seen.latency - self.usual_s).mean())

    @property
    def answers_needed(self) -> float:
        """How many answers a stretch of time must be long enough for, so that a loss can be told from natural spread.

        What was due tells it of a load with a schedule. Else the more the latency varies the more answers it takes.
        """
        return LEAST_ANSWERS if self.is_scheduled else max(LEAST_ANSWERS, _ANSWERS_AT_RANDOM * self._spread)

    def end_of_outage(self, table: Table, start_s: float, end_s: float) -> float:
        """When the longest outage between two moments was over; the first of them if there was none."""
        lengths, ends = statistics.outages(table, start_s, end_s)
        at_random = self._gap_spread / self.level.throughput * (np.log(len(ends)) + _RARE_GAP)
        least = max(at_random, _NO_USUAL_GAP * self._longest_gap)
        longest = int(np.argmax(lengths))
        return float(ends[longest]) if lengths[longest] > least else start_s

    def most_failures(self, counts: Floats) -> Floats:
        """How many of so many requests may fail: the share of before, as far as it spreads by nature, and a point."""
        share = self.level.failures
        spread = np.sqrt(counts * share * (1 - share) * (1 + counts / self.ended))
        return (share + MORE_FAILURES) * counts + _DEVIATIONS * spread

    def deviation(self, count: float) -> float:
        """Standard deviation of a number of good answers when `count` are expected by the baseline.

        Of clients that wait for each answer, and of a schedule, the ends are a renewal process: its variance is that
        of one interval (in units of its mean) times the count.
        """
        return float(np.sqrt(count * (self._spread + 1 - self.good_share) * (1 + count / self.level.answers)))

    def deviation_from_due(self, counts: Floats) -> Floats:
        """The same when `counts` are due: only what is late or early by nature crosses the ends of a stretch."""
        crossing = 2 * self.level.throughput * self._shift
        found: Floats = np.sqrt(crossing + counts * (1 - self.good_share))
        return found


def _spread_of(values: Floats) -> float:
    """Squared coefficient of variation, by the middle two thirds, so that a few outliers tell nothing; at most 1."""
    low, high = np.percentile(values, [16, 84])
    mean = float(values.mean())
    return min(1.0, float((high - low) / 2 / mean) ** 2) if mean > 0 else 1.0


class Windows:
    """Stretches of time after a fault, and how the load went in each."""

    def __init__(self, table: Table, baseline: Baseline, starts: Floats, window_s: float, end_s: float) -> None:
        ends = starts + window_s
        self.starts, self.end_s, self._window_s = starts, end_s, window_s
        is_cut_off = table.has(Outcome.CANCELLED) & (table.due < end_s) & (table.ended >= end_s)
        rows = table.where(table.is_ok | is_cut_off)  # cut off when the load was given up: they might have ended well
        usual = rows.due + np.maximum(baseline.usual_s, end_s - rows.due)
        self._growth = _Growth(rows.due - baseline.think_s, np.where(rows.is_ok, rows.ended, usual))
        self.done = self._growth.between(starts, ends)
        expected = baseline.level.throughput * window_s
        self._natural_lag = _DEVIATIONS / 2 * baseline.deviation(expected)  # of a bridge half as much is natural
        self.expected: Floats = np.full(len(starts), expected)
        self.keeps_throughput = (
            self.done >= KEPT_THROUGHPUT * expected - _DEVIATIONS * baseline.deviation(expected) - _SHORTEST
        )
        if baseline.is_scheduled:
            due = baseline.good_share * _Due(table, baseline).between(starts, ends)
            self.expected = np.minimum(self.expected, due)
            slack = _DEVIATIONS * baseline.deviation_from_due(self.expected)
            self.keeps_throughput &= self.done >= KEPT_THROUGHPUT * self.expected - slack - _SHORTEST
        self.good = table.where(table.is_ok)
        self.first, self.last = (np.searchsorted(self.good.ended, moments) for moments in (starts, ends))
        slow = _sums((self.good.latency > KEPT_LATENCY * baseline.level.latency).astype(np.float64))
        count, share = self.last - self.first, 1 - PERCENT / 100
        most = share * count + _DEVIATIONS * np.sqrt(count * share * (1 - share) * (1 + count / baseline.level.answers))
        self.keeps_latency = slow[self.last] - slow[self.first] <= most
        failed = np.sort(table.ended[table.is_error])
        self.failed = np.searchsorted(failed, ends) - np.searchsorted(failed, starts)
        self.ended = self.failed + count
        self.keeps_success = self.failed <= baseline.most_failures(self.ended.astype(np.float64))

    def back_from(self, first: int) -> float:
        """From when on a stretch that holds the level has its throughput.

        It may begin with what is left of a loss, as much as is tolerated: that is over where it lags most behind its
        own mean.
        """
        times = np.linspace(0.0, self._window_s, 2 * _STEPS + 1)
        start_s = float(self.starts[first])
        lag = self.done[first] * times / self._window_s - self._growth.between(np.array([start_s]), start_s + times)
        last = int(np.argmax(lag))
        return start_s + float(times[last]) if lag[last] > self._natural_lag else start_s


class _Due(_Growth):
    """What was due by a moment; after the last request that was sent, as much as before the fault."""

    def __init__(self, table: Table, baseline: Baseline) -> None:
        super().__init__(table.due, table.due + baseline.usual_s)
        self._last_s, self._rate = float(table.due.max()), baseline.level.throughput / baseline.good_share

    def __call__(self, moments: Floats) -> Floats:
        beyond = np.maximum(moments - self._last_s, 0.0)
        return super().__call__(np.minimum(moments, self._last_s)) + beyond * self._rate
