"""Times and numbers that keywords are given: which can be meant, and how times are written."""

from datetime import timedelta

from DynamoFaultLibrary.errors import FaultError, FaultLibraryError

LONGEST = timedelta(hours=24)
"""Beyond it a fault that comes off by itself is none, and clocks of the system overflow."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def time_problem(value: timedelta, *, may_be_zero: bool = False, most: timedelta | None = None) -> str:
    """What is wrong with a time, as the end of a sentence that begins with its name; empty when nothing is."""
    is_enough = value >= timedelta(0) if may_be_zero else value > timedelta(0)
    if is_enough and (most is None or value <= most):
        return ""
    if most is None:
        return f"must be {'0 or more' if may_be_zero else 'above 0'}, not {duration_text(value)}"
    limit = f"{most / timedelta(hours=1):g} h" if most <= timedelta(days=1) else duration_text(most)
    return f"must be {'0 s or more' if may_be_zero else 'above 0 s'} and at most {limit}, not {duration_text(value)}"


def check_time(name: str, value: timedelta, *, may_be_zero: bool = False) -> None:
    """See that a time to wait, which the argument `name` gave, is above 0; where 0 means not at all, it `may_be_zero`.

    Raises:
        FaultLibraryError: it is not.
    """
    if problem := time_problem(value, may_be_zero=may_be_zero):
        raise FaultLibraryError(f"{name} {problem}")


def check_above_zero(**numbers: float) -> None:
    """Refuse what must be above 0.

    Raises:
        FaultLibraryError: one is not; the message names it.
    """
    for name, number in numbers.items():
        if number <= 0:
            raise FaultLibraryError(f"{name} must be above 0, not {number:g}")


def check_fault_time(name: str, value: timedelta) -> None:
    """See that a time that a fault may stay, or wait for its evidence, is above 0 and at most `LONGEST`.

    Raises:
        FaultError: it is not.
    """
    if problem := time_problem(value, most=LONGEST):
        raise FaultError(f"{name} {problem}")


def duration_text(value: timedelta) -> str:
    """A time as Robot Framework writes it: ``1 d 2 h``, ``-5 s``, ``0.3 s``."""
    left = abs(value.total_seconds())
    words = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        words += [f"{count:.0f} {unit}"] if count else []
    words += [f"{left:g} s"] if left or not words else []
    return ("-" if value < timedelta(0) else "") + " ".join(words)
