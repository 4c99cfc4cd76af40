"""When the requests of an open-loop load are due."""

import itertools
import math
import random
from collections.abc import Iterator

from DynamoFaultLibrary.load.plan import Arrival


def due_times(rate: float, arrival: Arrival, ramp_s: float, chance: random.Random) -> Iterator[float]:
    """Seconds after the load's start at which requests are due, without end.

    Over the first `ramp_s` the rate grows evenly from 0 to `rate`; requests are spread as `arrival` says with respect
    to the rate of the moment.
    """
    for amount in _amounts(arrival, chance):
        yield _moment_of(amount, rate, ramp_s)


def _amounts(arrival: Arrival, chance: random.Random) -> Iterator[float]:
    """How many requests are expected before each request."""
    if arrival is Arrival.CONSTANT:
        yield from itertools.count()
    else:
        yield from itertools.accumulate(chance.expovariate(1.0) for _ in itertools.repeat(None))


def _moment_of(amount: float, rate: float, ramp_s: float) -> float:
    """When `amount` requests are expected to have been due: the inverse of the integral of the rate."""
    in_ramp = rate * ramp_s / 2
    if amount < in_ramp:
        return math.sqrt(2 * ramp_s * amount / rate)
    return ramp_s + (amount - in_ramp) / rate
