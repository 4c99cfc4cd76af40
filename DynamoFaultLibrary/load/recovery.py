"""Whether a load got its service level back after a fault, and what else is to be said of the time after it.

The service level is what the load got before the fault: throughput of good answers, p95 of their latency, and the share
of requests that failed. It holds in a stretch of time when the throughput is 90 % of that or more, the p95 latency 1.25
times that or less, and the share of failures at most one percentage point above. Refused clients ask again at once: the
good answers of half of a service may be as many as before, beside as many failures.

Of several faults each is judged by the level from before it, unless the load had not fully recovered from the one
before when it was injected: then by the level from before that one, else the damage of the first would be the measure
of the second. And each is judged up to the injection of the next one, whose damage is not its own. Only a load that
fell short by then may recover from both at once.
"""

from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.level import LEAST_ANSWERS, PERCENT, Baseline, ServiceLevel, Windows, horizon, starts_of
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import FaultWindow, in_order

HOLD_S = 5.0
"""Seconds for which the service level must hold."""
_NOTHING = "no baseline: no request has ended"
_NOT_OVER = "from which the load was not seen to recover fully"


@dataclass(frozen=True)
class FullRecovery:
    """When the service level held again, in seconds from the moment the fault took effect; None: `reason` says why.

    `present` says of a load that runs how far it is. The measure is the level before the earlier fault `before`; None:
    before the fault itself. It was judged up to the injection of the later fault `until`; None: to the end. The load
    `fell_short` there: not reached, as opposed to not known.
    """

    level: ServiceLevel | None
    seconds: float | None
    reason: str = ""
    present: str = ""
    before: FaultWindow | None = None
    until: FaultWindow | None = None
    fell_short: bool = False

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
    verdicts = _verdicts(table, in_order(faults), HOLD_S, ramp_s, now_s, think_s)
    return [_aftermath(table, fault, full) for fault, full in verdicts]


def _aftermath(table: Table, fault: FaultWindow, full: FullRecovery) -> Aftermath:
    ended = int((table.ended >= fault.effective_s).sum())
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
    """When the service level was back, for `hold_s` at least and to the end of the records, or to the next fault.

    `ramp_s` is the time from the first start in which the load grew: it tells nothing of the service level. `now_s`
    is the present of a load that runs: what is in flight is not in its table. `think_s` is the pause of its clients
    between two requests: part of the time that an answer takes, as far as the throughput goes. `others` are the faults
    on the same graph: those that were injected before this one, while the load ran, and the next one after it count.
    """
    if not len(table):
        return FullRecovery(None, None, _NOTHING)
    apart = (each for each in others if each.injected_s != fault.injected_s)
    verdicts = _verdicts(table, in_order([*apart, fault]), hold_s, ramp_s, now_s, think_s)
    return next(found for each, found in verdicts if each is fault)


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


def _verdicts(
    table: Table, faults: Sequence[FaultWindow], hold_s: float, ramp_s: float, now_s: float | None, think_s: float
) -> Iterator[tuple[FaultWindow, FullRecovery]]:
    """Judge each fault by the service level of a calm time.

    That ends with its injection, if the load had fully recovered from the fault before by then, as far as could be
    seen; else it is that of the fault before. A fault from before the load began is none to have recovered from.
    """
    begin_s, first_s = float(table.due.min()) + ramp_s, float(table.started.min())
    calm: _Calm | None = None
    last: tuple[FaultWindow, FullRecovery] | None = None
    for fault in faults:
        calm = _next_calm(table, calm, *last, fault) if calm and last else _Calm(begin_s, fault)
        following = next((each for each in faults if each.injected_s > fault.injected_s), None)
        found = _full_recovery(table, fault, calm, hold_s, now_s, think_s, following)
        last = (fault, found) if fault.injected_s >= first_s else None
        if found.until is not None and found.fell_short:
            both = _full_recovery(table, fault, calm, hold_s, now_s, think_s)
            found = both if both.seconds is not None else replace(found, present=both.present)
        yield fault, found


