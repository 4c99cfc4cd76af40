"""Time as the whole project writes it: UTC for people, CLOCK_MONOTONIC for differences.

Linux keeps one monotonic clock for all processes of a machine, so readings of different processes can be compared.
"""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta


def utc_now() -> datetime:
    """The time of day in UTC."""
    return datetime.now(UTC)


def utc_text(moment: datetime | None = None) -> str:
    """`moment` (default: now) as ISO 8601 with microseconds and a Z."""
    moment = (moment or utc_now()).astimezone(UTC).replace(tzinfo=None)
    return moment.isoformat(timespec="microseconds") + "Z"


def monotonic() -> float:
    """Seconds on this machine's monotonic clock."""
    return time.clock_gettime(time.CLOCK_MONOTONIC)


def seconds_text(seconds: float) -> str:
    """A duration for people: `0.4 ms`, `37 ms`, `2.51 s`."""
    if seconds < 0.01:
        return f"{seconds * 1000:.1f} ms"
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.2f} s"


def wait_until(condition: Callable[[], bool], timeout: timedelta | float, interval: float = 0.005) -> bool:
    """Poll `condition` each `interval` seconds until it holds (True) or `timeout` has passed (False)."""
    limit = timeout.total_seconds() if isinstance(timeout, timedelta) else timeout
    deadline = monotonic() + limit
    while not condition():
        left = deadline - monotonic()
        if left <= 0:
            return condition()
        time.sleep(min(interval, left))
    return True
