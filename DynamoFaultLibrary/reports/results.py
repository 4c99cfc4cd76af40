"""Reads a results folder: loads with the faults and phases that they met, of this library or of aiperf."""

import json
import os
import secrets
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load import aiperf_files, upstream_files
from DynamoFaultLibrary.load.figures import rate, seconds, share
from DynamoFaultLibrary.load.folder import STATE_FILE, LoadFolder, safe_name
from DynamoFaultLibrary.load.recovery import Aftermath, aftermaths, to_json
from DynamoFaultLibrary.load.windows import WHOLE, FaultWindow, PhaseMark, Segment, Window, cut_at_fault, met_by, whole
from DynamoFaultLibrary.reports.grid import Grid
from DynamoFaultLibrary.reports.tables import ScenarioRow, cut, fault_facts, scenario_table
from DynamoFaultLibrary.reports.timeline import EventKind

FAULTS_FILE = "faults.json"
TIMELINE_FILE = "timeline.jsonl"


@dataclass(frozen=True)
class LoadReport:
    """A load, and what happened while it ran."""

    folder: LoadFolder
    faults: list[FaultWindow] = field(default_factory=list)
    phases: list[PhaseMark] = field(default_factory=list)
    startup_s: float | None = None
    suite: str = ""
    """Name of the folder of its suite."""

    @property
    def title(self) -> str:
        """Its test (or folder) and name."""
        place = self.folder.test or str(self.folder.path)
        return f"{place}: {self.folder.name}" if self.folder.test else place

    @property
    def whole(self) -> Segment:
        """All of it."""
        return whole(self.folder.table)

    @property
    def fault(self) -> FaultWindow | None:
        """The last fault that it met: its parts are cut at that one, as they are for getters and in log.html."""
        return self.faults[-1] if self.faults else None

    @cached_property
    def aftermaths(self) -> list[Aftermath]:
        """What is to be said of the load after each fault."""
        known = self.folder
        return aftermaths(known.table, self.faults, known.ramp_s, known.now_s, known.think_s)

    @property
    def aftermath(self) -> Aftermath | None:
        """What is to be said of it after that one."""
        return self.aftermaths[-1] if self.aftermaths else None

    @property
    def test_name(self) -> str:
        """Its test without the suites: a test's name may have dots, so the suite is known by its folder."""
        full = self.folder.test
        dots = (place for place, letter in enumerate(full) if letter == ".")
        ends = [place for place in dots if safe_name(full[:place]) == self.suite]
        return full[ends[0] + 1 :] if ends else full.rpartition(".")[2]

    def scenario(self, sla_s: float | None = None) -> ScenarioRow:
        """Its row in the table of origin 3."""
        name = self.test_name or self.title
        if self.fault is None:
            violations = None if sla_s is None else (_violations(self.whole, sla_s), 0)
            return ScenarioRow(name, "none", self.startup_s, self.whole.figures, None, None, violations)
        parts = cut_at_fault(self.folder.table, self.fault)
        before, end = parts[Window.BEFORE], self.whole.end_s
        table = self.folder.table
        rows = table.where(table.ended >= self.fault.injected_s)
        after = Segment("after", self.fault.injected_s, end, rows, rows)
        return ScenarioRow(
            name,
            self.fault.label,
            self.startup_s,
            before.figures,
            after.figures,
            self.aftermath,
            None if sla_s is None else (_violations(before, sla_s), _violations(after, sla_s)),
        )

    def to_json(self, sla_s: float | None = None) -> dict[str, Any]:
        """Everything, for programs: figures of the whole load and of its parts, in seconds."""
        table = self.folder.table
        parts = cut(table, self.fault, self.phases)
        replicas = cut(table, None, [], self.folder.served)
        return {
            "title": self.title,
            "path": str(self.folder.path),
            "engine": self.folder.engine,
            "state": self.folder.state.value,
            "startup_s": self.startup_s,
            "fault": None if self.fault is None else asdict(self.fault),
            **to_json(self.aftermath),
            "faults": [{**asdict(each.fault), **to_json(each)} for each in self.aftermaths],
            "parts": {name: asdict(segment.figures) for name, segment in parts.items()},
            "replicas": {name: asdict(part.figures) for name, part in replicas.items() if name != WHOLE},
            "violations": self.scenario(sla_s).violations,
        }

    def metrics(self, sla_s: float | None = None) -> list[tuple[str, str]]:
        """Its metrics in the order of upstream's table for aiperf (origin 2)."""
        figures, plan = self.whole.figures, self.folder.plan
        latency, first, between = figures.latency, figures.time_to_first_token, figures.inter_token_latency
        mean = latency.mean if latency else None
        clients = plan.concurrency if plan else None
        each = figures.throughput / clients if figures.throughput is not None and clients else None
        verdict = ""
        if sla_s is not None and mean is not None:
            verdict = f" (SLA {'met' if mean <= sla_s else 'violated'})"
        return [
            ("Test Directory", "/".join(self.folder.path.parts[-2:])),
            ("State", self.folder.state.value if self.folder.is_complete else f"{self.folder.state.value}: PARTIAL"),
            ("Number of Clients", "-" if clients is None else str(clients)),
            ("Startup Time", seconds(self.startup_s)),
            *((title.title(), text) for title, text in fault_facts(self.aftermath)),
            ("Total Requests", str(figures.requests)),
            ("Successful Requests", str(figures.good)),
            ("Failed Requests", str(figures.failed)),
            ("Cancelled Requests", str(figures.cancelled)),
            ("Success Rate", share(figures.success_rate)),
            ("Mean Latency", seconds(mean) + verdict),
            ("P50 Latency", seconds(latency.p50 if latency else None)),
            ("P90 Latency", seconds(latency.p90 if latency else None)),
            ("P99 Latency", seconds(latency.p99 if latency else None)),
            ("Time to First Token (mean)", seconds(first.mean if first else None)),
            ("Inter-Token Latency (mean)", seconds(between.mean if between else None)),
            ("Total Throughput (requests/s)", rate(figures.throughput)),
            ("Avg Client Throughput (requests/s)", rate(each)),
        ]


