"""A load over time as an inline SVG: requests by outcome, latency, latency by replica; faults and recovery marked."""

import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from DynamoFaultLibrary.load.level import ServiceLevel
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.recovery import Aftermath
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.statistics import percentile
from DynamoFaultLibrary.load.table import Floats, Table
from DynamoFaultLibrary.load.windows import PhaseMark, Segment, whole
from DynamoFaultLibrary.reports.svg import LEFT, LETTER, RIGHT, WIDTH, TimeAxis, grid, line, nice, rectangle, svg, text

_MOST_BINS, _BIN_REQUESTS = 120, 4
"""Stretches of time that are drawn, and how many requests one should have on average."""
_MOST_REPLICAS = 8

_LEGEND_TOP, _LEGEND_ROW = 22, 14
_MARK_ROW = 13
_CHART, _SMALL_CHART, _BETWEEN = 110, 80, 30

_COLOURS = {
    Outcome.OK: "#68a37c",
    Outcome.CANCELLED: "#a0aec0",
    Outcome.TIMEOUT: "#744210",
    Outcome.CONNECTION: "#c53030",
    Outcome.HTTP_ERROR: "#dd6b20",
    Outcome.STREAM_ERROR: "#d69e2e",
    Outcome.TRUNCATED: "#97266d",
    Outcome.INCOMPLETE: "#b83280",
    Outcome.MALFORMED: "#553c9a",
    Outcome.WRONG_SEQUENCE: "#000000",
}
_LINES = {50: "#2b6cb0", 95: "#1a365d"}
_OF_REPLICAS = ("#2b6cb0", "#dd6b20", "#2f855a", "#97266d", "#553c9a", "#b7791f", "#285e61", "#c53030")
_GOOD, _BAD, _PHASE, _BASELINE = "#2f855a", "#c53030", "#6b46c1", "#718096"


@dataclass(frozen=True)
class _Bins:
    """Equal stretches of time, and the rows that ended in each."""

    edges: Floats
    rows: list[Table]

    @property
    def width_s(self) -> float:
        return float(self.edges[1] - self.edges[0])


@dataclass(frozen=True)
class _Mark:
    """A moment with a label; without `line` only the label, since nothing happened there."""

    moment_s: float
    words: str
    colour: str
    line: bool = True


@dataclass
class _Labels:
    """Puts the labels of marks into rows, so that none lies on another."""

    axis: TimeAxis
    top: float
    rows: list[list[tuple[float, float]]] = field(default_factory=list)

    def add(self, mark: _Mark) -> str:
        """Draw a label beside the place of its mark."""
        x, width = self.axis.x(mark.moment_s), LETTER * len(mark.words) + 8
        on_left = x + width > WIDTH - RIGHT and x - width > 0
        left = x - width if on_left else x
        row = next((number for number, taken in enumerate(self.rows) if _is_free(taken, left, width)), len(self.rows))
        if row == len(self.rows):
            self.rows.append([])
        self.rows[row].append((left, left + width))
        y = self.top + _MARK_ROW * (row + 1) - 3
        return text(x + (-4 if on_left else 4), y, mark.words, mark.colour, "end" if on_left else "start")

    @property
    def bottom(self) -> float:
        """Where the charts may begin."""
        return self.top + _MARK_ROW * len(self.rows) + 20


def _is_free(taken: Iterable[tuple[float, float]], left: float, width: float) -> bool:
    return all(left >= end or left + width <= begin for begin, end in taken)


