"""Runs of several sides (versions, commits, days) side by side: verdicts that changed, figures beyond noise."""

import math
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from statistics import median

from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.reports.measures import JUDGED, MEASURES, Measure
from DynamoFaultLibrary.reports.noise import Pair, are_enough, fisher, p_values
from DynamoFaultLibrary.reports.run import Run, Verdict

OVERALL = "all loads"
_MORE_OFTEN = 0.05
"""Chance of a difference in how often a test fails that is taken for none."""


@dataclass(frozen=True)
class Side:
    """Runs of the same thing; repeats, if there are several."""

    label: str
    runs: Sequence[Run]

    def verdicts(self, test: str) -> Counter[Verdict]:
        """How often it had which verdict."""
        return Counter(run.ruling(test).verdict for run in self.runs if run.tests is not None)

    def message(self, test: str, verdict: Verdict) -> str:
        """Why a test had it, in the first run in which it had."""
        found = (run.ruling(test) for run in self.runs if run.tests is not None)
        return next((tested.message for tested in found if tested.verdict is verdict), "")

    @property
    def tests(self) -> list[str]:
        """Names of the tests of all its runs."""
        return list(dict.fromkeys(name for run in self.runs for name in run.tests or {}))

    @property
    def loads(self) -> list[str]:
        """Names of the loads of all its runs."""
        return list(dict.fromkeys(name for run in self.runs for name in run.loads))

    def met_fault(self, load: str) -> bool:
        """Whether a load met a fault: it is noisier then."""
        return bool(self.values(load, "outage"))

    def values(self, load: str, measure: str) -> list[float]:
        """A figure of a load, in each run that has it."""
        return [run.loads[load][measure] for run in self.runs if measure in run.loads.get(load, {})]


class Kind(StrEnum):
    """How a test's verdict changed."""

    FAILS = "newly failed"
    FAILS_MORE = "fails more often"
    FIXED = "fixed"
    FAILS_LESS = "fails less often"
    DEFECT = "shows a known defect"
    DEFECT_GONE = "known defect is gone"
    SKIPPED = "newly skipped"
    RUNS = "no longer skipped"
    MISSING = "missing"
    NEW = "new"


@dataclass(frozen=True)
class VerdictChange:
    """A test whose verdict changed, and the reason, if it did not pass."""

    name: str
    kind: Kind
    before: Counter[Verdict]
    after: Counter[Verdict]
    message: str


class Judgement(StrEnum):
    """What a difference means."""

    WORSE = "worse"
    BETTER = "better"
    ALIKE = "within noise"
    UNKNOWN = "not judged"
    """Too few repeats to know the noise."""


@dataclass(frozen=True)
class FigureChange:
    """A figure of a load, or of `OVERALL`, on two sides. `p`: see noise.py; None: not judged, or judged by counts."""

    load: str
    measure: Measure
    before: Sequence[float]
    after: Sequence[float]
    judgement: Judgement = Judgement.UNKNOWN
    p: float | None = None

    @property
    def share(self) -> float | None:
        """Change of the median, as a share; None where there is none."""
        one, other = median(self.before), median(self.after)
        return (other - one) / one if one and math.isfinite(one) and math.isfinite(other) else None


@dataclass(frozen=True)
class Comparison:
    """A side beside the first one."""

    one: Side
    other: Side
    tests: Sequence[VerdictChange]
    figures: Sequence[FigureChange]
    common_tests: int
    common_loads: int
    lone_loads: Sequence[str]
    """Loads that only one of the sides has."""

    @property
    def is_judged(self) -> bool:
        """Whether there were repeats enough for a figure at least."""
        return any(figure.judgement is not Judgement.UNKNOWN for figure in self.figures)

    def with_judgement(self, *wanted: Judgement) -> list[FigureChange]:
        """Figures that were judged so, those of all loads first."""
        found = (figure for figure in self.figures if figure.judgement in wanted)
        return sorted(found, key=lambda figure: figure.load != OVERALL)


def compare(
    sides: Sequence[Side], judged: Collection[str] = JUDGED, alpha: float = 0.01, margin: float = 0.1
) -> list[Comparison]:
    """Each side beside the first one.

    Of the figures that are `judged` one is worse or better if noise explains its difference with a chance of at most
    `alpha`, for all of them together, and if it differs by the share `margin` at least.

    Raises:
        FaultLibraryError: two sides have neither a test nor a load in common.
    """
    first = sides[0]
    for other in sides[1:]:
        _check_common(first, other)
    drafts = [(other, draft) for other in sides[1:] for draft in _drafts(first, other)]
    chances = p_values(
        [_pair(draft, first.met_fault(draft.load)) if draft.measure.name in judged else _NO_PAIR for _, draft in drafts]
    )
    figures = [
        (other, _judged(draft, p, alpha, margin) if draft.measure.name in judged else draft)
        for (other, draft), p in zip(drafts, chances, strict=True)
    ]
    return [_comparison(first, side, [change for other, change in figures if other is side]) for side in sides[1:]]


