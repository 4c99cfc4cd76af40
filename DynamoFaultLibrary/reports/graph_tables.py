"""Tables of a graph: its services, what edits changed, and what a platform would make of it."""

import shlex
from collections.abc import Sequence
from html import escape

from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.graph.edits import Change
from DynamoFaultLibrary.platforms.base import Plan, PlannedProcess, Remark
from DynamoFaultLibrary.reports.grid import Grid

EDITS, NOT_REACHED = "Edits", "Not reached by edits"
OVERRIDDEN, MISSING = "Set otherwise here", "Not on this machine"
_LONGEST = 100
"""Characters of a command that a table shows."""


def edit_tables(changes: Sequence[Change]) -> dict[str, Grid]:
    """What went where and what did not, by title; without empty tables."""
    made = [[each.service, each.what, each.place] for each in changes if not each.why_not]
    left = [[each.service, each.what, each.place, each.why_not] for each in changes if each.why_not]
    return _filled(
        {
            EDITS: Grid(["Service", "Edit", "Where"], made, words=3),
            NOT_REACHED: Grid(["Service", "Edit", "Where", "Why not"], left, words=4),
        }
    )


def plan_tables(plan: Plan) -> dict[str, Grid]:
    """What a platform does otherwise than the graph says, and what it cannot, by title; without empty tables."""
    return _filled({OVERRIDDEN: _remarks(plan.overridden), MISSING: _remarks(plan.missing)})


def to_html(tables: dict[str, Grid], yaml: str = "") -> str:
    """Tables under their titles for log.html, and a YAML text that unfolds; empty when there is nothing to show."""
    parts = [f"<b>{escape(title)}</b>{grid.to_html()}" for title, grid in tables.items()]
    if yaml:
        parts.append(f"<details><summary>The graph as edited</summary><pre>{escape(yaml)}</pre></details>")
    return f"<div>{''.join(parts)}</div>" if parts else ""


def services_table(graph: Graph) -> Grid:
    """A row for each service."""
    header = ["Service", "Role", "Runs", "Model", "Replicas", "GPUs"]
    return Grid(header, [_service(service) for service in graph.services.values()], words=4)


def processes_table(processes: Sequence[PlannedProcess]) -> Grid:
    """A row for each process; long commands are cut."""
    return Grid(["Process", "Command"], [[each.name, _cut(each.command)] for each in processes], words=2)


def runs(service: Service) -> str:
    """What a service runs, in a line; empty where only its image knows."""
    return _cut(shlex.join(service.command))


def model(service: Service) -> str:
    """The model that a service's arguments name; empty when they name none."""
    return (service.argument(service.model_option) or "") if service.model_option else ""


def _service(service: Service) -> list[str]:
    return [
        service.name,
        service.role,
        runs(service) or "-",
        model(service) or "-",
        str(service.replicas),
        str(service.gpus),
    ]


def _remarks(remarks: Sequence[Remark]) -> Grid:
    rows = dict.fromkeys((each.service, each.what, each.why) for each in remarks)
    return Grid(["Service", "What", "Why"], [list(row) for row in rows], words=3)


def _filled(tables: dict[str, Grid]) -> dict[str, Grid]:
    return {title: grid for title, grid in tables.items() if grid.rows}


def _cut(command: str) -> str:
    line = " ".join(command.split())
    return line if len(line) <= _LONGEST else f"{line[: _LONGEST - 1]}…"