def draw_load(
    table: Table,
    aftermaths: Sequence[Aftermath],
    phases: Sequence[PhaseMark] = (),
    title: str = "",
    served: Served | None = None,
    axis: TimeAxis | None = None,
) -> str:
    """Return the SVG; empty when there is no request. Without `axis` time runs from the load's start to its end."""
    if not len(table):
        return ""
    load = whole(table)
    axis = axis or TimeAxis(load.start_s, load.end_s)
    met = [after for after in aftermaths if after.fault.injected_s <= load.end_s]
    legend, legend_bottom = _legend(table)
    marks = _marks(load, met, phases)
    labels = _Labels(axis, legend_bottom)
    names = "".join(labels.add(mark) for mark in marks)
    level = next((after.full.level for after in met if after.full.level is not None), None)
    bins = _bin(table, load)
    tops = [labels.bottom, labels.bottom + _CHART + _BETWEEN]
    base = tops[1] + _CHART
    of_replicas = _replicas(bins, served, axis, base + _BETWEEN)
    if of_replicas:
        base += _BETWEEN + _SMALL_CHART
    shaded = [*((top, _CHART) for top in tops), *([(base - _SMALL_CHART, _SMALL_CHART)] if of_replicas else [])]
    faults = [after.fault for after in met]
    places = [axis.x(mark.moment_s) for mark in marks if mark.line]
    colours = [mark.colour for mark in marks if mark.line]
    parts = [
        text(4, 14, title),
        legend,
        *(axis.shade(faults, top, height) for top, height in shaded),
        _counts(bins, axis, tops[0], level),
        _latencies(bins, axis, tops[1], level),
        of_replicas,
        *(line(x, tops[0], x, base, colour, dashes="4 3") for x, colour in zip(places, colours, strict=True)),
        names,
        axis.draw(base + 4),
    ]
    return svg(base + 28, "".join(parts))


def _marks(load: Segment, met: Sequence[Aftermath], phases: Sequence[PhaseMark]) -> list[_Mark]:
    found = [_Mark(mark.began_s, f"phase {mark.name}", _PHASE) for mark in phases if mark.began_s <= load.end_s]
    for after in met:
        began = after.fault.effective_s
        found.append(_Mark(began, after.fault.label, _BAD))
        if after.recovery_s is not None:
            words = f"answers again after {after.recovery_s:.2f} s"
            found.append(_Mark(began + after.recovery_s, words, _GOOD))
        if after.full.seconds is not None:
            words = f"full recovery after {after.full.seconds:.2f} s"
            found.append(_Mark(began + after.full.seconds, words, _GOOD))
        else:
            end = after.full.until.injected_s if after.full.until else load.end_s
            found.append(_Mark(end, f"full recovery: {after.full.reason}", _BAD, line=False))
    return found


