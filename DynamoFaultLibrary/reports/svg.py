"""What the pictures share: a time axis, shaded faults, texts. Drawn by hand: small, inline, no network needed."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from DynamoFaultLibrary.load.windows import FaultWindow

WIDTH = 960
LEFT, RIGHT = 130, 20
LETTER = 5.6
"""Width of a letter at font size 11, on average."""
_MOST_TICKS = 10
_LEAST = 1e-9
"""Smaller figures are drawn as nothing."""
INK, SHADE = "#1a202c", "#fed7d7"


@dataclass(frozen=True)
class TimeAxis:
    """Maps moments to horizontal places."""

    first_s: float
    last_s: float

    @property
    def span_s(self) -> float:
        """Seconds from left to right."""
        return max(self.last_s - self.first_s, 0.001)

    def x(self, moment_s: float) -> float:
        """Place of a moment; what lies outside is put at the edge."""
        return LEFT + (WIDTH - LEFT - RIGHT) * min(max(moment_s - self.first_s, 0), self.span_s) / self.span_s

    def draw(self, y: float, note: str = "") -> str:
        """The axis at height `y`, with ticks at 0 and at multiples of 1, 2 or 5 times a power of ten, in seconds."""
        parts = [line(LEFT, y, WIDTH - RIGHT, y, "#2d3748")]
        step = nice(self.span_s / _MOST_TICKS)
        for number in range(int(self.span_s / step + 1e-9) + 1):
            x = self.x(self.first_s + number * step)
            parts.append(line(x, y, x, y + 4, "#2d3748"))
            parts.append(text(x, y + 17, f"{number * step:.10g} s", anchor="middle"))
        return "".join(parts) + text(4, y + 31, note)

    def shade(self, faults: Sequence[FaultWindow], top: float, height: float) -> str:
        """The times of faults; one that has not come off reaches to the right edge."""
        parts = []
        for fault in faults:
            left = self.x(fault.injected_s)
            right = self.x(fault.ended_s) if fault.ended_s is not None else WIDTH - RIGHT
            parts.append(rectangle(left, top, max(right - left, 1.5), height, SHADE, fault.label))
        return "".join(parts)


def nice(value: float) -> float:
    """The next of 1, 2, 5, 10, 20, … that is not below `value`."""
    if value < _LEAST:
        return 1.0
    magnitude = 10.0 ** math.floor(math.log10(value))
    return next(step * magnitude for step in (1, 2, 5, 10) if step * magnitude >= value * 0.999999)


def svg(height: float, body: str) -> str:
    """A picture, dark on white."""
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height:.0f}" width="{WIDTH}" '
        f'height="{height:.0f}" style="background:#fff;max-width:100%" font-family="sans-serif" font-size="11" '
        f'fill="{INK}">{body}</svg>'
    )


def rectangle(x: float, y: float, width: float, height: float, colour: str, title: str = "") -> str:
    """A filled rectangle; `title` is shown when the mouse is over it."""
    shape = f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height:.1f}" fill="{colour}"'
    return f"{shape}><title>{escape(title)}</title></rect>" if title else f"{shape}/>"


def line(x1: float, y1: float, x2: float, y2: float, colour: str, opacity: float = 1.0, dashes: str = "") -> str:
    """A thin line."""
    more = (f' stroke-opacity="{opacity}"' if opacity < 1 else "") + (f' stroke-dasharray="{dashes}"' if dashes else "")
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{colour}"{more}/>'


def grid(top: float, height: float, most: float) -> str:
    """Grid lines of a chart with their values, from 0 to `most`."""
    parts = []
    for part in range(3):
        y = top + height * part / 2
        parts.append(line(LEFT, y, WIDTH - RIGHT, y, "#cbd5e0"))
        parts.append(text(LEFT - 6, y + 4, f"{most * (2 - part) / 2:g}", anchor="end"))
    return "".join(parts)


def text(x: float, y: float, words: str, colour: str = INK, anchor: str = "start") -> str:
    """A line of text."""
    return f'<text x="{x:.1f}" y="{y:.1f}" fill="{colour}" text-anchor="{anchor}">{escape(words)}</text>'
