"""The timeline of a test as a small inline SVG: events on top, one bar a request, the fault shaded."""

from collections.abc import Sequence
from html import escape

from DynamoFaultLibrary.load.records import Record
from DynamoFaultLibrary.load.windows import FaultWindow
from DynamoFaultLibrary.reports.svg import LEFT, LETTER, WIDTH, TimeAxis, line, rectangle, svg, text
from DynamoFaultLibrary.reports.timeline import Event, EventKind

MOST_BARS = 24
_TOP, _EVENT_ROW, _BAR_ROW = 24, 18, 14
_PAUSE = 0.025
"""Pauses of a stream longer than this many seconds are drawn."""

_COLOURS = {
    EventKind.DEPLOY: "#5b6b7b",
    EventKind.LOAD: "#2b6cb0",
    EventKind.PHASE: "#6b46c1",
    EventKind.FAULT: "#c53030",
    EventKind.EVIDENCE: "#9b2c2c",
    EventKind.RECOVERED: "#2f855a",
    EventKind.GOOD: "#2f855a",
}


def time_axis(
    events: Sequence[Event], records: Sequence[Record], spans: Sequence[tuple[float, float]] = ()
) -> TimeAxis | None:
    """The time axis of all pictures of a test, from its first event; None when there is nothing to draw."""
    times = [event.monotonic_s for event in events]
    times += [moment for record in records for moment in (record.started_monotonic_s, record.ended_monotonic_s)]
    times += [moment for span in spans for moment in span]
    return TimeAxis(min(times), max(times)) if times else None


def draw(
    events: Sequence[Event], records: Sequence[Record], faults: Sequence[FaultWindow], axis: TimeAxis | None = None
) -> str:
    """Return the SVG; times are on the monotonic clock. Empty when there is nothing to draw."""
    axis = axis or time_axis(events, records)
    if axis is None or not (events or records):
        return ""
    bars = sorted(records, key=lambda record: record.started_monotonic_s)[:MOST_BARS]
    bars_top = _TOP + len(events) * _EVENT_ROW
    base = bars_top + len(bars) * _BAR_ROW + 4
    hidden = len(records) - len(bars)
    parts = [
        axis.shade(faults, 18, base - 22),
        *(_event(axis, _TOP + row * _EVENT_ROW, event, base - 4) for row, event in enumerate(events)),
        *(_bar(axis, bars_top + row * _BAR_ROW, record) for row, record in enumerate(bars)),
        axis.draw(base, f"… and {hidden} more requests" if hidden else ""),
        text(4, base + 17, "UTC; seconds"),
    ]
    return svg(base + 36, "".join(parts))


def _event(axis: TimeAxis, y: float, event: Event, bottom: float) -> str:
    x = axis.x(event.monotonic_s)
    colour = _COLOURS[event.kind]
    on_left = x > (LEFT + WIDTH) / 2
    room = int((x - LEFT if on_left else WIDTH - x) / LETTER)
    words = event.text if len(event.text) <= room else event.text[: room - 1] + "…"
    return (
        line(x, y, x, bottom, colour, 0.45)
        + f'<circle cx="{x:.1f}" cy="{y}" r="4" fill="{colour}"><title>{escape(event.text)}</title></circle>'
        + text(x + (-8 if on_left else 8), y + 4, words, colour, "end" if on_left else "start")
        + text(4, y + 4, event.at[11:23])
    )


def _bar(axis: TimeAxis, top: float, record: Record) -> str:
    left, right = axis.x(record.started_monotonic_s), axis.x(record.ended_monotonic_s)
    colour = "#68a37c" if record.is_ok else "#dd6b20"
    parts = [
        text(4, top + 9, record.id[:20]),
        rectangle(left, top, max(right - left, 1), 9, colour, f"{record.id}: {record.summary()}"),
    ]
    moment = record.started_monotonic_s + (record.ttft_s or 0)
    for gap in record.gaps_s:
        if gap > _PAUSE:
            start, end = axis.x(moment), axis.x(moment + gap)
            parts.append(rectangle(start, top, max(end - start, 1.5), 9, "#1a202c", f"pause of {gap * 1000:.0f} ms"))
        moment += gap
    return "".join(parts)
