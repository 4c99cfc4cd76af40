"""A run as comparisons and trends see it: the verdicts of its tests and the figures of its loads."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path


class Verdict(StrEnum):
    """What came of a test."""

    PASSED = "passed"
    DEFECT = "known defect"
    """It failed, as the tag of a known defect says."""
    SKIPPED = "skipped"
    FAILED = "failed"
    MISSING = "missing"
    """A run lacks it."""


def results_folder(output: Path) -> Path:
    """Where a run's results go: the output directory itself if it is called ``results``, else one in it."""
    return output if output.name == "results" else output / "results"


@dataclass(frozen=True)
class Ruling:
    """What came of a test, and the first line of its message."""

    verdict: Verdict
    message: str = ""


@dataclass(frozen=True)
class Run:
    """A run. Figures are named as in `figures.MEASURES`; infinite: not reached; missing: not known."""

    path: Path
    """Its folder, or its output.xml."""
    started: datetime
    """Local time."""
    version: str = ""
    """Of Dynamo; empty: not known."""
    tests: Mapping[str, Ruling] | None = None
    """By full name; None: without tests."""
    loads: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """By test and name."""
    partial: tuple[str, ...] = ()
    """Loads that did not come to their end."""

    def ruling(self, test: str) -> Ruling:
        """What came of a test."""
        return (self.tests or {}).get(test, Ruling(Verdict.MISSING))

    def count(self, verdict: Verdict) -> int:
        """Tests with a verdict."""
        return sum(test.verdict is verdict for test in (self.tests or {}).values())
