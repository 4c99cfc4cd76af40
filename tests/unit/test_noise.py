"""A difference is called more than noise only if it is; values beside those of SciPy 1.17."""

import numpy as np
import pytest

from DynamoFaultLibrary.reports.noise import Pair, are_enough, fisher, holm, p_values, student_tails


@pytest.mark.parametrize(
    ("t", "freedom", "chance"),
    [
        (0.0, 3, 1.0),
        (2.5, 3, 0.08770664700806556),
        (-5.3, 8, 0.0007283890592544108),
        (4.5, 30.7, 9.115843633411619e-05),
        (1.0, 424.0, 0.31787812566),
    ],
)
def test_the_tails_of_students_distribution(t: float, freedom: float, chance: float) -> None:
    assert student_tails(t, freedom) == pytest.approx(chance, rel=1e-4)


def test_fishers_exact_test() -> None:
    assert fisher(0, 5, 5, 5) == pytest.approx(2 / 252)
    assert fisher(1, 5, 4, 6) == pytest.approx(0.24242424)
    assert fisher(0, 5, 0, 5) == 1


def test_holm_corrects_for_the_number_and_keeps_the_order() -> None:
    assert holm([0.01, 0.04, 0.03]) == pytest.approx([0.03, 0.06, 0.06])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


@pytest.mark.parametrize(
    ("one", "other", "enough"), [(1, 1, False), (3, 3, False), (2, 9, False), (4, 4, True), (3, 5, True), (9, 1, False)]
)
def test_it_takes_repeats_on_both_sides(one: int, other: int, enough: bool) -> None:
    assert are_enough(one, other) is enough
    (p,) = p_values([Pair("x", [1.0] * one, [9.0] * other, 1e-4)])
    assert (p is not None) is enough


def pairs(count: int, noise: float, rng: np.random.Generator, shift: float = 0.0) -> list[Pair]:
    """The first one is shifted."""
    found = []
    for number in range(count):
        values = rng.normal(0, noise, 10)
        found.append(Pair("x", list(values[:5]), list(values[5:] + (shift if number == 0 else 0)), 1e-4))
    return found


def test_a_difference_is_found_more_easily_when_others_tell_how_noisy_its_kind_is() -> None:
    alone = beside = 0
    for seed in range(60):
        both = pairs(40, 0.05, np.random.default_rng(seed), shift=0.2)
        together = p_values(both)
        one_by_one = p_values([Pair(str(number), p.one, p.other, p.least_variance) for number, p in enumerate(both)])
        beside += together[0] is not None and together[0] < 0.01
        alone += one_by_one[0] is not None and one_by_one[0] < 0.01
    assert beside > 50
    assert alone < beside - 15


def test_a_pair_much_noisier_than_its_group_keeps_its_own_noise() -> None:
    rng = np.random.default_rng(4)
    wild = Pair("x", [0.0, 2.0, -2.0, 1.0, -1.0], [1.5, 3.5, -0.5, 2.5, 0.5], 1e-4)
    (p, *_) = p_values([wild, *pairs(30, 0.05, rng)])
    assert p == 1.0


def test_repeats_that_are_alike_by_chance_are_not_believed() -> None:
    (p,) = p_values([Pair("x", [0.0] * 5, [0.01] * 5, 1e-4)])
    assert p is not None
    assert p > 0.1


def test_pure_noise_raises_no_more_alarms_than_asked_for() -> None:
    alarms = sum(
        any(p is not None and p <= 0.05 for p in p_values(pairs(50, 0.1, np.random.default_rng(seed))))
        for seed in range(200)
    )
    assert alarms <= 20  # 10 are expected
