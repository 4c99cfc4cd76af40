"""Finds and reads runs: results folders with an output.xml, with loads, or with both."""

from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path

import orjson

from DynamoFaultLibrary.errors import FaultLibraryError, LoadError
from DynamoFaultLibrary.load.folder import RECORDS_FILE, STATE_FILE
from DynamoFaultLibrary.load.records import complete_lines
from DynamoFaultLibrary.output_xml import OUTPUT_FILE, output_of, read_output
from DynamoFaultLibrary.reports.measures import measure
from DynamoFaultLibrary.reports.results import LoadReport, load_folders, read_load, suite_of
from DynamoFaultLibrary.reports.run import Run

_OF_PABOT = "pabot_results"
"""Where pabot keeps the output.xml of each suite."""


def find_runs(place: Path) -> list[Path]:
    """The runs at a place: itself, or those below it.

    Loads that no test sent are runs of their own if they have the same name, such as repeats of ``dynamo-fault load``;
    else they are one run.

    Raises:
        FaultLibraryError: there is none, or the place cannot be read.
    """
    if place.is_file():
        return [place]
    if not place.is_dir():
        raise FaultLibraryError(f"'{place}' does not exist")
    try:
        outputs = list(_outputs(place))
    except OSError as error:
        raise FaultLibraryError(f"cannot read '{error.filename}': {error.strerror}") from error
    loads = [load for load in load_folders(place) if not any(load.is_relative_to(output) for output in outputs)]
    if not outputs and not loads:
        raise FaultLibraryError(
            f"no run in '{place}': expected {OUTPUT_FILE} of Robot Framework, or loads of this library, of aiperf or "
            "of upstream's tests"
        )
    return sorted([*outputs, *_runs_of(loads, place, is_alone=not outputs)])


def _runs_of(loads: Sequence[Path], place: Path, is_alone: bool) -> list[Path]:
    """What loads without an output.xml are runs of."""
    suites = {load: suite_of(load) for load in loads}
    of_robot = {suite.parent for suite in suites.values() if suite is not None}
    others = [load for load, suite in suites.items() if suite is None]
    names = [_name(load) for load in others]
    is_one = is_alone and not of_robot and len(set(names)) == len(names)
    return [place] if others and is_one else [*of_robot, *others]


def _outputs(place: Path) -> Iterator[Path]:
    """Folders with an output.xml; what lies deeper belongs to them."""
    entries = sorted(place.iterdir())
    if any(entry.name == OUTPUT_FILE for entry in entries):
        yield place
        return
    for entry in entries:
        if entry.is_dir() and not entry.is_symlink() and entry.name != _OF_PABOT and entry.name[0] != ".":
            yield from _outputs(entry)


def _name(load: Path) -> str:
    try:
        return str(orjson.loads((load / STATE_FILE).read_bytes())["name"])
    except (OSError, ValueError, KeyError, TypeError):  # aiperf's, or damaged: who reads it says so
        return str(load)


def check_unlike(places: Sequence[Path]) -> None:
    """See that no run is among them twice.

    Raises:
        FaultLibraryError: one is.
    """
    seen: dict[Path, Path] = {}
    for place in places:
        folder = (place.parent if place.name == OUTPUT_FILE else place).resolve()
        if folder in seen:
            same = "given twice" if seen[folder] == place else f"the same run as '{seen[folder]}'"
            raise FaultLibraryError(f"'{place}' is {same}: a run beside itself shows nothing")
        seen[folder] = place


def read_run(place: Path) -> Run:
    """A run: a folder, or an output.xml, with the loads beside it; other files have verdicts only.

    Raises:
        FaultLibraryError: it cannot be read.
    """
    folder = place.parent if place.name == OUTPUT_FILE else place
    output = output_of(place)
    robot = read_output(output) if output else None
    loads = _loads(folder, output) if folder.is_dir() else []
    reports = [each for each in map(read_load, loads) if len(each.folder.table)]
    if robot is None and not reports:
        raise FaultLibraryError(f"no run in '{place}': no {OUTPUT_FILE}, and no load with a finished request")
    named = _named(folder, reports)
    return Run(
        place,
        (robot and robot.started) or min(filter(None, map(_start, reports)), default=_changed(output or folder)),
        robot.version if robot else "",
        robot.tests if robot else None,
        {name: measure(report) for name, report in named.items()},
        tuple(name for name, report in named.items() if not report.folder.is_complete),
    )


def _loads(folder: Path, output: Path | None) -> list[Path]:
    """Folders of its loads. Results of earlier runs may lie beside them: a log names the folder of its own."""
    found = load_folders(folder)
    runs = {load: suite.parent for load in found if (suite := suite_of(load)) is not None}
    if len(set(runs.values())) < 2 or output is None:
        return found
    text = output.read_bytes()
    own = {run for run in set(runs.values()) if run.name.encode() in text}
    return [load for load in found if load not in runs or runs[load] in own]


def _named(folder: Path, reports: Sequence[LoadReport]) -> dict[str, LoadReport]:
    """Loads by test and name; a number tells those of the same name apart, in the order in which they began."""
    found: dict[str, LoadReport] = {}
    for report in sorted(reports, key=lambda each: float(each.folder.table.started.min())):
        name, number = _title(folder, report), 1
        while (called := name if number == 1 else f"{name} ({number})") in found:
            number += 1
        found[called] = report
    return found


def _title(folder: Path, report: LoadReport) -> str:
    load = report.folder
    if load.test:
        return f"{load.test}: {load.name}"
    if report.suite:
        return f"{report.suite}: {load.name}"
    inside = load.path.relative_to(folder).as_posix()
    return load.name if load.plan else load.engine if inside == "." else inside


def _start(report: LoadReport) -> datetime | None:
    """Local time at which its first request began."""
    load = report.folder
    if load.engine != "native":
        return datetime.fromtimestamp(float(load.table.started.min()) + load.clock_offset_s)
    try:
        text = orjson.loads(next(complete_lines(load.path / RECORDS_FILE)))["started_at"]
        return datetime.fromisoformat(text).astimezone().replace(tzinfo=None)
    except (LoadError, StopIteration, ValueError, KeyError, TypeError):
        return None


def _changed(path: Path) -> datetime:
    return datetime.fromtimestamp(path.stat().st_mtime)
