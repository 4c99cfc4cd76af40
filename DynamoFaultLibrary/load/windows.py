"""Cuts a load at the times of a fault and at the marks of phases."""

import itertools
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.statistics import Figures, figures
from DynamoFaultLibrary.load.table import Mask, Table

WHOLE = "all"
"""Name of the part that is the whole load."""


class Window(StrEnum):
    """Where a request lies with respect to a fault."""

    BEFORE = "before"
    """It ended before the fault was injected."""
    DURING = "during"
    """It was in flight at some time between injection and end of the fault."""
    AFTER = "after"
    """It started after the fault's end."""


@dataclass(frozen=True)
class FaultWindow:
    """When a fault was in effect, on the clock of the records; `ended_s` None: it had not come off.

    One that cannot be undone but was made good at once ends with that: a killed process that was started again.
    """

    label: str
    injected_s: float
    effective_s: float
    ended_s: float | None


@dataclass(frozen=True)
class PhaseMark:
    """A phase began."""

    name: str
    began_s: float


@dataclass(frozen=True)
class Segment:
    """A stretch of a load: its time, the requests that belong to it, and those that ended in it."""

    name: str
    start_s: float
    end_s: float
    rows: Table
    ended_there: Table

    @property
    def figures(self) -> Figures:
        """Its figures."""
        return figures(self.rows, self.ended_there, max(0.0, self.end_s - self.start_s))

    def only(self, chosen: Callable[[Table], Mask]) -> "Segment":
        """The same time, with those of its requests that are chosen."""
        rows, ended = self.rows.where(chosen(self.rows)), self.ended_there.where(chosen(self.ended_there))
        return replace(self, rows=rows, ended_there=ended)


def whole(table: Table) -> Segment:
    """A load from its first start to its last end.

    Raises:
        LoadError: it has no request.
    """
    if not len(table):
        raise LoadError("the load has no finished request, so it has no figures")
    return Segment(WHOLE, float(table.started.min()), float(table.ended[-1]), table, table)


def in_order(faults: Iterable[FaultWindow]) -> list[FaultWindow]:
    """Faults in the order of their injection."""
    return sorted(faults, key=lambda fault: fault.injected_s)


def met_by(load: Segment, faults: Iterable[FaultWindow]) -> list[FaultWindow]:
    """Faults that were in effect at some time while a load ran, in order. Its parts are cut at the last one."""
    return in_order(
        fault
        for fault in faults
        if fault.injected_s <= load.end_s and (fault.ended_s is None or fault.ended_s >= load.start_s)
    )


def cut_at_fault(table: Table, fault: FaultWindow) -> dict[Window, Segment]:
    """Before, during, after: each request belongs to one of them; some may have none.

    A fault that has not come off leaves nothing for `after`.
    """
    load = whole(table)
    injected = fault.injected_s
    ended = load.end_s if fault.ended_s is None else fault.ended_s
    before = table.ended < injected
    after = ~before & (table.started >= ended) & (fault.ended_s is not None)
    rows = {Window.BEFORE: before, Window.DURING: ~before & ~after, Window.AFTER: after}
    times = {
        Window.BEFORE: (load.start_s, _within(load, injected)),
        Window.DURING: (_within(load, injected), _within(load, ended)),
        Window.AFTER: (_within(load, ended), load.end_s),
    }
    return {
        window: Segment(window.value, *times[window], table.where(rows[window]), _ended(table, *times[window]))
        for window in Window
    }


def cut_at_phases(table: Table, marks: Sequence[PhaseMark]) -> dict[str, Segment]:
    """A segment a phase: the requests that started in it, up to the next mark."""
    load = whole(table)
    found: dict[str, Segment] = {}
    for mark, following in itertools.pairwise([*marks, PhaseMark("", float("inf"))]):
        start, end = _within(load, mark.began_s), _within(load, following.began_s)
        rows = table.where((table.started >= mark.began_s) & (table.started < following.began_s))
        found[mark.name] = Segment(mark.name, start, end, rows, _ended(table, start, end))
    return found


def _within(load: Segment, moment_s: float) -> float:
    """A part lasts only while the load does: its rates are not thinned by time in which nothing was sent."""
    return min(max(moment_s, load.start_s), load.end_s)


def _ended(table: Table, start_s: float, end_s: float) -> Table:
    """Rows that ended between two moments; a table is in the order of ends."""
    first, last = np.searchsorted(table.ended, start_s, "left"), np.searchsorted(table.ended, end_s, "right")
    return table.slice(int(first), int(last))