def _violations(part: Segment, sla_s: float) -> int:
    return int((part.rows.is_ok & (part.rows.latency > sla_s)).sum())


def metrics_table(reports: list[LoadReport], names: list[str], sla_s: float | None = None) -> Grid:
    """The metric table of origin 2, a column a load."""
    columns = [report.metrics(sla_s) for report in reports]
    rows = [[line[0][0], *(value for _, value in line)] for line in zip(*columns, strict=True)]
    place = next(number for number, row in enumerate(rows) if row[0] == "Failed Requests") + 1
    rows[place:place] = _error_rows(reports)
    return Grid(["Metric", *names], rows)


def _error_rows(reports: list[LoadReport]) -> list[list[str]]:
    """A row for each error class that any of the loads has."""
    errors = [report.whole.figures.errors for report in reports]
    classes = sorted({kind for each in errors for kind in each})
    return [[f"  {kind}", *(str(each.get(kind, 0)) for each in errors)] for kind in classes]


def load_folders(directory: Path) -> list[Path]:
    """Folders of loads below a folder."""
    marks = (STATE_FILE, aiperf_files.RECORDS_FILE, upstream_files.CLIENTS)
    return sorted(
        Path(place)
        for place, _, names in os.walk(directory)
        if any(fnmatch(name, mark) for name in names for mark in marks)
    )


def suite_of(load: Path) -> Path | None:
    """The folder with the results of a load's suite, below that of its run; None: it is of no suite."""
    return next((parent for parent in load.parents if (parent / TIMELINE_FILE).exists()), None)


