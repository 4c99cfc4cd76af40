import random
from itertools import islice, pairwise
from statistics import fmean, pstdev

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.load.arrivals import due_times
from DynamoFaultLibrary.load.plan import Arrival

MANY = 4000


def due(count: int, rate: float, arrival: Arrival = Arrival.CONSTANT, ramp: float = 0.0, seed: int = 0) -> list[float]:
    chance = random.Random(seed)  # noqa: S311  # a repeatable schedule, not secrets
    return list(islice(due_times(rate, arrival, ramp, chance), count))


def test_at_a_constant_rate_all_pauses_are_the_same() -> None:
    assert due(5, 4.0) == [0, 0.25, 0.5, 0.75, 1]


def test_at_a_poisson_rate_pauses_are_exponential() -> None:
    times = due(MANY, 20.0, Arrival.POISSON)
    pauses = [later - earlier for earlier, later in pairwise([0.0, *times])]
    assert fmean(pauses) == pytest.approx(1 / 20, rel=0.05)
    assert pstdev(pauses) == pytest.approx(1 / 20, rel=0.1)


def test_a_schedule_is_the_same_for_the_same_seed() -> None:
    assert due(50, 3.0, Arrival.POISSON, seed=5) == due(50, 3.0, Arrival.POISSON, seed=5)
    assert due(50, 3.0, Arrival.POISSON, seed=5) != due(50, 3.0, Arrival.POISSON, seed=6)


@pytest.mark.parametrize(("arrival", "tolerance"), [(Arrival.CONSTANT, 1), (Arrival.POISSON, 60)])
def test_a_ramp_has_half_as_many_requests(arrival: Arrival, tolerance: int) -> None:
    times = due(MANY, 100.0, arrival, ramp=20.0)
    assert sum(time < 20 for time in times) == pytest.approx(1000, abs=tolerance)
    assert sum(20 <= time < 30 for time in times) == pytest.approx(1000, abs=2 * tolerance)


def test_the_rate_grows_evenly() -> None:
    times = due(MANY, 100.0, ramp=20.0)
    quarters = [sum(5 * part <= time < 5 * part + 5 for time in times) for part in range(4)]
    assert quarters == pytest.approx([62.5, 187.5, 312.5, 437.5], abs=1)


@given(
    rate=st.floats(0.01, 1e5),
    arrival=st.sampled_from(Arrival),
    ramp=st.sampled_from([0.0, 0.001]) | st.floats(0, 1e4),
    seed=st.integers(0, 99),
)
def test_no_request_is_due_before_the_one_ahead_of_it(rate: float, arrival: Arrival, ramp: float, seed: int) -> None:
    times = due(200, rate, arrival, ramp, seed)
    assert times[0] >= 0
    assert all(earlier <= later for earlier, later in pairwise(times))


@given(rate=st.floats(0.1, 1e3), ramp=st.floats(0.1, 100), count=st.integers(1, 300))
def test_after_its_ramp_a_load_is_behind_by_half_of_it(rate: float, ramp: float, count: int) -> None:
    last = due(count, rate, ramp=ramp)[-1]
    if last > ramp:
        assert last == pytest.approx((count - 1) / rate + ramp / 2)
