"""The figures of a load that are compared from run to run, and which way each of them is better."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from DynamoFaultLibrary.load.figures import Unit, rate, seconds
from DynamoFaultLibrary.load.recovery import Aftermath
from DynamoFaultLibrary.load.statistics import Distribution, Figures
from DynamoFaultLibrary.reports.results import LoadReport

_LEAST_S = 0.001
"""Times that differ by less are alike, whatever their ratio."""
_OFFSET_S = 1e-4
"""Added to times before their logarithm is taken: some are 0."""
_OFFSET_COUNT = 0.375
"""Anscombe's, before the square root of a count is taken."""
_LEAST_NOISE = 0.01
"""Of times and rates, as a share: no two runs on a real machine are more alike."""
_POISSON = 0.25
"""The variance of the square root of a count of independent events."""


@dataclass(frozen=True)
class Measure:
    """A figure of a load."""

    name: str
    """On the command line and in JSON."""
    title: str
    unit: Unit
    value: Callable[["_Seen"], float | None]
    """None: not known; infinite: not reached."""
    more_is_better: bool = False

    def scaled(self, value: float) -> float:
        """On a scale on which noise does not depend on the size: noise of times and rates is a share of them."""
        if self.unit is Unit.COUNT:
            return math.sqrt(value + _OFFSET_COUNT)
        return math.log(value + (_OFFSET_S if self.unit is Unit.SECONDS else 1e-9))

    @property
    def least_variance(self) -> float:
        """On that scale, of a run."""
        return _POISSON if self.unit is Unit.COUNT else _LEAST_NOISE**2

    def combined(self, values: Sequence[float]) -> float:
        """Of several loads: the sum of counts, the geometric mean of times and rates."""
        if self.unit is Unit.COUNT:
            return float(sum(values))
        return max(0.0, math.exp(float(np.mean([self.scaled(value) for value in values]))) - self._offset)

    @property
    def _offset(self) -> float:
        return _OFFSET_S if self.unit is Unit.SECONDS else 0.0

    def differs(self, one: float, other: float, margin: float) -> bool:
        """Whether two values differ by a share that matters."""
        least = _LEAST_S if self.unit is Unit.SECONDS else 1.0 if self.unit is Unit.COUNT else 0.0
        return abs(other - one) >= max(least, margin * abs(one)) and other != one

    def is_worse(self, one: float, other: float) -> bool:
        """Whether the other value is the worse one."""
        return other < one if self.more_is_better else other > one

    def cell(self, value: float) -> str:
        """For tables."""
        if math.isinf(value):
            return "not reached"
        if self.unit is Unit.COUNT:
            return f"{value:g}"
        return rate(value) if self.unit is Unit.RATE else seconds(value)


@dataclass(frozen=True)
class _Seen:
    """What there is to say of a load: of all of it, and of the time after the last fault, as everywhere."""

    figures: Figures
    after: Aftermath | None
    startup_s: float | None


def _of(name: str, rank: str) -> Callable[[_Seen], float | None]:
    def value(seen: _Seen) -> float | None:
        spread: Distribution | None = getattr(seen.figures, name)
        return None if spread is None else float(getattr(spread, rank))

    return value


def _after(tell: Callable[[Aftermath], float | None]) -> Callable[[_Seen], float | None]:
    def value(seen: _Seen) -> float | None:
        known = seen.after is not None and seen.after.ended and not seen.after.began_after
        return tell(seen.after) if seen.after is not None and known else None

    return value


def _full(after: Aftermath) -> float | None:
    if after.full.seconds is not None:
        return after.full.seconds
    return math.inf if after.full.fell_short else None


MEASURES = (
    Measure("p50", "Latency p50", Unit.SECONDS, _of("latency", "p50")),
    Measure("p99", "Latency p99", Unit.SECONDS, _of("latency", "p99")),
    Measure("ttft-p50", "Time to first token p50", Unit.SECONDS, _of("time_to_first_token", "p50")),
    Measure("ttft-p99", "Time to first token p99", Unit.SECONDS, _of("time_to_first_token", "p99")),
    Measure("itl-p50", "Inter-token latency p50", Unit.SECONDS, _of("inter_token_latency", "p50")),
    Measure("itl-p99", "Inter-token latency p99", Unit.SECONDS, _of("inter_token_latency", "p99")),
    Measure("throughput", "Requests/s", Unit.RATE, lambda seen: seen.figures.throughput, more_is_better=True),
    Measure("tokens", "Tokens/s", Unit.RATE, lambda seen: seen.figures.token_throughput, more_is_better=True),
    Measure("failed", "Failed", Unit.COUNT, lambda seen: seen.figures.failed),
    Measure("retries", "Retries", Unit.COUNT, lambda seen: seen.figures.retries),
    Measure("lost", "Lost requests", Unit.COUNT, _after(lambda a: a.lost)),
    Measure(
        "recovery", "Recovery time", Unit.SECONDS, _after(lambda a: math.inf if a.recovery_s is None else a.recovery_s)
    ),
    Measure("full-recovery", "Full recovery", Unit.SECONDS, _after(_full)),
    Measure("outage", "Longest outage", Unit.SECONDS, _after(lambda a: a.longest_outage_s)),
    Measure("pause", "Longest pause in a stream", Unit.SECONDS, lambda seen: seen.figures.longest_gap),
    Measure("startup", "Startup", Unit.SECONDS, lambda seen: seen.startup_s),
)
JUDGED = ("p50", "p99", "ttft-p99", "throughput", "failed", "lost", "recovery", "full-recovery", "outage")
"""What is judged unless others are asked for: the more figures, the larger a difference must be."""
BY_NAME = {measure.name: measure for measure in MEASURES}


def measure(report: LoadReport) -> dict[str, float]:
    """All figures that a load has."""
    seen = _Seen(report.whole.figures, report.aftermath, report.startup_s)
    found = {each.name: each.value(seen) for each in MEASURES}
    return {name: float(value) for name, value in found.items() if value is not None}
