"""How long faults may stay, and keywords may wait."""

from datetime import timedelta

from DynamoFaultLibrary.errors import FaultError

LONGEST = timedelta(hours=24)
"""Beyond it a fault that comes off by itself is none, and clocks of the system overflow."""

_UNITS = ((86_400, "d"), (3_600, "h"), (60, "min"))


def check_time(name: str, value: timedelta) -> timedelta:
    """Return `value`, which the argument `name` gave, if it is above 0 and at most `LONGEST`.

    Raises:
        FaultError: it is not.
    """
    if not timedelta(0) < value <= LONGEST:
        most = LONGEST / timedelta(hours=1)
        raise FaultError(f"{name} must be above 0 s and at most {most:g} h, not {duration_text(value)}")
    return value


def duration_text(value: timedelta) -> str:
    """A time as Robot Framework writes it: ``1 d 2 h``, ``-5 s``, ``0.3 s``."""
    left = abs(value.total_seconds())
    words = []
    for seconds, unit in _UNITS:
        count, left = divmod(left, seconds)
        words += [f"{count:.0f} {unit}"] if count else []
    words += [f"{left:g} s"] if left or not words else []
    return ("-" if value < timedelta(0) else "") + " ".join(words)