def _comparison(one: Side, other: Side, figures: Sequence[FigureChange]) -> Comparison:
    names = dict.fromkeys([*one.tests, *other.tests])
    changes = [_test_change(name, one, other) for name in names] if one.tests and other.tests else []
    return Comparison(
        one,
        other,
        sorted(filter(None, changes), key=lambda change: list(Kind).index(change.kind)),
        figures,
        len(set(one.tests) & set(other.tests)),
        len(set(one.loads) & set(other.loads)),
        sorted(set(one.loads) ^ set(other.loads)),
    )


def _check_common(one: Side, other: Side) -> None:
    if not set(one.tests) & set(other.tests) and not set(one.loads) & set(other.loads):
        raise FaultLibraryError(
            f"'{one.label}' and '{other.label}' have no test and no load in common: the one has {_example(one)}, the "
            f"other has {_example(other)}; they must come from the same suites, started from the same folder"
        )


def _example(side: Side) -> str:
    return f"'{next(iter([*side.tests, *side.loads]), 'nothing')}'"


def _test_change(name: str, one: Side, other: Side) -> VerdictChange | None:
    before, after = one.verdicts(name), other.verdicts(name)
    kind = _kind(before, after)
    if kind is None:
        return None
    worst = next((each for each in (Verdict.FAILED, Verdict.DEFECT, Verdict.SKIPPED) if after[each]), Verdict.PASSED)
    return VerdictChange(name, kind, before, after, other.message(name, worst))


def _kind(before: Mapping[Verdict, int], after: Mapping[Verdict, int]) -> Kind | None:
    def came(verdict: Verdict) -> bool:
        return bool(after[verdict] and not before[verdict])

    def went(verdict: Verdict) -> bool:
        return bool(before[verdict] and not after[verdict])

    runs_before, runs_after = (sum(each.values()) - each[Verdict.MISSING] for each in (before, after))
    rules = (
        (came(Verdict.FAILED), Kind.FAILS),
        (not runs_before, Kind.NEW),
        (not runs_after, Kind.MISSING),
        (came(Verdict.DEFECT), Kind.DEFECT),
        (came(Verdict.SKIPPED), Kind.SKIPPED),
        (came(Verdict.MISSING), Kind.MISSING),
        (went(Verdict.FAILED), Kind.FIXED),
        (went(Verdict.DEFECT), Kind.DEFECT_GONE),
        (went(Verdict.SKIPPED), Kind.RUNS),
    )
    found = next((kind for holds, kind in rules if holds), None)
    if found is not None or not before[Verdict.FAILED]:
        return found
    if fisher(before[Verdict.FAILED], runs_before, after[Verdict.FAILED], runs_after) > _MORE_OFTEN:
        return None
    more = after[Verdict.FAILED] / runs_after > before[Verdict.FAILED] / runs_before
    return Kind.FAILS_MORE if more else Kind.FAILS_LESS


_NO_PAIR = Pair("", [], [], 0.0)


def _drafts(one: Side, other: Side) -> Iterator[FigureChange]:
    """Figures that both sides have, of all loads together and of each load, before they are judged."""
    common = [load for load in one.loads if load in set(other.loads)]
    for measure in MEASURES:
        everywhere = [load for load in common if _is_everywhere(load, measure, one, other)]
        if len(everywhere) > 1:
            before, after = (_overall(side, everywhere, measure) for side in (one, other))
            yield FigureChange(OVERALL, measure, before, after)
    for load in common:
        for measure in MEASURES:
            before, after = one.values(load, measure.name), other.values(load, measure.name)
            if before and after:
                yield FigureChange(load, measure, before, after)


def _is_everywhere(load: str, measure: Measure, *sides: Side) -> bool:
    values = [run.loads.get(load, {}).get(measure.name) for side in sides for run in side.runs]
    return all(value is not None and math.isfinite(value) for value in values)


def _overall(side: Side, loads: Sequence[str], measure: Measure) -> list[float]:
    return [measure.combined([run.loads[load][measure.name] for load in loads]) for run in side.runs]


def _pair(draft: FigureChange, with_fault: bool) -> Pair:
    """Samples to test; empty ones where a figure was not reached, which is judged by how often that was."""
    if not all(map(math.isfinite, [*draft.before, *draft.after])):
        return _NO_PAIR
    measure, kind = draft.measure, "a load with a fault" if with_fault else "a load"
    group = f"{measure.name} of {OVERALL if draft.load == OVERALL else kind}"
    one, other = ([measure.scaled(value) for value in values] for values in (draft.before, draft.after))
    return Pair(group, one, other, measure.least_variance)


def _judged(draft: FigureChange, p: float | None, alpha: float, margin: float) -> FigureChange:
    measure, before, after = draft.measure, draft.before, draft.after
    one, other = median(before), median(after)
    missed, missed_after = (sum(map(math.isinf, values)) for values in (before, after))
    if missed or missed_after:
        p = fisher(missed, len(before), missed_after, len(after)) if are_enough(len(before), len(after)) else None
        one, other = missed / len(before), missed_after / len(after)
    if p is None:
        return draft
    matters = one != other if missed or missed_after else measure.differs(one, other, margin)
    if p > alpha or not matters:
        return replace(draft, judgement=Judgement.ALIKE, p=p)
    is_worse = other > one if missed or missed_after else measure.is_worse(one, other)
    return replace(draft, judgement=Judgement.WORSE if is_worse else Judgement.BETTER, p=p)
