"""Figures of several sides as inline SVG: a strip a figure, a row a side, a dot a run."""

import math
from collections.abc import Sequence
from html import escape
from statistics import median

from DynamoFaultLibrary.load.figures import Unit
from DynamoFaultLibrary.reports.compare import FigureChange, Judgement
from DynamoFaultLibrary.reports.svg import LEFT, RIGHT, WIDTH, line, nice, svg, text

COLOURS = ("#2b6cb0", "#dd6b20")
"""Of the two sides."""
_MARKS = {
    Judgement.WORSE: "#c53030",
    Judgement.BETTER: "#2f855a",
    Judgement.ALIKE: "#718096",
    Judgement.UNKNOWN: "#718096",
}
_STRIP, _LANE = 64, 15
_FEW_TICKS = 5


def draw_strips(changes: Sequence[FigureChange], labels: tuple[str, str]) -> str:
    """Return the SVG; empty without figures."""
    if not changes:
        return ""
    return svg(_STRIP * len(changes) + 6, "".join(_strip(each, labels, _STRIP * n) for n, each in enumerate(changes)))


def _strip(change: FigureChange, labels: tuple[str, str], top: float) -> str:
    share = "" if change.share is None else f" {change.share:+.1%}"
    parts = [
        text(4, top + 14, f"{change.measure.title} of {change.load}:{share}"),
        text(WIDTH - RIGHT, top + 14, change.judgement.value, _MARKS[change.judgement], "end"),
    ]
    values = [value for value in (*change.before, *change.after) if math.isfinite(value)]
    most = nice(max(values, default=0.0))
    scale = (WIDTH - LEFT - RIGHT - 80) / most
    base = top + 20 + 2 * _LANE
    parts.append(line(LEFT, base, LEFT + scale * most, base, "#cbd5e0"))
    unit = " s" if change.measure.unit is Unit.SECONDS else ""
    for number in range(_FEW_TICKS + 1):
        value = most * number / _FEW_TICKS
        parts += [
            line(LEFT + scale * value, top + 20, LEFT + scale * value, base, "#edf2f7"),
            text(LEFT + scale * value, base + 11, f"{value:g}{unit}", "#718096", "middle"),
        ]
    for lane, (label, side) in enumerate(zip(labels, (change.before, change.after), strict=True)):
        y = top + 20 + _LANE * (lane + 0.5)
        parts.append(text(LEFT - 8, y + 4, label[:20], COLOURS[lane], "end"))
        parts += [_dot(change, value, LEFT + scale * min(value, most), y, COLOURS[lane]) for value in side]
        if math.isfinite(middle := median(side)):
            x = LEFT + scale * middle
            parts.append(line(x, y - 6, x, y + 6, COLOURS[lane]))
    return "".join(parts)


def _dot(change: FigureChange, value: float, x: float, y: float, colour: str) -> str:
    tip = f"<title>{escape(change.measure.cell(value))}</title>"
    if math.isinf(value):
        return f"<g>{tip}{text(WIDTH - RIGHT, y + 4, 'not reached', colour, 'end')}</g>"
    return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="4" fill="{colour}" fill-opacity="0.55">{tip}</circle>'
