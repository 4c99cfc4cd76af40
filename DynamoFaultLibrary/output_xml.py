"""Reads the verdicts of tests out of an output.xml."""

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from robot.api import ExecutionResult
from robot.errors import DataError
from robot.result import TestCase, TestSuite

from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.reports.run import Ruling, Verdict

OUTPUT_FILE = "output.xml"
KNOWN_DEFECT = "robot:skip-on-failure"
_EXCUSED = "Failed test skipped using "
"""How Robot's message of a failed test begins that a tag or option has turned into a skipped one."""
_ORIGINAL = "Original failure:"
_WIDTH = 160
_VERSION = "dynamo"
"""Name of the suite metadata that says which Dynamo was tested: ``--metadata Dynamo:1.6.1``."""


@dataclass(frozen=True)
class RobotRun:
    """What an output.xml says of its run."""

    started: datetime | None
    version: str
    """Of Dynamo; empty: it does not say."""
    tests: dict[str, Ruling]


def output_of(place: Path) -> Path | None:
    """The file with the verdicts of a run; None: it has none."""
    output = place / OUTPUT_FILE if place.is_dir() else place
    return output if output.exists() else None


def verdict_of(test: TestCase) -> Verdict:
    """What came of a test; a skipped one has either shown a known defect or not run."""
    if test.passed:
        return Verdict.PASSED
    if test.failed:
        return Verdict.FAILED
    shown = is_marked(test) and test.message.startswith(_EXCUSED)
    return Verdict.DEFECT if shown else Verdict.SKIPPED


def is_marked(test: TestCase) -> bool:
    """Whether a test has the tag of a known defect."""
    return KNOWN_DEFECT in test.tags


def first_line(test: TestCase) -> str:
    """Of its message. A line that announces another one, such as `Parent suite teardown failed:`, comes with that.

    Of a failed test that Robot has turned into a skipped one it is why the test failed.
    """
    _, _, original = test.message.partition(_ORIGINAL) if test.message.startswith(_EXCUSED) else ("", "", "")
    lines = [line for line in (original or test.message).splitlines() if line.strip()] or ["no message"]
    line = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."


def read_output(path: Path) -> RobotRun:
    """Verdicts, start and version; keywords are passed over.

    Raises:
        FaultLibraryError: the file cannot be read, is torn, or is of another tool.
    """
    try:
        suite = ExecutionResult(path, include_keywords=False).suite
    except DataError as error:
        raise FaultLibraryError(f"'{path}' is no output.xml of Robot Framework, or it is cut off") from error
    tests: dict[str, Ruling] = {}
    for test in suite.all_tests:
        name, number = str(test.full_name), 1
        while (called := name if number == 1 else f"{name} ({number})") in tests:
            number += 1
        tests[called] = Ruling(verdict_of(test), "" if test.passed else first_line(test))
    return RobotRun(suite.start_time, " + ".join(sorted(set(_versions(suite)))), tests)


def _versions(suite: TestSuite) -> Iterator[str]:
    yield from (str(value) for name, value in suite.metadata.items() if name.lower() == _VERSION)
    for child in suite.suites:
        yield from _versions(child)
