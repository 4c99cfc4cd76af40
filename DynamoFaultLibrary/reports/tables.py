"""Tables for people: figures of a load side by side, the failure table of origin 3, the metric table of origin 2."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from DynamoFaultLibrary.load.figures import FIGURES, NONE, seconds
from DynamoFaultLibrary.load.recovery import Aftermath
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.statistics import Figures
from DynamoFaultLibrary.load.table import Mask, Table
from DynamoFaultLibrary.load.windows import (
    WHOLE,
    FaultWindow,
    PhaseMark,
    Segment,
    cut_at_fault,
    cut_at_phases,
    whole,
)
from DynamoFaultLibrary.reports.grid import Grid

_ROWS: list[tuple[str, Callable[[Figures], str]]] = [
    ("Time looked at", lambda f: seconds(f.seconds)),
    *((figure.title, figure.cell) for figure in FIGURES if figure.cell is not None),
]
_FACTS = [(figure.title, figure.fact) for figure in FIGURES if figure.fact is not None]
FACT_TITLES = [title for title, _ in _FACTS]


def cut(
    table: Table, fault: FaultWindow | None, phases: Sequence[PhaseMark], served: Served | None = None
) -> dict[str, Segment]:
    """The whole load, and its parts by phase, by fault and by replica, as far as there are any."""
    parts = {WHOLE: whole(table), **cut_at_phases(table, phases)}
    if fault is not None:
        parts |= {window.value: segment for window, segment in cut_at_fault(table, fault).items()}
    for name, rows in replicas_of(table, served).items():
        chosen = table.where(rows)
        parts[name] = replace(parts[WHOLE], name=name, rows=chosen, ended_there=chosen)
    return parts


def fault_facts(after: Aftermath | None) -> list[tuple[str, str]]:
    """What there is to say of a load after a fault, by name: recovery, errors, outage, losses. Dashes without one."""
    return [(title, NONE if after is None else tell(after)) for title, tell in _FACTS]


def faults_table(afters: Sequence[Aftermath]) -> Grid:
    """The same of several faults, a row each, and when each came off."""
    header = ["Fault", "Came off after", *FACT_TITLES]
    return Grid(header, [[after.fault.label, _undone(after.fault), *_facts(after)] for after in afters])


def _facts(after: Aftermath | None) -> list[str]:
    return [text for _, text in fault_facts(after)]


def _undone(fault: FaultWindow) -> str:
    return "not undone" if fault.ended_s is None else seconds(fault.ended_s - fault.effective_s)


def replicas_of(table: Table, served: Served | None) -> dict[str, Mask]:
    """Rows by the replica that served them, those that nobody served, and those of which it is not known."""
    if served is None or not len(served.numbers):
        return {}
    found = {name: served.by(table, name) for name in served.replicas}
    others = {"not served": served.nobody(table), "not known": served.unknown(table)}
    return found | {name: rows for name, rows in others.items() if rows.any()}


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
    aftermath: Aftermath | None
    violations: tuple[int, int] | None = None
    """Good requests before and after that took longer than the SLA allows."""


def scenario_table(rows: Sequence[ScenarioRow]) -> Grid:
    """The table of origin 3, one row a scenario."""
    with_sla = any(row.violations is not None for row in rows)
    header = ["Scenario", "Failure", "Startup", "Success Before", "Failed Before", "Success After", "Failed After"]
    header += ["Latency Before", "Latency After"]
    header += ["Violations Before", "Violations After"] if with_sla else []
    return Grid([*header, *(title.title() for title in FACT_TITLES)], [_scenario(row, with_sla) for row in rows])


def _scenario(row: ScenarioRow, with_sla: bool) -> list[str]:
    cells = [row.scenario, row.failure, seconds(row.startup)]
    for figures in (row.before, row.after):
        cells += [NONE, NONE] if figures is None else [str(figures.good), str(figures.failed)]
    for figures in (row.before, row.after):
        cells.append(seconds(figures.latency.mean if figures and figures.latency else None))
    if with_sla:
        cells += [str(number) for number in row.violations] if row.violations else [NONE, NONE]
    return [*cells, *_facts(row.aftermath)]
