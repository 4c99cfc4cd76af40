"""Whether a load got its service level back after a fault, and what else is to be said of the time after it.

The service level is what the load got before the fault: throughput of good answers, p95 of their latency, and the share
of requests that failed. It holds in a stretch of time when the throughput is 90 % of that or more, the p95 latency 1.25
times that or less, and the share of failures at most one percentage point above. Refused clients ask again at once: the
good answers of half of a service may be as many as before, beside as many failures.

These figures spread by nature: a stretch falls short only where it does by more than `_DEVIATIONS` standard deviations
of what the load showed before the fault. Clients that wait for answers of even length are held to 88 % and more. The
more the latency varies, the longer the stretch and the larger the tolerance, down to 60 %. Requests that come at random
(Poisson) are held to 90 % of what was due. What is not tolerated is a queue that grows and shrinks by itself: a service
at 80 % of its limit may be called "not reached" in one run of ten though nothing happened to it.

Of several faults each is judged by the level from before it, unless the load had not fully recovered from the one
before when it was injected: then by the level from before that one, else the damage of the first would be the measure
of the second.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.table import Floats, Table
from DynamoFaultLibrary.load.windows import FaultWindow, in_order

LEAST_ANSWERS = 20
"""Good answers without which there is no baseline, and that each stretch of time is long enough for."""
HOLD_S = 5.0
"""Seconds for which the service level must hold."""
KEPT_THROUGHPUT, KEPT_LATENCY, PERCENT = 0.9, 1.25, 95
MORE_FAILURES = 0.01
"""By how much the share of failed requests may be above that of before the fault."""

_DEVIATIONS = 3.0
_STEPS, _MOST_STEPS = 100, 200_000
"""Into how many steps `hold` is cut, and a whole load at most."""
_ANSWERS_AT_RANDOM = 100
"""Answers that a stretch of time needs when their number varies as if they came at random."""
_SHORTEST = 1e-6
_NOTHING = "no baseline: no request has ended"
_NOT_OVER = "from which the load was not seen to recover fully"
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


@dataclass(frozen=True)
class FullRecovery:
    """When the service level held again, in seconds from the moment the fault took effect; None: `reason` says why.

    `present` says of a load that runs how far it is. The measure is the level before the earlier fault `before`; None:
    before the fault itself.
    """

    level: ServiceLevel | None
    seconds: float | None
    reason: str = ""
    present: str = ""
    before: FaultWindow | None = None

    @property
    def whose(self) -> str:
        """Which service level it was judged by, in brackets, where that is not the one from before the fault itself."""
        return f" (measured by the level before {self.before.label})" if self.before else ""

    def __str__(self) -> str:
        return (self.reason if self.seconds is None else f"{self.seconds:.3f} s") + self.whose

    def describe(self) -> str:
        """The service level that it was judged by, for people; empty without one."""
        if self.level is None:
            return ""
        before = self.before.label if self.before else "the fault"
        why = f", {_NOT_OVER}" if self.before else ""
        return (
            f"the service level before {before}{why}: {self.level.throughput:.2f} good answers/s, p{PERCENT} latency "
            f"{self.level.latency:.3f} s, {self.level.failures:.1%} failed"
        )


@dataclass(frozen=True)
class Aftermath:
    """What is to be said of a load after a fault. Times in seconds from the moment it took effect; None: there is none.

    `lost` requests were in flight at the injection and failed. `ended` requests ended after the fault took effect:
    without any there is nothing to judge. Nor is there where the load `began_after` that.
    """

    fault: FaultWindow
    ended: int
    recovery_s: float | None
    full: FullRecovery
    last_error_s: float | None
    longest_outage_s: float
    lost: int
    began_after: bool = False


def to_json(after: Aftermath | None) -> dict[str, Any]:
    """For programs, always with the same names; `full_recovery` says why where nothing is known."""
    found = after and after.ended and not after.began_after
    level = after.full.level if after else None
    return {
        "recovery_s": after.recovery_s if after else None,
        "full_recovery_s": after.full.seconds if after else None,
        "full_recovery": str(after.full) if after else None,
        "baseline": asdict(level) if level else None,
        "baseline_before": (after.full.before or after.fault).label if after and level else None,
        "last_error_s": after.last_error_s if after else None,
        "longest_outage_s": after.longest_outage_s if after and found else None,
        "lost_requests": after.lost if after and found else None,
    }


def aftermaths(
    table: Table, faults: Sequence[FaultWindow], ramp_s: float = 0.0, now_s: float | None = None, think_s: float = 0.0
) -> list[Aftermath]:
    """All of it, of each fault that a load met, in the order of their injection; the rest as in `full_recovery`."""
    if not len(table):
        return [Aftermath(fault, 0, None, FullRecovery(None, None, _NOTHING), None, 0.0, 0) for fault in faults]
    calms = _calm_times(table, in_order(faults), HOLD_S, ramp_s, think_s)
    return [_aftermath(table, fault, calm, now_s, think_s) for fault, calm in calms]


def _aftermath(table: Table, fault: FaultWindow, calm: "_Calm", now_s: float | None, think_s: float) -> Aftermath:
    ended = int((table.ended >= fault.effective_s).sum())
    full = _full_recovery(table, fault, calm, HOLD_S, now_s, think_s)
    if float(table.started.min()) > fault.effective_s:
        return Aftermath(fault, ended, None, full, None, 0.0, 0, began_after=True)
    return Aftermath(
        fault,
        ended,
        statistics.recovery_time(table, fault.effective_s),
        full,
        statistics.last_error_time(table, fault.effective_s),
        statistics.longest_outage(table, fault.effective_s, float(table.ended[-1])),
        statistics.lost_requests(table, fault.injected_s),
    )


def full_recovery(
    table: Table,
    fault: FaultWindow,
    hold_s: float = HOLD_S,
    ramp_s: float = 0.0,
    now_s: float | None = None,
    think_s: float = 0.0,
    others: Sequence[FaultWindow] = (),
) -> FullRecovery:
    """When the service level was back, for `hold_s` at least and to the end of the records.

    `ramp_s` is the time from the first start in which the load grew: it tells nothing of the service level. `now_s`
    is the present of a load that runs: what is in flight is not in its table. `think_s` is the pause of its clients
    between two requests: part of the time that an answer takes, as far as the throughput goes. Of `others`, the faults
    on the same graph, those count that were injected before this one, while the load ran.
    """
    if not len(table):
        return FullRecovery(None, None, _NOTHING)
    earlier = in_order(each for each in others if each.injected_s < fault.injected_s)
    calms = _calm_times(table, [*earlier, fault], hold_s, ramp_s, think_s)
    return _full_recovery(table, fault, list(calms)[-1][1], hold_s, now_s, think_s)


@dataclass(frozen=True)
class _Calm:
    """The time from which a service level is taken: it ended when the fault `before` was injected."""

    begin_s: float
    before: FaultWindow

    @property
    def end_s(self) -> float:
        return self.before.injected_s

    def good(self, table: Table) -> Table:
        """Good answers in that time."""
        return table.where(table.is_ok & (table.ended >= self.begin_s) & (table.ended < self.end_s))


def _calm_times(
    table: Table, faults: Sequence[FaultWindow], hold_s: float, ramp_s: float, think_s: float
) -> Iterator[tuple[FaultWindow, _Calm]]:
    """For each fault the time whose service level is its measure.

    That ends with its injection, if the load had fully recovered from the fault before by then, as far as could be
    seen; else it is that of the fault before. A fault from before the load began is none to have recovered from.
    """
    begin_s, first_s = float(table.due.min()) + ramp_s, float(table.started.min())
    calm: _Calm | None = None
    last: FaultWindow | None = None
    for fault in faults:
        if calm is None or last is None:
            calm = _Calm(begin_s, fault)
        else:
            past = table.where(table.ended < fault.injected_s)
            found = _full_recovery(past, last, calm, hold_s, fault.injected_s, think_s)
            if found.seconds is not None:
                did_nothing = found.seconds == 0 and calm.before is last
                fresh = _Calm(calm.begin_s if did_nothing else last.effective_s + found.seconds, fault)
                calm = fresh if len(fresh.good(past)) >= LEAST_ANSWERS else calm
        last = fault if fault.injected_s >= first_s else None
        yield fault, calm


def _full_recovery(
    table: Table, fault: FaultWindow, calm: _Calm, hold_s: float, now_s: float | None, think_s: float
) -> FullRecovery:
    """When the level of a calm time was back after a fault."""
    before = None if calm.before is fault else calm.before
    if not (table.started <= fault.effective_s).any():
        return FullRecovery(None, None, "no baseline: no request started before the fault", before=before)
    seen = calm.good(table)
    if len(seen) < LEAST_ANSWERS:
        after_ramp = " and after the ramp" if calm.begin_s > float(table.due.min()) else ""
        some = f"{len(seen)} good answer{'' if len(seen) == 1 else 's'}"
        what = f"{before.label}, {_NOT_OVER}" if before else "the fault"
        reason = f"no baseline: {some} before {what}{after_ramp}, {LEAST_ANSWERS} are needed"
        return FullRecovery(None, None, reason, before=before)
    baseline = _Baseline(table, seen, calm.begin_s, calm.end_s, think_s)
    window_s = max(hold_s, baseline.answers_needed / baseline.level.throughput)
    end_s = _horizon(table, baseline.level, now_s) - think_s  # of who pauses then it is not known what follows
    room_s = end_s - window_s - fault.effective_s
    if room_s < 0:
        recorded = max(0.0, end_s - fault.effective_s)
        reason = f"not known: only {recorded:.1f} s were recorded after the fault, {window_s:.1f} s are needed"
        present = f"only {recorded:.1f} s after the fault can be judged, {window_s:.1f} s are needed"
        return FullRecovery(baseline.level, None, reason, present, before)
    steps = min(_MOST_STEPS, int(np.ceil(room_s / window_s * _STEPS)))
    starts = fault.effective_s + np.linspace(0.0, room_s, steps + 1)
    outage_s = baseline.end_of_outage(table, fault.effective_s, end_s)
    found = _judge(_Windows(table, baseline, starts, window_s, end_s), baseline.level, fault, outage_s)
    return replace(found, before=before)


def _horizon(table: Table, level: ServiceLevel, now_s: float | None) -> float:
    """Up to when the records tell what the load got.

    After its last start a load only drains. But it was meant to go on until a request ended that was followed by none:
    as long as all its requests hang, nothing starts either. Of a load that runs, requests that have not ended are
    missing: what a usual answer takes ago, they are late.
    """
    if now_s is not None:
        return now_s - KEPT_LATENCY * level.latency
    return float(table.ended[np.searchsorted(table.ended, float(table.started.max()), "left")])


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


class _Baseline:
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


class _Windows:
    """Stretches of time after a fault, and how the load went in each."""

    def __init__(self, table: Table, baseline: _Baseline, starts: Floats, window_s: float, end_s: float) -> None:
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

    def __init__(self, table: Table, baseline: _Baseline) -> None:
        super().__init__(table.due, table.due + baseline.usual_s)
        self._last_s, self._rate = float(table.due.max()), baseline.level.throughput / baseline.good_share

    def __call__(self, moments: Floats) -> Floats:
        beyond = np.maximum(moments - self._last_s, 0.0)
        return super().__call__(np.minimum(moments, self._last_s)) + beyond * self._rate


def _judge(windows: _Windows, level: ServiceLevel, fault: FaultWindow, outage_s: float) -> FullRecovery:
    """The verdict; the level is not back before `outage_s`, when the longest outage was over."""
    holds = windows.keeps_throughput & windows.keeps_latency & windows.keeps_success
    if holds[-1]:
        broken = np.flatnonzero(~holds)
        first = int(broken[-1]) + 1 if len(broken) else 0
        back_s = max(windows.back_from(first) if first else fault.effective_s, outage_s)
        if back_s <= windows.starts[-1]:
            return FullRecovery(level, back_s - fault.effective_s)
        recorded, needed = (f"{windows.end_s - moment:.1f} s" for moment in (back_s, float(windows.starts[-1])))
        return FullRecovery(
            level,
            None,
            f"not known: only {recorded} were recorded after its longest outage, {needed} are needed",
            f"only {recorded} after its longest outage can be judged, {needed} are needed",
        )
    found = FullRecovery(level, None)
    if not windows.keeps_throughput[-1]:
        share = max(0.0, float(windows.done[-1] / windows.expected[-1]))
        percent = f"{share * 100:.0f} %"
        return replace(
            found,
            reason=f"not reached: {percent} of the throughput at the end",
            present=f"it has {percent} of its throughput",
        )
    if not windows.keeps_success[-1]:
        percent = f"{float(windows.failed[-1] / windows.ended[-1]) * 100:.{0 if level.failures == 0 else 1}f} %"
        before = f", {level.failures * 100:.1f} % before the fault" if level.failures else ""
        return replace(
            found,
            reason=f"not reached: {percent} of the requests fail at the end{before}",
            present=f"{percent} of its requests fail{before}",
        )
    latencies = windows.good.latency[windows.first[-1] : windows.last[-1]]
    now = statistics.percentile(latencies, PERCENT)
    return replace(
        found,
        reason=f"not reached: p{PERCENT} latency {now:.3f} s at the end, {level.latency:.3f} s before the fault",
        present=f"its p{PERCENT} latency is {now:.3f} s, {level.latency:.3f} s before the fault",
    )
