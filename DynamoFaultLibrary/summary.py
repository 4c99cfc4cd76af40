"""What a run came to, in words: the last lines of ``dynamo-fault run``."""

import re
from collections import Counter
from pathlib import Path

from robot.api import ExecutionResult
from robot.errors import DataError
from robot.result import TestCase

from DynamoFaultLibrary.output_xml import first_line, is_marked, verdict_of
from DynamoFaultLibrary.reports.run import Verdict
from DynamoFaultLibrary.words import counted

_FINDINGS = "Known defects are described in docs/findings.md, and in the documentation of their tests."


def summary(output: Path) -> list[str]:
    """The lines for the console, counted in `output`, an output.xml."""
    if not output.exists():
        return [f"There are no results: '{output}' does not exist."]
    try:
        tests = list(ExecutionResult(output).suite.all_tests)
    except DataError:
        return [f"There are no results: '{output}' is torn."]
    by_verdict: dict[Verdict, list[TestCase]] = {verdict: [] for verdict in Verdict}
    for test in tests:
        by_verdict[verdict_of(test)].append(test)
    passed, failed = by_verdict[Verdict.PASSED], by_verdict[Verdict.FAILED]
    defects, others = by_verdict[Verdict.DEFECT], by_verdict[Verdict.SKIPPED]
    fixed = [test for test in passed if is_marked(test)]
    lines = [
        f"{counted(len(tests), 'test')}: {len(passed)} passed, "
        f"{len(others)} {'was' if len(others) == 1 else 'were'} skipped, "
        f"{len(defects)} {'shows a known defect' if len(defects) == 1 else 'show known defects'} of Dynamo, "
        f"{len(failed)} failed."
    ]
    if others:
        reasons = Counter(_reason(test) for test in others)
        lines += ["Skipped:", *(f"  {count} x {reason}" for reason, count in reasons.most_common())]
    if failed:
        lines += ["Failed:", *(f"  {test.full_name}: {first_line(test)}" for test in failed)]
    if fixed:
        lines += [
            f"FIXED? {counted(len(fixed), 'test')} of a known defect passed:",
            *(f"  {_titled(test)}" for test in fixed),
        ]
    if defects or fixed:
        lines.append(_FINDINGS)
    return lines


def _reason(test: TestCase) -> str:
    """Without the graph's name: what this machine lacks is the same for all graphs."""
    return re.sub(r"^graph '[^']*' ", "", first_line(test))


def _titled(test: TestCase) -> str:
    defects = [tag for tag in test.tags if tag.startswith("defect:")]
    return f"{test.full_name} ({', '.join(defects)})" if defects else str(test.full_name)