def read_results(directory: Path) -> list[LoadReport]:
    """All loads below a folder, in the order of their paths.

    Raises:
        LoadError: there is none, or what is there cannot be read.
    """
    if not directory.is_dir():
        raise LoadError(f"'{directory}' is not a folder")
    folders = load_folders(directory)
    if not folders:
        raise LoadError(
            f"no load below '{directory}': expected {STATE_FILE} and requests.jsonl of this library, "
            f"{aiperf_files.RECORDS_FILE} of aiperf, or {upstream_files.CLIENTS} of upstream's tests"
        )
    return [read_load(folder) for folder in folders]


def read_load(path: Path) -> LoadReport:
    """The load in a folder.

    Raises:
        LoadError: it cannot be read.
    """
    folder = LoadFolder.read(path)
    suite = suite_of(path)
    if not len(folder.table):
        return LoadReport(folder)
    load = whole(folder.table)
    if suite is None:
        if folder.engine == "native":
            return LoadReport(folder)
        log = upstream_files.ScenarioLog.of(path)
        return LoadReport(folder, met_by(load, log.faults), startup_s=log.startup_s)
    events = list(_events(suite / TIMELINE_FILE))
    phases = [
        PhaseMark(event["data"]["phase"], event["monotonic_s"])
        for event in events
        if event["kind"] == EventKind.PHASE and event["test"] == folder.test
    ]
    startups = [
        event["data"]["startup_s"]
        for event in events
        if "startup_s" in event["data"] and event["monotonic_s"] <= load.start_s
    ]
    faults = met_by(load, _faults(suite / FAULTS_FILE, folder))
    return LoadReport(folder, faults, phases, startups[-1] if startups else None, suite.name)


def _events(path: Path) -> Iterator[dict[str, Any]]:
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").splitlines(keepends=True)
    except OSError as error:
        raise LoadError(f"cannot read '{path}': {error.strerror}") from error
    for number, line in enumerate(lines, 1):
        if not line.endswith("\n"):
            continue  # torn: whoever wrote it was killed
        try:
            event = {"data": {}, **json.loads(line)}
            yield {name: event[name] for name in ("kind", "test", "monotonic_s", "data")}
        except (ValueError, TypeError, KeyError) as error:
            raise LoadError(f"'{path}' line {number} is no event: {error!r}") from error


def _faults(path: Path, load: LoadFolder) -> list[FaultWindow]:
    """Those that hit the graph of a load, or of which it is not known."""
    if not path.exists():
        return []
    try:
        return [
            FaultWindow(
                each["label"],
                each["injected_monotonic_s"],
                effective_s,
                each["ended_monotonic_s"],
            )
            for each in json.loads(path.read_text(encoding="utf-8"))
            if (effective_s := _effective_s(each)) and load.may_be_hit_by(each.get("target") or {})
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"'{path}' is not what this library writes: {error!r}") from error


def _effective_s(fault: dict[str, Any]) -> float:
    """When it took effect; files of version 0.1.0 know the end of its proof only. 0: it never did."""
    if "effective_monotonic_s" in fault:
        return fault["effective_monotonic_s"] or 0.0
    return fault["active_monotonic_s"] or 0.0


def failure_table(run: Path, pattern: str, sla_s: float | None) -> tuple[Grid, list[dict[str, Any]]]:
    """The table of origin 3 of a run's loads that have ended and whose names match, and its rows as JSON data.

    Raises:
        LoadError: there is none.
    """
    if not run.is_dir():
        raise LoadError(f"no load has been started in this run ('{run.name}'), so there is no table of failures")
    found = [report for report in read_results(run) if fnmatch(report.folder.name, pattern)]
    rows = [report.scenario(sla_s) for report in found if report.folder.is_complete and len(report.folder.table)]
    if not rows:
        raise LoadError(f"no load that matches '{pattern}' has ended in '{run}'")
    return scenario_table(rows), [asdict(row) for row in rows]


def write_whole(path: Path, text: str) -> None:
    """Write a file in one step: others may read it, or write it at the same time."""
    partial = path.with_name(f"{path.name}.{secrets.token_hex(4)}.part")
    partial.write_text(text, encoding="utf-8")
    partial.replace(path)
