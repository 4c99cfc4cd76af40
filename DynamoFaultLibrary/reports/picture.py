"""The timeline of a test as a small inline SVG: events on top, one bar a request, the fault shaded.

Drawn by hand: a fixed set of rectangles, lines and texts on white, readable at the width of Robot's log.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

from DynamoFaultLibrary.load.records import Record
from DynamoFaultLibrary.reports.timeline import Event, EventKind

WIDTH = 960
_LEFT, _RIGHT = 130, 20
_EVENT_ROW, _BAR_ROW = 18, 14
_PAUSE = 0.025
"""Pauses of a stream longer than this many seconds are drawn."""
_MOST_BARS = 24
_LETTER = 5.6
"""Width of a letter at font size 11, on average."""

_COLOURS = {
    EventKind.DEPLOY: "#5b6b7b",
    EventKind.LOAD: "#2b6cb0",
    EventKind.FAULT: "#c53030",
    EventKind.EVIDENCE: "#9b2c2c",
    EventKind.RECOVERED: "#2f855a",
    EventKind.GOOD: "#2f855a",
}


@dataclass(frozen=True)
class FaultWindow:
    """When a fault was in effect; `end_s` None means: to the end of the picture."""

    label: str
    start_s: float
    end_s: float | None


def draw(events: Sequence[Event], records: Sequence[Record], faults: Sequence[FaultWindow]) -> str:
    """Return the SVG; times are on the monotonic clock. Empty when there is nothing to draw."""
    times = [event.monotonic_s for event in events]
    times += [moment for record in records for moment in (record.started_monotonic_s, record.ended_monotonic_s)]
    if not times:
        return ""
    bars = sorted(records, key=lambda record: record.started_monotonic_s)[:_MOST_BARS]
    canvas = _Canvas(min(times), max(times), len(events), len(bars))
    for window in faults:
        canvas.shade(window)
    for row, event in enumerate(events):
        canvas.event(row, event)
    for row, record in enumerate(bars):
        canvas.bar(row, record)
    hidden = len(records) - len(bars)
    return canvas.finish(f"… and {hidden} more requests" if hidden else "")


class _Canvas:
    def __init__(self, first: float, last: float, events: int, bars: int) -> None:
        self.first = first
        self.span = max(last - first, 0.001)
        self.bars_top = 24 + events * _EVENT_ROW
        self.height = self.bars_top + bars * _BAR_ROW + 40
        self.parts: list[str] = []

    def x(self, moment: float) -> float:
        return _LEFT + (WIDTH - _LEFT - _RIGHT) * (min(max(moment - self.first, 0), self.span)) / self.span

    def shade(self, window: FaultWindow) -> None:
        left = self.x(window.start_s)
        right = self.x(window.end_s) if window.end_s is not None else WIDTH - _RIGHT
        self.parts.append(
            f'<rect x="{left:.1f}" y="18" width="{max(right - left, 1.5):.1f}" height="{self.height - 58}" '
            f'fill="#fed7d7"><title>{escape(window.label)}</title></rect>'
        )

    def event(self, row: int, event: Event) -> None:
        x, y = self.x(event.monotonic_s), 24 + row * _EVENT_ROW
        colour = _COLOURS[event.kind]
        on_left = x > (_LEFT + WIDTH) / 2
        room = int((x - _LEFT if on_left else WIDTH - x) / _LETTER)
        text = event.text if len(event.text) <= room else event.text[: room - 1] + "…"
        self.parts.append(
            f'<line x1="{x:.1f}" y1="{y}" x2="{x:.1f}" y2="{self.height - 40}" stroke="{colour}" '
            f'stroke-opacity="0.45"/>'
            f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{colour}"><title>{escape(event.text)}</title></circle>'
            f'<text x="{x + (-8 if on_left else 8):.1f}" y="{y + 4}" fill="{colour}" '
            f'text-anchor="{"end" if on_left else "start"}">{escape(text)}</text>'
            f'<text x="4" y="{y + 4}">{escape(event.at[11:23])}</text>'
        )

    def bar(self, row: int, record: Record) -> None:
        top = self.bars_top + row * _BAR_ROW
        left, right = self.x(record.started_monotonic_s), self.x(record.ended_monotonic_s)
        colour = "#68a37c" if record.is_ok else "#dd6b20"
        self.parts.append(
            f'<text x="4" y="{top + 9}">{escape(record.id[:20])}</text>'
            f'<rect x="{left:.1f}" y="{top}" width="{max(right - left, 1):.1f}" height="9" fill="{colour}">'
            f"<title>{escape(record.id + ': ' + record.summary())}</title></rect>"
        )
        moment = record.started_monotonic_s + (record.ttft_s or 0)
        for gap in record.gaps_s:
            if gap > _PAUSE:
                start, end = self.x(moment), self.x(moment + gap)
                self.parts.append(
                    f'<rect x="{start:.1f}" y="{top}" width="{max(end - start, 1.5):.1f}" height="9" fill="#1a202c">'
                    f"<title>pause of {gap * 1000:.0f} ms</title></rect>"
                )
            moment += gap

    def finish(self, note: str) -> str:
        base = self.height - 36
        self.parts.append(f'<line x1="{_LEFT}" y1="{base}" x2="{WIDTH - _RIGHT}" y2="{base}" stroke="#2d3748"/>')
        for tick in range(6):
            seconds = self.span * tick / 5
            x = self.x(self.first + seconds)
            self.parts.append(
                f'<line x1="{x:.1f}" y1="{base}" x2="{x:.1f}" y2="{base + 4}" stroke="#2d3748"/>'
                f'<text x="{x:.1f}" y="{base + 17}" text-anchor="middle">{seconds:.2f} s</text>'
            )
        self.parts.append(f'<text x="4" y="{base + 17}">UTC</text><text x="4" y="{base + 31}">{escape(note)}</text>')
        return (
            f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {self.height}" width="{WIDTH}" '
            f'height="{self.height}" style="background:#fff;max-width:100%" font-family="sans-serif" font-size="11" '
            f'fill="#1a202c">{"".join(self.parts)}</svg>'
        )
