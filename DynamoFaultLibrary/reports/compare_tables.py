"""A comparison as text and as JSON data; the tables are those of its page as well."""

import math
from collections import Counter
from collections.abc import Sequence
from statistics import median
from typing import Any

from DynamoFaultLibrary.load.figures import NONE
from DynamoFaultLibrary.reports.compare import OVERALL, Comparison, FigureChange, Judgement, Side
from DynamoFaultLibrary.reports.grid import Grid
from DynamoFaultLibrary.reports.measures import Measure
from DynamoFaultLibrary.reports.noise import LEAST_ON_A_SIDE, LEAST_RUNS
from DynamoFaultLibrary.reports.run import Run, Verdict
from DynamoFaultLibrary.words import counted

MOST_DIFFERENCES = 10
"""That are shown where nothing can be judged."""
_TIME = "%Y-%m-%d %H:%M"


def sides_table(sides: Sequence[Side]) -> Grid:
    """What is compared."""
    rows = []
    for side in sides:
        first, last = min(run.started for run in side.runs), max(run.started for run in side.runs)
        when = f"{first:{_TIME}}" if first == last else f"{first:{_TIME}} to {last:{_TIME}}"
        counts = [sum(run.count(verdict) for run in side.runs) for verdict in _COUNTED]
        verdicts = [str(count) if side.tests else NONE for count in counts]
        rows.append([side.label, str(len(side.runs)), when, *verdicts, str(len(side.loads))])
    return Grid(["", "Runs", "Started", *(verdict.value.capitalize() for verdict in _COUNTED), "Loads"], rows)


_COUNTED = (Verdict.PASSED, Verdict.DEFECT, Verdict.SKIPPED, Verdict.FAILED)


def tests_table(comparison: Comparison) -> Grid:
    """Tests whose verdict changed."""
    header = ["Test", "", comparison.one.label, comparison.other.label]
    rows = [
        [change.name, change.kind.value, verdicts(change.before), verdicts(change.after)] for change in comparison.tests
    ]
    return Grid(header, rows)


def verdicts(counts: Counter[Verdict]) -> str:
    """How often a test had which verdict: just that if it was one run."""
    if sum(counts.values()) == 1:
        return next(iter(counts)).value
    return ", ".join(f"{counts[verdict]} {verdict.value}" for verdict in Verdict if counts[verdict]) or NONE


def figures_table(comparison: Comparison, figures: Sequence[FigureChange], with_load: bool = True) -> Grid:
    """Figures on both sides, the median and the spread."""
    header = [
        *(["Load"] if with_load else []),
        "Figure",
        comparison.one.label,
        comparison.other.label,
        "Change",
        "",
        "p",
    ]
    return Grid(header, [[*([each.load] if with_load else []), *_figure(each)] for each in figures])


def _figure(change: FigureChange) -> list[str]:
    cells = [_spread(change.measure, values) for values in (change.before, change.after)]
    share = NONE if change.share is None else f"{change.share:+.1%}"
    chance = NONE if change.p is None else f"{change.p:.2g}"
    return [change.measure.title, *cells, share, change.judgement.value, chance]


def _spread(measure: Measure, values: Sequence[float]) -> str:
    middle = measure.cell(median(values))
    if len(values) == 1:
        return middle
    return f"{middle} ({measure.cell(min(values))} … {measure.cell(max(values))})"


def to_text(sides: Sequence[Side], comparisons: Sequence[Comparison], everything: bool) -> str:
    """For the console. Figures within noise are left out, unless `everything` is wanted."""
    return "\n\n".join([sides_table(sides).to_text(), *(_text(each, everything) for each in comparisons)])


def _text(comparison: Comparison, everything: bool) -> str:
    parts = [f"{comparison.other.label} beside {comparison.one.label}"]
    if comparison.common_tests:
        parts.append(tests_sentence(comparison))
    if comparison.tests:
        parts.append(tests_table(comparison).to_text())
        reasons = [f"\n  {change.name}: {change.message}" for change in comparison.tests if change.message]
        parts += [f"Reasons:{''.join(reasons)}"] if reasons else []
    if comparison.figures:
        parts.append(figures_sentence(comparison))
        shown = list(comparison.figures) if everything else noteworthy(comparison)
        parts += [figures_table(comparison, shown).to_text()] if shown else []
    if comparison.lone_loads:
        parts.append(f"{counted(len(comparison.lone_loads), 'load')} on one side only:")
        parts[-1] += "".join(f"\n  {name}" for name in comparison.lone_loads)
    return "\n\n".join(parts)


