"""How each figure of a load is computed from what it looks at, or why it cannot be."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.recovery import full_recovery
from DynamoFaultLibrary.load.statistics import Targets
from DynamoFaultLibrary.load.table import Floats, Table
from DynamoFaultLibrary.load.windows import FaultWindow, Segment
from DynamoFaultLibrary.times import check_time


@dataclass(frozen=True)
class View:
    """What a figure looks at: a part of a load, or of what one replica served of it.

    `now_s` is the present of a load that still runs; `fault` is there for figures that are asked of a fault.
    """

    place: str
    """Load, part and replica, for messages."""
    table: Table
    segment: Segment
    fault: FaultWindow | None
    plan: LoadPlan
    now_s: float | None
    path: str
    """Where the records are."""
    faults: Sequence[FaultWindow] = ()
    """All that hit its graph."""
    remarks: list[str] = field(default_factory=list)
    """What the log is to say beside the value."""

    def judged(self) -> Segment:
        """The part.

        Raises:
            LoadError: it has no request, so nothing can be said of it.
        """
        if not len(self.segment.rows):
            raise LoadError(f"{self.place} has no request that ended: there is nothing to judge; see {self.path}")
        return self.segment

    def hit(self) -> FaultWindow:
        """The fault.

        Raises:
            LoadError: no request ended after it, or the load began after it.
        """
        assert self.fault is not None  # noqa: S101  # whoever makes a view for such a figure finds the fault first
        late_s = self.segment.start_s - self.fault.effective_s
        if late_s > 0:
            raise LoadError(
                f"{self.place} began {late_s:.1f} s after {self.fault.label} took effect, so it says nothing of the "
                f"time before; start the load before the fault; see {self.path}"
            )
        if not (self.table.ended >= self.fault.effective_s).any():
            raise LoadError(
                f"no request of {self.place} ended after {self.fault.label} took effect: there is nothing to judge; "
                f"see {self.path}"
            )
        return self.fault


Look = Callable[[], View]


def error_count(look: Look, error_class: Outcome | None) -> float:
    """Requests that failed, of one class or all.

    Raises:
        LoadError: the class is no failure, so that their number is always 0.
    """
    if error_class is not None and not error_class.is_error:
        meant = "Get Cancellation Count" if error_class is Outcome.CANCELLED else "Get Good Request Count"
        raise LoadError(f"error_class '{error_class.value}' is no failure; see '{meant}'")
    figures = look().judged().figures
    return figures.errors.get(error_class.value, 0) if error_class else figures.failed


def lost(look: Look) -> float:
    """Requests that were in flight at the injection, and failed."""
    view = look()
    fault, table = view.hit(), view.table
    if view.now_s is not None:
        raise LoadError(
            f"{view.place} still runs, so requests that were in flight when {fault.label} was injected may be in "
            "flight yet; call 'Stop Load' or 'Wait For Load Completion' first"
        )
    if not ((table.started <= fault.injected_s) & (table.ended >= fault.injected_s)).any():
        raise LoadError(
            f"no request of {view.place} was in flight when {fault.label} was injected: none could be lost; "
            f"see {view.path}"
        )
    return statistics.lost_requests(table, fault.injected_s)


def _there(value: float | None, view: View) -> float:
    if value is None:
        raise LoadError(f"{view.place} has no request that counts, so this figure does not exist; see {view.path}")
    return value


def success_rate(look: Look) -> float:
    """Share of good requests."""
    view = look()
    return _there(view.judged().figures.success_rate, view)


def goodput(look: Look, **limits: timedelta | None) -> float:
    """Share of requests that were good and kept the limits."""
    view = look()
    targets = Targets(**{name: None if limit is None else limit.total_seconds() for name, limit in limits.items()})
    return _there(statistics.goodput(view.judged().rows, targets), view)


def throughput(look: Look) -> float:
    """Good requests a second."""
    view = look()
    return _there(view.segment.figures.throughput, view)


def token_throughput(look: Look) -> float:
    """Their output tokens a second."""
    view = look()
    return _there(view.segment.figures.token_throughput, view)


def percentile_of(values: Callable[[Table], Floats]) -> Callable[..., float]:
    """A percentile of what `values` finds in the requests."""

    def value(look: Look, percentile: float) -> float:
        statistics.check_percentile(percentile)
        view = look()
        found = values(view.segment.rows)
        if not len(found):
            good = view.segment.rows.where(view.segment.rows.is_ok)
            if len(good) and np.isnan(good.first_token).all():
                raise LoadError(
                    f"no answer of {view.place} was streamed, so there is no first token to wait for and no pause "
                    f"between tokens (streaming=False?); see {view.path}"
                )
            raise LoadError(f"{view.place} has no good request to compute this from; see {view.path}")
        return statistics.percentile(found, percentile)

    return value


def longest_gap(look: Look, request: Request | None) -> float:
    """The longest pause in a stream."""
    if request is None:
        view = look()
        gap, of = view.judged().figures.longest_gap, view.place
    elif request.record is None:
        raise LoadError(f"{request} has not ended; call 'Wait For Request' first")
    else:
        gap, of = request.record.longest_gap_s, str(request)
    if gap is None:
        raise LoadError(f"{of} has no stream with two tokens, so there is no pause between tokens")
    return gap


def longest_outage(look: Look) -> float:
    """The longest time without a good answer."""
    view = look()
    part = view.judged()
    return statistics.longest_outage(view.table, part.start_s, part.end_s)


def recovery_time(look: Look, consecutive: int) -> float:
    """Seconds to the first of so many good answers in a row."""
    view = look()
    fault, table = view.hit(), view.table
    found = statistics.recovery_time(table, fault.effective_s, consecutive)
    if found is None:
        ended = int((table.ended >= fault.effective_s).sum())
        raise AssertionError(
            f"{view.place} has not recovered from {fault.label}: no {consecutive} good responses in a row among the "
            f"{ended} that ended after it; see {view.path}"
        )
    return found


def full_recovery_time(look: Look, hold: timedelta) -> float:
    """Seconds until the service level was back."""
    view = look()
    check_time("hold", hold)
    fault = view.hit()
    plan, hold_s = view.plan, hold.total_seconds()
    found = full_recovery(view.table, fault, hold_s, plan.ramp_s, view.now_s, plan.think_time_s, view.faults)
    if found.seconds is None:
        verdict = "is" if found.level else "cannot be determined:"
        raise AssertionError(
            f"full recovery of {view.place} from {fault.label} {verdict} {found.reason}{found.whose}; see {view.path}"
        )
    view.remarks.append(f"measured by {found.describe()}")
    return found.seconds


def last_error_time(look: Look) -> float:
    """Seconds to the last failure; 0 without one."""
    view = look()
    return statistics.last_error_time(view.table, view.hit().effective_s) or 0.0
