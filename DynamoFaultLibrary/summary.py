"""What a run came to, in words: the last lines of ``dynamo-fault run``."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from robot.api import ExecutionResult
from robot.errors import DataError
from robot.result import TestCase

KNOWN_DEFECT = "robot:skip-on-failure"
_EXCUSED = "Failed test skipped using "
"""How Robot's message of a failed test begins that a tag or option has turned into a skipped one."""
_WIDTH = 160
_FINDINGS = "Known defects are described in docs/findings.md, and in the documentation of their tests."


def summary(output: Path) -> list[str]:
    """The lines for the console, counted in `output`, an output.xml."""
    if not output.exists():
        return [f"There are no results: '{output}' does not exist."]
    try:
        tests = list(ExecutionResult(output).suite.all_tests)
    except DataError:
        return [f"There are no results: '{output}' is torn."]
    skipped = [test for test in tests if test.skipped]
    defects = [test for test in skipped if _is_marked(test) and test.message.startswith(_EXCUSED)]
    others = [test for test in skipped if test not in defects]
    failed = [test for test in tests if test.failed]
    fixed = [test for test in tests if test.passed and _is_marked(test)]
    lines = [
        f"{_count(tests, 'test')}: {sum(test.passed for test in tests)} passed, "
        f"{len(others)} {'was' if len(others) == 1 else 'were'} skipped, "
        f"{len(defects)} {'shows a known defect' if len(defects) == 1 else 'show known defects'} of Dynamo, "
        f"{len(failed)} failed."
    ]
    if others:
        reasons = Counter(_reason(test) for test in others)
        lines += ["Skipped:", *(f"  {count} x {reason}" for reason, count in reasons.most_common())]
    if failed:
        lines += ["Failed:", *(f"  {test.full_name}: {_first_line(test)}" for test in failed)]
    if fixed:
        lines += [
            f"FIXED? {_count(fixed, 'test')} of a known defect passed:",
            *(f"  {_titled(test)}" for test in fixed),
        ]
    if defects or fixed:
        lines.append(_FINDINGS)
    return lines


def _is_marked(test: TestCase) -> bool:
    return KNOWN_DEFECT in test.tags


def _count(tests: Sequence[TestCase], noun: str) -> str:
    return f"{len(tests)} {noun}{'' if len(tests) == 1 else 's'}"


def _first_line(test: TestCase) -> str:
    """A line that announces another one, such as `Parent suite teardown failed:`, comes with that."""
    lines = [line for line in test.message.splitlines() if line.strip()] or ["no message"]
    line = " ".join(lines[:2]) if lines[0].endswith(":") else lines[0]
    return line if len(line) <= _WIDTH else f"{line[: _WIDTH - 3]}..."


def _reason(test: TestCase) -> str:
    """Without the graph's name: what this machine lacks is the same for all graphs."""
    return re.sub(r"^graph '[^']*' ", "", _first_line(test))


def _titled(test: TestCase) -> str:
    defects = [tag for tag in test.tags if tag.startswith("defect:")]
    return f"{test.full_name} ({', '.join(defects)})" if defects else str(test.full_name)