def _next_calm(table: Table, calm: _Calm, last: FaultWindow, found: FullRecovery, fault: FaultWindow) -> _Calm:
    """The time whose service level is the measure of `fault`, after what was found of the `last` one."""
    if found.seconds is None:
        return calm
    did_nothing = found.seconds == 0 and calm.before is last
    fresh = _Calm(calm.begin_s if did_nothing else last.effective_s + found.seconds, fault)
    return fresh if len(fresh.good(table)) >= LEAST_ANSWERS else calm


def _full_recovery(
    table: Table,
    fault: FaultWindow,
    calm: _Calm,
    hold_s: float,
    now_s: float | None,
    think_s: float,
    following: FaultWindow | None = None,
) -> FullRecovery:
    """When the level of a calm time was back after a fault, to the injection of the `following` one if there is one."""
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
    baseline = Baseline(table, seen, calm.begin_s, calm.end_s, think_s)
    window_s = max(hold_s, baseline.answers_needed / baseline.level.throughput)
    end_s, until = horizon(table, baseline.level, now_s), None
    if following is not None and following.injected_s < end_s:
        until, table = following, table.where(table.ended < following.injected_s)
        end_s = horizon(table, baseline.level, following.injected_s)  # what it found in flight is its own
    end_s -= think_s  # of who pauses then it is not known what follows
    room_s = end_s - window_s - fault.effective_s
    if room_s < 0:
        recorded = max(0.0, end_s - fault.effective_s)
        reason = (
            f"not known: only {recorded:.1f} s were recorded after the fault{_and_before(until)}, {window_s:.1f} s "
        )
        present = f"only {recorded:.1f} s after the fault can be judged, {window_s:.1f} s are needed"
        return FullRecovery(baseline.level, None, f"{reason}are needed", present, before, until)
    starts = starts_of(fault.effective_s, room_s, window_s)
    outage_s = baseline.end_of_outage(table, fault.effective_s, end_s)
    found = _judge(Windows(table, baseline, starts, window_s, end_s), baseline.level, fault, outage_s, until)
    return replace(found, before=before, until=until)


def _and_before(until: FaultWindow | None) -> str:
    return f" and before {until.label}" if until else ""


def _judge(
    windows: Windows, level: ServiceLevel, fault: FaultWindow, outage_s: float, until: FaultWindow | None
) -> FullRecovery:
    """The verdict; the level is not back before `outage_s`, when the longest outage was over."""
    holds = windows.keeps_throughput & windows.keeps_latency & windows.keeps_success
    if holds[-1]:
        broken = np.flatnonzero(~holds)
        first = int(broken[-1]) + 1 if len(broken) else 0
        back_s = max(windows.back_from(first) if first else fault.effective_s, outage_s)
        if back_s <= windows.starts[-1]:
            return FullRecovery(level, back_s - fault.effective_s)
        recorded, needed = (f"{windows.end_s - moment:.1f} s" for moment in (back_s, float(windows.starts[-1])))
        outage = f"its longest outage{_and_before(until)}"
        return FullRecovery(
            level,
            None,
            f"not known: only {recorded} were recorded after {outage}, {needed} are needed",
            f"only {recorded} after its longest outage can be judged, {needed} are needed",
        )
    found = FullRecovery(level, None, fell_short=True)
    last = f"when {until.label} was injected" if until else "at the end"
    if not windows.keeps_throughput[-1]:
        share = max(0.0, float(windows.done[-1] / windows.expected[-1]))
        percent = f"{share * 100:.0f} %"
        return replace(
            found,
            reason=f"not reached: {percent} of the throughput {last}",
            present=f"it has {percent} of its throughput",
        )
    if not windows.keeps_success[-1]:
        percent = f"{float(windows.failed[-1] / windows.ended[-1]) * 100:.{0 if level.failures == 0 else 1}f} %"
        before = f", {level.failures * 100:.1f} % before the fault" if level.failures else ""
        return replace(
            found,
            reason=f"not reached: {percent} of the requests fail {last}{before}",
            present=f"{percent} of its requests fail{before}",
        )
    latencies = windows.good.latency[windows.first[-1] : windows.last[-1]]
    now = statistics.percentile(latencies, PERCENT)
    return replace(
        found,
        reason=f"not reached: p{PERCENT} latency {now:.3f} s {last}, {level.latency:.3f} s before the fault",
        present=f"its p{PERCENT} latency is {now:.3f} s, {level.latency:.3f} s before the fault",
    )
