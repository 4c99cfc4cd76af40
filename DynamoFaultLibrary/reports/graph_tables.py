"""Tables of a graph: its services, what edits changed, and what a platform would make of it."""

import shlex
from collections.abc import Sequence
from dataclasses import replace
from html import escape

from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.graph.change import Change
from DynamoFaultLibrary.platforms.base import Plan, Remark
from DynamoFaultLibrary.reports.grid import Grid

EDITS, NOT_REACHED = "Edits", "Not reached by edits"
PROCESSES, OVERRIDDEN, MISSING = "Would run here", "Set otherwise here", "Not on this machine"
_PROGRAM, _COMMAND = 60, 240
"""Characters that a table shows of a service's command, and of a process' one."""


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
    header = ["Service", "Role", "Replicas", "GPUs", "Model", "Runs"]
    return Grid(header, [_service(service) for service in graph.services.values()], words=6)


def process_tables(plan: Plan) -> dict[str, Grid]:
    """What a platform would start, by title: a row for processes with the same command; long ones are cut."""
    alike: dict[tuple[str, str], list[str]] = {}
    for each in plan.processes:
        alike.setdefault((each.service, each.command), []).append(each.name)
    rows = [
        [names[0] if len(names) == 1 else f"{names[0]} … {names[-1]}", _cut(command, _COMMAND)]
        for (_, command), names in alike.items()
    ]
    return _filled({PROCESSES: Grid(["Process", "Command"], rows, words=2)})


def runs(service: Service) -> str:
    """The program that a service runs, else its command in a line; empty where only its image knows."""
    if service.module:
        return service.module + (f", in {service.shell}" if service.shell else "")
    return _cut(shlex.join(service.command), _PROGRAM)


def _service(service: Service) -> list[str]:
    figures = [str(service.replicas), str(service.gpus)]
    return [service.name, service.role, *figures, service.model or "-", runs(service) or "-"]


def _remarks(remarks: Sequence[Remark]) -> Grid:
    rows = [[each.service or "the graph", each.what, each.why] for each in remarks]
    return Grid(["Service", "What", "Why"], rows, words=3)


def _filled(tables: dict[str, Grid]) -> dict[str, Grid]:
    """Those with rows; a row that is there twice tells nothing more."""
    unique = {title: list(dict.fromkeys(map(tuple, grid.rows))) for title, grid in tables.items()}
    return {title: replace(tables[title], rows=[list(row) for row in rows]) for title, rows in unique.items() if rows}


def _cut(command: str, longest: int) -> str:
    line = " ".join(command.split())
    return line if len(line) <= longest else f"{line[: longest - 1]}…"
