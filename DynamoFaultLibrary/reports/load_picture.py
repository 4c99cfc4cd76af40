"""A load over time as an inline SVG: requests by outcome, percentiles of latency, the fault shaded, recovery marked."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.statistics import percentile, recovery_time
from DynamoFaultLibrary.load.table import Floats, Table
from DynamoFaultLibrary.load.windows import FaultWindow, PhaseMark, whole
from DynamoFaultLibrary.reports.svg import LEFT, RIGHT, WIDTH, TimeAxis, line, rectangle, svg, text

_MOST_BINS, _BIN_REQUESTS = 120, 4
"""Stretches of time that are drawn, and how many requests one should have on average."""

_LEAST = 1e-9
"""Smaller figures are drawn as nothing."""
_LEGEND_TOP = 22
_COUNTS_TOP, _COUNTS_HEIGHT = 54, 110
_LATENCY_TOP, _LATENCY_HEIGHT = 200, 110
_BASE = _LATENCY_TOP + _LATENCY_HEIGHT

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
_LINES = {50: "#2b6cb0", 99: "#1a365d"}
_GOOD = "#2f855a"


@dataclass(frozen=True)
class _Bins:
    """Equal stretches of time, and the rows that ended in each."""

    edges: Floats
    rows: list[Table]

    @property
    def width_s(self) -> float:
        return float(self.edges[1] - self.edges[0])


def draw_load(table: Table, faults: Sequence[FaultWindow], phases: Sequence[PhaseMark] = (), title: str = "") -> str:
    """Return the SVG; empty when there is no request."""
    if not len(table):
        return ""
    load = whole(table)
    axis = TimeAxis(load.start_s, load.end_s)
    faults = [fault for fault in faults if fault.injected_s <= load.end_s]
    phases = [phase for phase in phases if phase.began_s <= load.end_s]
    bins = _bin(table, axis)
    parts = [
        text(4, 14, title),
        _legend(table),
        axis.shade(faults, _COUNTS_TOP, _COUNTS_HEIGHT),
        axis.shade(faults, _LATENCY_TOP, _LATENCY_HEIGHT),
        _counts(bins, axis),
        _latencies(bins, axis),
        *(_mark(axis, phase.began_s, f"phase {phase.name}", "#6b46c1") for phase in phases),
        *(_recovery(table, fault, axis) for fault in faults),
        axis.draw(_BASE + 4),
    ]
    return svg(_BASE + 28, "".join(parts))


def _bin(table: Table, axis: TimeAxis) -> _Bins:
    count = min(_MOST_BINS, max(1, len(table) // _BIN_REQUESTS))
    edges = np.linspace(axis.first_s, axis.first_s + axis.span_s, count + 1)
    places = [0, *np.searchsorted(table.ended, edges[1:-1]), len(table)]
    return _Bins(edges, [table.slice(first, last) for first, last in itertools.pairwise(places)])


def _counts(bins: _Bins, axis: TimeAxis) -> str:
    """Stacked bars: how many requests a second ended, by outcome."""
    top = _nice(max(len(rows) for rows in bins.rows) / bins.width_s)
    parts = [_scale(_COUNTS_TOP, _COUNTS_HEIGHT, top, "requests/s")]
    for number, rows in enumerate(bins.rows):
        left, right = axis.x(bins.edges[number]), axis.x(bins.edges[number + 1])
        y = float(_COUNTS_TOP + _COUNTS_HEIGHT)
        for outcome, colour in _COLOURS.items():
            count = int(rows.has(outcome).sum())
            if count:
                height = _COUNTS_HEIGHT * count / bins.width_s / top
                y -= height
                tip = f"{count} {outcome.value} in {bins.width_s:.2f} s"
                parts.append(rectangle(left, y, max(right - left - 0.5, 0.5), height, colour, tip))
    return "".join(parts)


def _latencies(bins: _Bins, axis: TimeAxis) -> str:
    """Lines: percentiles of the latencies of good requests that ended in each stretch."""
    good = [rows.latency[rows.is_ok] for rows in bins.rows]
    if not any(len(values) for values in good):
        return text(LEFT + 8, _LATENCY_TOP + 20, "no good request, so there is no latency to show")
    top = _nice(max(float(values.max()) for values in good if len(values)))
    parts = [_scale(_LATENCY_TOP, _LATENCY_HEIGHT, top, "latency (s)")]
    for percent, colour in _LINES.items():
        points = [
            f"{axis.x(edge):.1f},{_BASE - _LATENCY_HEIGHT * percentile(values, percent) / top:.1f}"
            for values, edges in zip(good, itertools.pairwise(bins.edges), strict=True)
            if len(values)
            for edge in edges  # a step, so that a single stretch is a line as well
        ]
        parts.append(f'<polyline points="{" ".join(points)}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
    legend = "".join(
        text(WIDTH - RIGHT - 70 * place, _LATENCY_TOP - 6, f"— p{percent}", colour, "end")
        for place, (percent, colour) in enumerate(_LINES.items())
    )
    return "".join(parts) + legend


def _recovery(table: Table, fault: FaultWindow, axis: TimeAxis) -> str:
    seconds = recovery_time(table, fault.effective_s)
    marks = _mark(axis, fault.effective_s, fault.label, "#c53030")
    if seconds is not None:
        marks += _mark(axis, fault.effective_s + seconds, f"recovered after {seconds:.2f} s", _GOOD, row=1)
    return marks


def _mark(axis: TimeAxis, moment_s: float, words: str, colour: str, row: int = 0) -> str:
    x = axis.x(moment_s)
    on_left = x > (LEFT + WIDTH) / 2
    label = text(x + (-4 if on_left else 4), _LATENCY_TOP - 22 + 12 * row, words, colour, "end" if on_left else "start")
    return line(x, _COUNTS_TOP, x, _BASE, colour, dashes="4 3") + label


def _legend(table: Table) -> str:
    """Colours and counts of the outcomes, in two rows if one is not enough."""
    x, y, parts = float(LEFT), _LEGEND_TOP, []
    for outcome, colour in _COLOURS.items():
        count = int(table.has(outcome).sum())
        if count == 0:
            continue
        words = f"{outcome.value} {count}"
        width = 28 + 6.2 * len(words)
        if x + width > WIDTH:
            x, y = float(LEFT), y + 14
        parts.append(rectangle(x, y, 9, 9, colour) + text(x + 13, y + 8, words))
        x += width
    return "".join(parts)


def _scale(top: float, height: float, most: float, title: str) -> str:
    """Grid lines with their values."""
    parts = [text(4, top + 8, title)]
    for part in range(3):
        y = top + height * part / 2
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, "#cbd5e0"))
        parts.append(text(LEFT - 6, y + 4, f"{most * (2 - part) / 2:g}", anchor="end"))
    return "".join(parts)


def _nice(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, … that is not below `value`."""
    if value < _LEAST:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= value * 0.999999)
