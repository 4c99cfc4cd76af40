"""Times that can be meant, and what is said of others."""

from datetime import timedelta

import pytest

from DynamoFaultLibrary.errors import FaultError, FaultLibraryError
from DynamoFaultLibrary.times import LONGEST, check_fault_time, check_time, time_problem

SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (SECOND, ""),
        (LONGEST, ""),
        (0 * SECOND, "must be above 0 s and at most 24 h, not 0 s"),
        (-SECOND, "must be above 0 s and at most 24 h, not -1 s"),
        (LONGEST + SECOND, "must be above 0 s and at most 24 h, not 1 d 1 s"),
    ],
)
def test_a_time_between_two_limits(value: timedelta, said: str) -> None:
    assert time_problem(value, most=LONGEST) == said


def test_a_time_without_a_limit_may_be_any_above_0() -> None:
    assert time_problem(1000 * LONGEST) == ""
    assert time_problem(0 * SECOND) == "must be above 0, not 0 s"
    assert time_problem(0 * SECOND, may_be_zero=True) == ""
    assert time_problem(-SECOND, may_be_zero=True) == "must be 0 or more, not -1 s"
    assert time_problem(timedelta(days=900), may_be_zero=True, most=timedelta(days=365)).endswith(
        "at most 365 d, not 900 d"
    )


def test_the_error_names_the_argument() -> None:
    with pytest.raises(FaultLibraryError, match=r"^hold must be above 0, not 0 s$"):
        check_time("hold", 0 * SECOND)
    with pytest.raises(FaultError, match=r"^ttl must be above 0 s and at most 24 h, not 0 s$"):
        check_fault_time("ttl", 0 * SECOND)