def _bin(table: Table, load: Segment) -> _Bins:
    count = min(_MOST_BINS, max(1, len(table) // _BIN_REQUESTS))
    edges = np.linspace(load.start_s, max(load.end_s, load.start_s + 0.001), count + 1)
    places = [0, *np.searchsorted(table.ended, edges[1:-1]), len(table)]
    return _Bins(edges, [table.slice(first, last) for first, last in itertools.pairwise(places)])


def _counts(bins: _Bins, axis: TimeAxis, top: float, level: ServiceLevel | None) -> str:
    """Stacked bars: how many requests a second ended, by outcome."""
    usual = level.throughput if level else 0.0
    most = nice(max([usual, *(len(rows) / bins.width_s for rows in bins.rows)]))
    parts = [text(4, top + 8, "requests/s"), grid(top, _CHART, most)]
    for number, rows in enumerate(bins.rows):
        left, right = axis.x(bins.edges[number]), axis.x(bins.edges[number + 1])
        y = top + _CHART
        for outcome, colour in _COLOURS.items():
            count = int(rows.has(outcome).sum())
            if count:
                height = _CHART * count / bins.width_s / most
                y -= height
                tip = f"{count} {outcome.value} in {bins.width_s:.2f} s"
                parts.append(rectangle(left, y, max(right - left - 0.5, 0.5), height, colour, tip))
    if level is not None:
        parts.append(_baseline(top, _CHART, usual / most, f"before the fault: {usual:.1f}/s"))
    return "".join(parts)


def _latencies(bins: _Bins, axis: TimeAxis, top: float, level: ServiceLevel | None) -> str:
    """Lines: percentiles of the latencies of good requests that ended in each stretch."""
    good = [rows.latency[rows.is_ok] for rows in bins.rows]
    if not any(len(values) for values in good):
        return text(LEFT + 8, top + 20, "no good request, so there is no latency to show")
    usual = level.latency if level else 0.0
    most = nice(max([usual, *(float(values.max()) for values in good if len(values))]))
    parts = [text(4, top + 8, "latency (s)"), grid(top, _CHART, most)]
    for place, (percent, colour) in enumerate(_LINES.items()):
        parts.append(_steps(bins, axis, good, percent, top + _CHART, _CHART / most, colour))
        parts.append(text(LEFT + 70 * place, top - 6, f"— p{percent}", colour))
    if level is not None:
        parts.append(_baseline(top, _CHART, usual / most, f"p95 before the fault: {usual:.3f} s"))
    return "".join(parts)


def _replicas(bins: _Bins, served: Served | None, axis: TimeAxis, top: float) -> str:
    """Lines: median latency by replica; empty unless two replicas served the load."""
    if served is None:
        return ""
    by_name = {
        name: [rows.latency[rows.is_ok & served.by(rows, name)] for rows in bins.rows] for name in served.replicas
    }
    busy = {name: good for name, good in by_name.items() if any(len(values) for values in good)}
    if len(busy) < 2:  # one replica is no comparison
        return ""
    most = nice(max(percentile(values, 50) for good in busy.values() for values in good if len(values)))
    parts, x = [text(4, top + 8, "p50 by replica (s)"), grid(top, _SMALL_CHART, most)], float(LEFT)
    for (name, good), colour in zip(list(busy.items())[:_MOST_REPLICAS], _OF_REPLICAS, strict=False):
        parts.append(_steps(bins, axis, good, 50, top + _SMALL_CHART, _SMALL_CHART / most, colour))
        parts.append(text(x, top - 6, f"— {name}", colour))
        x += LETTER * len(name) + 30
    hidden = len(busy) - _MOST_REPLICAS
    return "".join(parts) + (text(x, top - 6, f"and {hidden} more") if hidden > 0 else "")


def _steps(
    bins: _Bins, axis: TimeAxis, good: Sequence[Floats], percent: float, base: float, scale: float, colour: str
) -> str:
    """A percentile of each stretch, as a line of steps that ends where there is no value."""
    parts: list[str] = []
    stretches = zip(good, itertools.pairwise(bins.edges), strict=True)
    for has_values, run in itertools.groupby(stretches, key=lambda stretch: len(stretch[0]) > 0):
        if has_values:
            points = [
                f"{axis.x(edge):.1f},{base - scale * percentile(values, percent):.1f}"
                for values, edges in run
                for edge in edges
            ]
            parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    return "".join(parts)


def _baseline(top: float, height: float, share: float, words: str) -> str:
    """What the load got before the fault, as a dashed line."""
    y = top + height * (1 - share)
    label = text(WIDTH - RIGHT - 2, top - 6, f"- - {words}", _BASELINE, "end")
    return line(LEFT, y, WIDTH - RIGHT, y, _BASELINE, dashes="6 4") + label


def _legend(table: Table) -> tuple[str, float]:
    """Colours and counts of the outcomes, in more rows if one is not enough; and where they end."""
    x, y, parts = float(LEFT), float(_LEGEND_TOP), []
    for outcome, colour in _COLOURS.items():
        count = int(table.has(outcome).sum())
        if count == 0:
            continue
        words = f"{outcome.value} {count}"
        width = 28 + 6.2 * len(words)
        if x + width > WIDTH:
            x, y = float(LEFT), y + _LEGEND_ROW
        parts.append(rectangle(x, y, 9, 9, colour) + text(x + 13, y + 8, words))
        x += width
    return "".join(parts), y + _LEGEND_ROW
