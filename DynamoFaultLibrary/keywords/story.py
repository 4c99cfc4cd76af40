"""What a person finds at the end of each test in log.html: the timeline, the evidence, links to the raw files."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from html import escape
from pathlib import Path
from typing import Any

import orjson
from robot.api import logger

from DynamoFaultLibrary.errors import DeploymentError, LoadError
from DynamoFaultLibrary.faults.injector import ActiveFault
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.component import link
from DynamoFaultLibrary.keywords.context import Context, window_of
from DynamoFaultLibrary.keywords.serving import remember_servers
from DynamoFaultLibrary.load.client import Load
from DynamoFaultLibrary.load.folder import safe_name
from DynamoFaultLibrary.load.records import Record, iterate_records, read_records
from DynamoFaultLibrary.load.recovery import aftermaths
from DynamoFaultLibrary.load.windows import FaultWindow, met_by, whole
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.reports.load_picture import draw_load
from DynamoFaultLibrary.reports.picture import MOST_BARS, draw, time_axis
from DynamoFaultLibrary.reports.results import FAULTS_FILE
from DynamoFaultLibrary.reports.svg import TimeAxis
from DynamoFaultLibrary.reports.tables import cut, faults_table, figures_table


def tell_test(context: Context, test: str, began_s: float) -> str:
    """The story of one test as HTML; empty when this library did nothing in it."""
    events = context.timeline.of_test(test)
    if not events:
        return ""
    known = context.known_faults()
    faults = [fault for fault in known if fault.recovered_s is None or fault.recovered_s >= began_s]
    windows = [window_of(fault) for fault in faults]
    records = [record for record in _few_records(context) if record.ended_monotonic_s >= events[0].monotonic_s]
    axis = time_axis(events, records, _spans(context))
    parts = [
        draw(events, records, windows, axis),
        *(part for load in context.loads.values() for part in _load(context, load, _hitting(load, known), axis)),
        *map(_fault, faults),
        _links(context, test),
    ]
    return "<div>" + "".join(f"<div>{part}</div>" for part in parts if part) + "</div>"


def _hitting(load: Load, faults: Sequence[ActiveFault]) -> list[FaultWindow]:
    """Those that hit the graph of a load: on another one nothing happened to it."""
    return [window_of(fault) for fault in faults if load.folder.may_be_hit_by(fault.entry.target)]


def _spans(context: Context) -> list[tuple[float, float]]:
    """When each load began and ended, so that all pictures of a test have one time axis."""
    found = []
    for load in context.loads.values():
        with suppress(LoadError):
            table = load.table()
            found.append((float(table.started.min()), float(table.ended[-1])))
    return found


def save_log_slices(context: Context, test: str) -> list[Path]:
    """Copy what each log has gained in this test into the test's own folder."""
    saved = []
    test_place = _slices_of(context, test)
    several = len(context.log_starts) > 1
    for graph, log in [(graph, log) for graph, starts in context.log_starts.items() for log in starts]:
        if not (data := _gained(context, log)):
            continue
        file = test_place / (graph if several else "") / f"{log.replica}.log"
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(data)
        except OSError as error:
            logger.warn(f"the logs of this test cannot be copied to '{file.parent}': {error.strerror}")
            break
        saved.append(file)
    return saved


def _gained(context: Context, log: Log) -> bytes:
    """What a log has gained in this test, as far as it can be told."""
    with suppress(DeploymentError):
        log.flush()
    with suppress(DeploymentError):
        return log.since(context.log_start(log))
    return b""


def _slices_of(context: Context, test: str) -> Path:
    return context.results_directory() / safe_name(test.removeprefix(f"{robot_context.suite_name()}."))


def save_faults(context: Context) -> None:
    """Write what is known of each fault so far to ``faults.json`` in the suite's results."""
    if not context.faults:
        return
    path = context.results_directory() / FAULTS_FILE
    known = [_fault_to_json(fault) for fault in context.faults]
    try:
        path.write_bytes(orjson.dumps(known, option=orjson.OPT_INDENT_2))
    except OSError as error:  # the ledger has them, too
        logger.warn(f"'{path}' cannot be written: {error.strerror}")


def _fault_to_json(fault: ActiveFault) -> dict[str, Any]:
    """A fault's ledger entry, and its times on the clock of the records."""
    return {
        **fault.entry.to_json(),
        "test": fault.scope,
        "label": fault.label,
        "injected_monotonic_s": fault.injected_s,
        "effective_monotonic_s": fault.effective_s if fault.active_s else 0.0,
        "active_monotonic_s": fault.active_s,
        "ended_monotonic_s": window_of(fault).ended_s,
    }


def _few_records(context: Context) -> list[Record]:
    """Records to draw a bar for: of single requests, and of loads that are small enough."""
    paths = [load.sender.records for load in context.loads.values()]
    paths += {request.sender.records for request in context.requests}
    found: list[Record] = []
    for path in paths:
        try:
            if path.parent.name == "requests":
                found += read_records(path)  # those of earlier tests too: the caller knows which are its own
                continue
            records = list(itertools.islice(iterate_records(path), MOST_BARS + 1))
        except LoadError:
            continue  # a load that has not finished a request yet has nothing to show, nor has one sent by aiperf
        found += records if len(records) <= MOST_BARS else []
    return found


def _load(context: Context, load: Load, faults: Sequence[FaultWindow], axis: TimeAxis | None) -> list[str]:
    """Picture of a load over time, what became of it after each of `faults`, figures by part and by replica.

    What other tests did to its graph is told by theirs, but counts for the service level: as in getters.
    """
    try:
        table = load.table()
    except LoadError:
        return []
    met = met_by(whole(table), faults)
    title = f"load '{load.plan.name}': {load.plan.describe()}"
    served = remember_servers(context, load)
    every = met_by(whole(table), context.faults_on(load.plan.name))
    afters = aftermaths(table, every, load.plan.ramp_s, load.now_s, load.plan.think_time_s)
    afters = [after for after in afters if after.fault in met]
    parts = cut(table, met[-1] if met else None, context.phases, served)
    grid = figures_table({name: part.figures for name, part in parts.items()})
    facts = faults_table(afters).to_html() if afters else ""
    return [draw_load(table, afters, context.phases, title, served, axis), facts + grid.to_html()]


def _fault(fault: ActiveFault) -> str:
    state = fault.entry.state.value
    lines = "".join(f"<li>{escape(line)}</li>" for line in fault.entry.evidence)
    detail = f": {escape(fault.entry.detail)}" if fault.entry.detail else ""
    return f"<b>{escape(str(fault))}</b> ({state}{detail}), evidence:<ul style='margin:2px'>{lines}</ul>"


def _links(context: Context, test: str) -> str:
    results = context.results_directory()
    slices = save_log_slices(context, test)
    files: Sequence[Path] = [
        *(load.sender.records for load in context.loads.values()),
        *dict.fromkeys(request.sender.records for request in context.requests),
        results / "timeline.jsonl",
    ]
    links = [link(path, str(path.relative_to(_slices_of(context, test)))) for path in slices]
    return "Logs of this test and raw files: " + " · ".join([*links, *(link(path, _label(path)) for path in files)])


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.suffix == ".jsonl" and path.name != "timeline.jsonl" else path.name
