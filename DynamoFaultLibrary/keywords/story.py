"""What a person finds at the end of each test in log.html: the timeline, the evidence, links to the raw files."""

from collections.abc import Sequence
from html import escape
from pathlib import Path

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.faults.injector import ActiveFault
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.component import link
from DynamoFaultLibrary.keywords.context import Context, safe_name
from DynamoFaultLibrary.load.records import Record, read_records
from DynamoFaultLibrary.reports.picture import FaultWindow, draw


def tell_test(context: Context, test: str, began_s: float) -> str:
    """The story of one test as HTML; empty when this library did nothing in it."""
    events = context.timeline.of_test(test)
    if not events:
        return ""
    faults = [fault for fault in context.faults if fault.active_s >= began_s]
    records = [record for record in _records(context) if record.ended_monotonic_s >= events[0].monotonic_s]
    windows = [FaultWindow(str(fault), fault.active_s, fault.recovered_s) for fault in faults]
    parts = [draw(events, records, windows), *map(_fault, faults), _links(context, test)]
    return "<div>" + "".join(f"<div>{part}</div>" for part in parts if part) + "</div>"


def save_log_slices(context: Context, test: str) -> list[Path]:
    """Copy what each log has gained in this test into the test's own folder."""
    saved = []
    place = context.results_directory() / safe_name(test.removeprefix(f"{robot_context.suite_name()}."))
    for log, start in context.log_starts.items():
        try:
            data = log.read_bytes()[start:]
        except OSError:
            continue
        if data:
            place.mkdir(parents=True, exist_ok=True)
            (place / log.name).write_bytes(data)
            saved.append(place / log.name)
    return saved


def _records(context: Context) -> list[Record]:
    paths = [load.sender.records for load in context.loads.values()]
    paths += {request.sender.records for request in context.requests}
    found: list[Record] = []
    for path in paths:
        try:
            found += read_records(path)
        except LoadError:
            continue  # a load that has not finished a request yet has nothing to show
    return found


def _fault(fault: ActiveFault) -> str:
    state = fault.entry.state.value
    lines = "".join(f"<li>{escape(line)}</li>" for line in fault.entry.evidence)
    detail = f": {escape(fault.entry.detail)}" if fault.entry.detail else ""
    return f"<b>{escape(str(fault))}</b> ({state}{detail}), evidence:<ul style='margin:2px'>{lines}</ul>"


def _links(context: Context, test: str) -> str:
    results = context.results_directory()
    files: Sequence[Path] = [
        *save_log_slices(context, test),
        *(load.sender.records for load in context.loads.values()),
        *dict.fromkeys(request.sender.records for request in context.requests),
        results / "timeline.jsonl",
    ]
    return "Logs of this test and raw files: " + " · ".join(link(path, _label(path)) for path in files)


def _label(path: Path) -> str:
    return f"{path.parent.name}/{path.name}" if path.suffix == ".jsonl" and path.name != "timeline.jsonl" else path.name
