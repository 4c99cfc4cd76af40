"""Times to wait for something: a wrong one is refused at once, in the keyword's own words."""

from datetime import timedelta

from DynamoFaultLibrary.errors import FaultLibraryError


def check_timeout(timeout: timedelta, name: str = "timeout", *, may_be_zero: bool = False) -> None:
    """See that a time to wait is above 0; where 0 means not to wait at all, it `may_be_zero`.

    Raises:
        FaultLibraryError: it is not.
    """
    seconds = timeout.total_seconds()
    if seconds < 0 or (seconds == 0 and not may_be_zero):
        raise FaultLibraryError(f"{name} must be {'0 or more' if may_be_zero else 'above 0'}, not {seconds:g} s")
