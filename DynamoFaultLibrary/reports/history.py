"""How verdicts and figures went on from run to run: a table, JSON data, and a page with trends."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from DynamoFaultLibrary.load.figures import NONE
from DynamoFaultLibrary.reports.compare_tables import finite, run_json
from DynamoFaultLibrary.reports.grid import Grid
from DynamoFaultLibrary.reports.measures import MEASURES, Measure
from DynamoFaultLibrary.reports.page import document
from DynamoFaultLibrary.reports.run import Run, Verdict
from DynamoFaultLibrary.reports.svg import LEFT, RIGHT, WIDTH, grid, line, nice, rectangle, svg, text

_COLOURS = {
    Verdict.PASSED: "#68a37c",
    Verdict.DEFECT: "#d69e2e",
    Verdict.SKIPPED: "#a0aec0",
    Verdict.FAILED: "#c53030",
    Verdict.MISSING: "#edf2f7",
}
_SHOWN = ("p50", "p99", "ttft-p99", "throughput", "failed", "lost", "recovery", "full-recovery")
_CHART, _TOP, _BOTTOM, _ROW = 90, 24, 34, 16
_LINE = "#2b6cb0"
_MOST_LABELS = 12


def history_table(runs: Sequence[Run]) -> Grid:
    """A row a run."""
    verdicts = [verdict for verdict in Verdict if verdict is not Verdict.MISSING]
    header = [
        "Started",
        "Run",
        "Dynamo",
        *(verdict.value.capitalize() for verdict in verdicts),
        "Loads",
        "Failed requests",
    ]
    rows = []
    for run in runs:
        counts = [NONE if run.tests is None else str(run.count(verdict)) for verdict in verdicts]
        failed = sum(figures.get("failed", 0.0) for figures in run.loads.values())
        row = [f"{run.started:%Y-%m-%d %H:%M}", _name(run), run.version or NONE, *counts]
        rows.append([*row, str(len(run.loads)), f"{failed:g}" if run.loads else NONE])
    return Grid(header, rows)


def to_json(runs: Sequence[Run]) -> dict[str, Any]:
    """Everything, for programs: verdicts and figures by run."""
    found = []
    for run in runs:
        tests = {name: tested.verdict.name.lower() for name, tested in (run.tests or {}).items()}
        loads = {
            load: dict(zip(figures, finite(list(figures.values())), strict=True)) for load, figures in run.loads.items()
        }
        found.append({**run_json(run), "verdicts": tests, "loads": loads})
    return {"runs": found}


def page(runs: Sequence[Run], title: str) -> str:
    """Trends of verdicts, of each test that changed its verdict, and of each load that several runs have."""
    loads = list(dict.fromkeys(load for run in runs for load in run.loads))
    repeated = [load for load in loads if sum(load in run.loads for run in runs) > 1]
    tested = [run for run in runs if run.tests is not None]
    parts = [f"<h1>Runs of {escape(title)}</h1>", history_table(runs).to_html()]
    if tested:
        parts.append("<h2>Verdicts</h2>" + _verdicts(tested) + _changes(tested))
    if repeated:
        parts.append("<h2>Figures</h2>" + _overall(runs, repeated))
        parts += [_load(runs, load, is_open=len(repeated) == 1) for load in repeated]
    if len(repeated) < len(loads):
        parts.append(f"<p>Loads that only one run has: {len(loads) - len(repeated)}.</p>")
    return document(f"Runs of {title}", "".join(parts))


@dataclass(frozen=True)
class _Columns:
    """A column a run, in order."""

    runs: Sequence[Run]
    left: float = LEFT

    @property
    def width(self) -> float:
        return (WIDTH - self.left - RIGHT) / len(self.runs)

    def x(self, place: int) -> float:
        """The middle of a column."""
        return self.left + self.width * (place + 0.5)

    def labels(self, y: float) -> str:
        """Dates, and versions where they are known, as many as there is room for."""
        step = math.ceil(len(self.runs) / _MOST_LABELS)
        parts = []
        for place in range(0, len(self.runs), step):
            run = self.runs[place]
            parts.append(text(self.x(place), y + 12, f"{run.started:%m-%d %H:%M}", anchor="middle"))
            parts.append(text(self.x(place), y + 25, run.version[:12], "#718096", "middle"))
        return "".join(parts)


def _name(run: Run) -> str:
    return "/".join(run.path.parts[-2:])


def _tip(run: Run) -> str:
    return f"{_name(run)}, {run.started:%Y-%m-%d %H:%M}{', Dynamo ' + run.version if run.version else ''}"


def _verdicts(runs: Sequence[Run]) -> str:
    """Stacked bars: tests by verdict."""
    columns = _Columns(runs)
    most = nice(max(len(run.tests or {}) for run in runs))
    parts, x = [grid(_TOP, _CHART, most)], float(LEFT)
    for verdict, colour in list(_COLOURS.items())[:-1]:
        parts += [rectangle(x, 4, 9, 9, colour), text(x + 13, 12, verdict.value)]
        x += 110
    for place, run in enumerate(runs):
        y = float(_TOP + _CHART)
        for verdict, colour in _COLOURS.items():
            count = run.count(verdict)
            if count:
                height = _CHART * count / most
                y -= height
                width = max(1.0, min(40.0, columns.width * 0.8))
                tip = f"{count} {verdict.value}: {_tip(run)}"
                parts.append(rectangle(columns.x(place) - width / 2, y, width, height, colour, tip))
    return svg(_TOP + _CHART + _BOTTOM, "".join(parts) + columns.labels(_TOP + _CHART))


def _changes(runs: Sequence[Run]) -> str:
    """A row for each test that did not have the same verdict in all runs."""
    names = dict.fromkeys(name for run in runs for name in run.tests or {})
    changed = [name for name in names if len({run.ruling(name).verdict for run in runs}) > 1]
    if not changed:
        return "<p>Every test had the same verdict in all runs.</p>"
    columns = _Columns(runs, left=WIDTH * 0.55)
    parts = []
    for row, name in enumerate(changed):
        parts.append(text(4, _ROW * row + 12, name if len(name) <= 86 else f"…{name[-85:]}"))
        for place, run in enumerate(runs):
            verdict = run.ruling(name).verdict
            width = max(1.0, min(24.0, columns.width - 2))
            tip = f"{verdict.value}: {_tip(run)}"
            left = columns.x(place) - width / 2
            parts.append(rectangle(left, _ROW * row + 2, width, _ROW - 4, _COLOURS[verdict], tip))
    head = "<h3>Tests that changed their verdict</h3>"
    return head + svg(_ROW * len(changed) + 4, "".join(parts))


def _overall(runs: Sequence[Run], loads: Sequence[str]) -> str:
    """Charts of those loads together that all runs with loads have; empty unless there are two."""
    of_loads = [run for run in runs if run.loads]
    common = [load for load in loads if all(load in run.loads for run in of_loads)]
    if len(common) < 2:
        return ""
    charts = []
    for measure in MEASURES:
        name = measure.name
        have = [load for load in common if all(math.isfinite(run.loads[load].get(name, math.inf)) for run in of_loads)]
        if name in _SHOWN and have:
            values = [measure.combined([run.loads[load][name] for load in have]) for run in of_loads]
            charts.append(_chart(of_loads, measure, values))
    words = f"{len(common)} loads that all runs have: sums of counts, geometric means of the others"
    return f"<details open><summary>{words}</summary>{''.join(charts)}</details>"


def _load(runs: Sequence[Run], load: str, is_open: bool) -> str:
    """A chart for each figure that a load has in two runs at least."""
    of_load = [run for run in runs if load in run.loads]
    charts = [
        _chart(of_load, measure, [run.loads[load].get(measure.name) for run in of_load])
        for measure in MEASURES
        if measure.name in _SHOWN and sum(measure.name in run.loads[load] for run in of_load) > 1
    ]
    return f"<details{' open' if is_open else ''}><summary>{escape(load)}</summary>{''.join(charts)}</details>"


def _chart(runs: Sequence[Run], measure: Measure, values: Sequence[float | None]) -> str:
    """A dot a run; what was not reached is a cross at the top."""
    columns = _Columns(runs)
    known = [value for value in values if value is not None and math.isfinite(value)]
    most = nice(max(known, default=0.0))
    unit = {"seconds": " (s)", "rate": "", "count": ""}[measure.unit.value]
    parts = [text(4, 14, measure.title + unit), grid(_TOP, _CHART, most)]
    last: tuple[float, float] | None = None
    for place, (run, value) in enumerate(zip(runs, values, strict=True)):
        if value is None:
            last = None
            continue
        x, y = columns.x(place), _TOP + _CHART * (1 - min(value, most) / most)
        tip = f"<title>{escape(f'{measure.cell(value)}: {_tip(run)}')}</title>"
        if math.isinf(value):
            parts.append(f"<g>{tip}{text(x, _TOP + 4, '✕', '#c53030', 'middle')}</g>")
            last = None
            continue
        if last is not None:
            parts.append(line(*last, x, y, _LINE, 0.6))
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5" fill="{_LINE}">{tip}</circle>')
        last = x, y
    return svg(_TOP + _CHART + _BOTTOM, "".join(parts) + columns.labels(_TOP + _CHART))
