"""Tables for people: figures of a load side by side, the failure table of origin 3, the metric table of origin 2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from html import escape

from DynamoFaultLibrary.load.statistics import (
    Distribution,
    Figures,
    last_error_time,
    longest_outage,
    lost_requests,
    recovery_time,
)
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import (
    WHOLE,
    FaultWindow,
    PhaseMark,
    Segment,
    Window,
    cut_at_fault,
    cut_at_phases,
    whole,
)

NONE = "-"
_CELL = "border:1px solid #cbd5e0;padding:2px 8px;text-align:"


@dataclass(frozen=True)
class Grid:
    """A table of texts; the first column is on the left, the others are on the right."""

    header: list[str]
    rows: list[list[str]]

    def to_html(self) -> str:
        """For log.html: dark on white, no style sheet needed."""
        style = "border-collapse:collapse;background:#fff;color:#1a202c;font:12px sans-serif;margin:4px 0"
        rows = "".join(_html_row(cells, "td") for cells in self.rows)
        return f'<table style="{style}">{_html_row(self.header, "th")}{rows}</table>'

    def to_text(self) -> str:
        """For the console: columns aligned."""
        lines = [self.header, *self.rows]
        widths = [max(len(line[column]) for line in lines) for column in range(len(self.header))]
        rule = ["-" * width for width in widths]
        return "\n".join(_text_row(cells, widths) for cells in (self.header, rule, *self.rows))


def _html_row(cells: Sequence[str], tag: str) -> str:
    sides = ["left", *["right"] * (len(cells) - 1)]
    inner = (f'<{tag} style="{_CELL}{side}">{escape(cell)}</{tag}>' for cell, side in zip(cells, sides, strict=True))
    return f"<tr>{''.join(inner)}</tr>"


def _text_row(cells: Sequence[str], widths: Sequence[int]) -> str:
    others = [cell.rjust(width) for cell, width in zip(cells[1:], widths[1:], strict=True)]
    return "  ".join([cells[0].ljust(widths[0]), *others]).rstrip()


def seconds(value: float | None) -> str:
    """A time in seconds, as precise as one reads it."""
    return NONE if value is None else f"{value:.3f} s"


def rate(value: float | None) -> str:
    """A rate a second."""
    return NONE if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return NONE if value is None else f"{value:.2%}"


def _two(spread: Distribution | None) -> str:
    return NONE if spread is None else f"{seconds(spread.p50)} / {seconds(spread.p99)}"


def _errors(figures: Figures) -> str:
    if not figures.failed:
        return "0"
    return f"{figures.failed} ({', '.join(f'{count} {kind}' for kind, count in figures.errors.items())})"


_ROWS: list[tuple[str, Callable[[Figures], str]]] = [
    ("Requests", lambda f: str(f.requests)),
    ("Good", lambda f: str(f.good)),
    ("Failed", _errors),
    ("Cancelled", lambda f: str(f.cancelled)),
    ("Retries", lambda f: str(f.retries)),
    ("Success rate", lambda f: share(f.success_rate)),
    ("Time looked at", lambda f: seconds(f.seconds)),
    ("Requests/s", lambda f: rate(f.throughput)),
    ("Tokens/s", lambda f: rate(f.token_throughput)),
    ("Latency p50 / p99", lambda f: _two(f.latency)),
    ("Time to first token p50 / p99", lambda f: _two(f.time_to_first_token)),
    ("Inter-token latency p50 / p99", lambda f: _two(f.inter_token_latency)),
    ("Longest pause in a stream", lambda f: seconds(f.longest_gap)),
]


def cut(table: Table, fault: FaultWindow | None, phases: Sequence[PhaseMark]) -> dict[str, Segment]:
    """The whole load, and its parts by phase and by fault, as far as there are any."""
    parts = {WHOLE: whole(table), **cut_at_phases(table, phases)}
    if fault is not None:
        parts |= {window.value: segment for window, segment in cut_at_fault(table, fault).items()}
    return parts


def fault_facts(table: Table, fault: FaultWindow) -> list[str]:
    """What to say of a fault in view of a load: recovery, when the platform was ready again, what was lost."""
    recovered = recovery_time(table, fault.effective_s)
    last_error = last_error_time(table, fault.effective_s)
    during = cut_at_fault(table, fault)[Window.DURING]
    outage = longest_outage(table, during.start_s, during.end_s)
    ready = "never undone"
    if fault.ended_s is not None:
        ready = f"the platform had undone it and was ready after {seconds(fault.ended_s - fault.effective_s)}"
    return [
        f"{fault.label}: " + ("not recovered" if recovered is None else f"recovery time {seconds(recovered)}"),
        ready,
        f"{lost_requests(table, fault.injected_s)} requests in flight were lost",
        f"longest outage {seconds(outage)}",
        "no error after it" if last_error is None else f"last error after {seconds(last_error)}",
    ]


def figures_table(columns: Mapping[str, Figures]) -> Grid:
    """Figures side by side, a column each."""
    rows = [[title, *(tell(figures) for figures in columns.values())] for title, tell in _ROWS]
    return Grid(["", *columns], rows)


@dataclass(frozen=True)
class ScenarioRow:
    """One load and what failed in it. Times in seconds; None: not known."""

    scenario: str
    failure: str
    startup: float | None
    before: Figures | None
    after: Figures | None
    """Since the injection: during and after it."""
    recovery: float | None
    violations: tuple[int, int] | None = None
    """Good requests before and after that took longer than the SLA allows."""


def scenario_table(rows: Sequence[ScenarioRow]) -> Grid:
    """The table of origin 3, one row a scenario."""
    with_sla = any(row.violations is not None for row in rows)
    header = ["Scenario", "Failure", "Startup", "Success Before", "Failed Before", "Success After", "Failed After"]
    header += ["Latency Before", "Latency After"]
    header += ["Violations Before", "Violations After"] if with_sla else []
    return Grid([*header, "Recovery"], [_scenario(row, with_sla) for row in rows])


def _scenario(row: ScenarioRow, with_sla: bool) -> list[str]:
    def count(figures: Figures | None, what: str) -> str:
        return NONE if figures is None else str(getattr(figures, what))

    def latency(figures: Figures | None) -> str:
        return seconds(figures.latency.mean if figures is not None and figures.latency is not None else None)

    cells = [row.scenario, row.failure, seconds(row.startup)]
    cells += [
        count(row.before, "good"),
        count(row.before, "failed"),
        count(row.after, "good"),
        count(row.after, "failed"),
    ]
    cells += [latency(row.before), latency(row.after)]
    if with_sla:
        cells += [str(number) for number in row.violations] if row.violations else [NONE, NONE]
    return [*cells, seconds(row.recovery)]