def tests_sentence(comparison: Comparison) -> str:
    """How many tests are compared, and how many changed."""
    changed = len(comparison.tests)
    return (
        f"{counted(comparison.common_tests, 'test')} in common; "
        f"{counted(changed, 'test')} with another verdict, new or missing."
    )


def figures_sentence(comparison: Comparison) -> str:
    """What was judged, or why it was not."""
    loads = f"{counted(comparison.common_loads, 'load')} in common"
    if not comparison.is_judged:
        counts = " and ".join(counted(len(side.runs), "run") for side in (comparison.one, comparison.other))
        return (
            f"{loads}. {counts} do not tell how much figures vary by themselves, so none is called worse or better: "
            f"that takes {LEAST_RUNS} runs of the same load, {LEAST_ON_A_SIDE} or more on each side. These are the "
            "largest differences."
        )
    worse, better = (len(comparison.with_judgement(each)) for each in (Judgement.WORSE, Judgement.BETTER))
    judged = len(comparison.figures) - len(comparison.with_judgement(Judgement.UNKNOWN))
    return f"{loads}, {counted(judged, 'figure')} judged: {worse} worse and {better} better beyond noise."


def noteworthy(comparison: Comparison) -> list[FigureChange]:
    """Figures beyond noise; without any judgement, those of all loads and the largest differences."""
    if comparison.is_judged:
        return comparison.with_judgement(Judgement.WORSE, Judgement.BETTER)
    overall = [each for each in comparison.figures if each.load == OVERALL]
    others = [each for each in comparison.figures if each.load != OVERALL and _differs(each)]
    return [*overall, *sorted(others, key=_size, reverse=True)[:MOST_DIFFERENCES]]


def _differs(change: FigureChange) -> bool:
    return change.measure.differs(median(change.before), median(change.after), 0.0)


def _size(change: FigureChange) -> float:
    """Of the change, as a ratio."""
    one, other = median(change.before), median(change.after)
    if not (math.isfinite(one) and math.isfinite(other)):
        return math.inf
    return abs(math.log((other + 1e-3) / (one + 1e-3)))


def to_json(sides: Sequence[Side], comparisons: Sequence[Comparison]) -> dict[str, Any]:
    """Everything, for programs; times in seconds."""
    return {
        "sides": [{"label": side.label, "runs": [run_json(run) for run in side.runs]} for side in sides],
        "comparisons": [_json(each) for each in comparisons],
    }


def run_json(run: Run) -> dict[str, Any]:
    """A run without its tests and loads."""
    return {
        "path": str(run.path),
        "started": run.started.isoformat(timespec="seconds"),
        "version": run.version or None,
        "tests": None if run.tests is None else {verdict.name.lower(): run.count(verdict) for verdict in _COUNTED},
        "partial_loads": list(run.partial),
    }


def _json(comparison: Comparison) -> dict[str, Any]:
    return {
        "one": comparison.one.label,
        "other": comparison.other.label,
        "common_tests": comparison.common_tests,
        "common_loads": comparison.common_loads,
        "lone_loads": list(comparison.lone_loads),
        "tests": [
            {
                "name": change.name,
                "change": change.kind.name.lower(),
                "one": {verdict.name.lower(): count for verdict, count in change.before.items()},
                "other": {verdict.name.lower(): count for verdict, count in change.after.items()},
                "message": change.message,
            }
            for change in comparison.tests
        ],
        "figures": [
            {
                "load": change.load,
                "figure": change.measure.name,
                "one": finite(change.before),
                "other": finite(change.after),
                "change": change.share,
                "judgement": change.judgement.name.lower(),
                "p": change.p,
            }
            for change in comparison.figures
        ],
    }


def finite(values: Sequence[float]) -> list[float | None]:
    """JSON has no infinity: what was not reached is null."""
    return [value if math.isfinite(value) else None for value in values]
