"""Is a difference between two sets of repeats more than noise? For few repeats, and for many figures at a time.

Each pair of samples is judged by Student's t test with pooled variance. Of few repeats the variance is hardly known, so
it is moderated by those of the other pairs of its group: Smyth's empirical Bayes estimate ("Linear models and empirical
Bayes methods", Statistical Applications in Genetics and Molecular Biology 3(1), 2004). A pair that is much noisier than
its group keeps its own. The p-values of all pairs are then corrected by Holm's method, so that the chance of even one
false alarm in a whole comparison is at most what was asked for.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from DynamoFaultLibrary.load.table import Floats

LEAST_RUNS, LEAST_ON_A_SIDE = 8, 3
"""Repeats of both sides together, and of each: that noise of whatever shape parts the two sides completely has a chance
of 1 in 28 with 3 and 5 repeats, of 1 in 35 with 4 and 4, of 1 in 126 with 5 and 5."""
_LEAST_GROUP = 4
"""Pairs that it takes to tell how noisy their kind is."""
_MUCH_NOISIER = 3.0
"""Times the variance that is usual in the group."""
_OF_ANOTHER_KIND = 10.0
"""Times the median variance of the group: hardly one in 10,000 is above it by chance."""


@dataclass(frozen=True)
class Pair:
    """Two samples, on a scale on which their noise does not depend on their size."""

    group: str
    """Pairs of the same group have noise of the same kind."""
    one: Sequence[float]
    other: Sequence[float]
    least_variance: float
    """Of a repeat: less than this nobody believes, however alike the few repeats are."""

    @property
    def freedom(self) -> int:
        """Degrees of freedom of its variance."""
        return len(self.one) + len(self.other) - 2

    @property
    def is_judged(self) -> bool:
        """Whether it has repeats enough."""
        return are_enough(len(self.one), len(self.other))

    @property
    def variance(self) -> float:
        """Of a repeat, pooled."""
        squares = sum(float(((np.asarray(each) - np.mean(each)) ** 2).sum()) for each in (self.one, self.other))
        return max(squares / self.freedom, self.least_variance)


def are_enough(one: int, other: int) -> bool:
    """Whether that many repeats can tell a difference from noise."""
    return min(one, other) >= LEAST_ON_A_SIDE and one + other >= LEAST_RUNS


def p_values(pairs: Sequence[Pair]) -> list[float | None]:
    """How likely a difference as large as each is without a cause, corrected for their number; None: not judged."""
    groups: dict[str, list[Pair]] = {}
    for pair in pairs:
        if pair.is_judged:
            groups.setdefault(pair.group, []).append(pair)
    usual = {name: _Usual.of(members) for name, members in groups.items()}
    raw = [_p_value(pair, usual[pair.group]) if pair.is_judged else None for pair in pairs]
    corrected = iter(holm([value for value in raw if value is not None]))
    return [None if value is None else next(corrected) for value in raw]


def holm(values: Sequence[float]) -> list[float]:
    """p-values, corrected for being several."""
    corrected, highest = [1.0] * len(values), 0.0
    for rank, place in enumerate(sorted(range(len(values)), key=lambda number: values[number])):
        highest = max(highest, min(1.0, values[place] * (len(values) - rank)))
        corrected[place] = highest
    return corrected


def fisher(hits: int, of: int, other_hits: int, of_others: int) -> float:
    """How likely shares that differ as much are without a cause: Fisher's exact test, both directions."""
    total, hit = of + of_others, hits + other_hits
    ways = [
        math.comb(of, number) * math.comb(of_others, hit - number)
        for number in range(max(0, hit - of_others), min(of, hit) + 1)
    ]
    seen = math.comb(of, hits) * math.comb(of_others, other_hits)
    return sum(each for each in ways if each <= seen) / math.comb(total, hit)


def _p_value(pair: Pair, usual: "_Usual | None") -> float:
    variance, freedom = pair.variance, float(pair.freedom)
    if usual is not None and variance <= _MUCH_NOISIER * usual.variance:
        variance = (usual.freedom * usual.variance + freedom * variance) / (usual.freedom + freedom)
        freedom += usual.freedom
    error = math.sqrt(variance * (1 / len(pair.one) + 1 / len(pair.other)))
    return student_tails((float(np.mean(pair.other)) - float(np.mean(pair.one))) / error, freedom)


@dataclass(frozen=True)
class _Usual:
    """The variance that is usual in a group, and how many degrees of freedom that knowledge is worth."""

    variance: float
    freedom: float

    @classmethod
    def of(cls, pairs: Sequence[Pair]) -> "_Usual | None":
        """By the moments of the logarithms of the variances; None if that tells nothing."""
        middle = float(np.median([pair.variance for pair in pairs]))
        pairs = [pair for pair in pairs if pair.variance <= _OF_ANOTHER_KIND * middle]
        if len(pairs) < _LEAST_GROUP:
            return None
        halves = [pair.freedom / 2 for pair in pairs]
        logs = [
            math.log(pair.variance) - _digamma(half) + math.log(half) for pair, half in zip(pairs, halves, strict=True)
        ]
        spread = float(np.var(logs, ddof=1)) - float(np.mean([_trigamma(half) for half in halves]))
        most = float(sum(pair.freedom for pair in pairs))
        freedom = min(most, 2 * _inverse_trigamma(spread)) if spread > 0 else most
        return cls(math.exp(float(np.mean(logs)) + _digamma(freedom / 2) - math.log(freedom / 2)), freedom)


def student_tails(t: float, freedom: float) -> float:
    """The chance of a value of Student's distribution that is farther from 0 than `t`.

    In the angle whose tangent is `t` by the root of `freedom`, the density is a power of the cosine.
    """
    nodes, weights = _quadrature()
    first = math.atan(abs(t) / math.sqrt(freedom))
    half = (math.pi / 2 - first) / 2
    area = half * float(weights @ np.cos(first + half * (nodes + 1)) ** (freedom - 1))
    return 2 * area * math.exp(math.lgamma((freedom + 1) / 2) - math.lgamma(freedom / 2)) / math.sqrt(math.pi)


@cache
def _quadrature() -> tuple[Floats, Floats]:
    """Gauss and Legendre's: with so many points 9 digits are right up to 20,000 degrees of freedom."""
    return np.polynomial.legendre.leggauss(200)


def _digamma(x: float) -> float:
    """The derivative of the logarithm of the gamma function (DLMF 5.11)."""
    below = 0.0
    while x < 10:
        below, x = below - 1 / x, x + 1
    return below + math.log(x) - 1 / (2 * x) - 1 / (12 * x**2) + 1 / (120 * x**4) - 1 / (252 * x**6)


def _trigamma(x: float) -> float:
    """The derivative of that."""
    below = 0.0
    while x < 10:
        below, x = below + 1 / x**2, x + 1
    return below + 1 / x + 1 / (2 * x**2) + 1 / (6 * x**3) - 1 / (30 * x**5) + 1 / (42 * x**7)


def _inverse_trigamma(value: float) -> float:
    """It falls from left to right, so halving finds the place."""
    low, high = 1e-8, 1e8
    while high / low > 1 + 1e-9:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if _trigamma(middle) > value else (low, middle)
    return low
