"""What replicas have logged, wherever they run, and however late it arrives here."""

from collections.abc import Iterable
from typing import Protocol


class Log(Protocol):
    """What a replica has logged, over all its lives; its text is where people find it. Equal ones are the same log."""

    @property
    def replica(self) -> str:
        """Name of the replica."""
        ...

    def mark(self) -> int:
        """Where its text ends, for `since`: what the replica has logged by now is before that.

        Raises:
            DeploymentError: that cannot be known, or not in time.
        """
        ...

    def since(self, mark: int = 0) -> bytes:
        """Its text from a mark on, as far as it has arrived here.

        Raises:
            DeploymentError: it cannot be read.
        """
        ...

    def flush(self) -> None:
        """Return when all that the replica has logged by now can be read here: a check for absence needs that.

        Raises:
            DeploymentError: that cannot be known, or not in time.
        """
        ...


def flushed(logs: Iterable[Log]) -> list[Log]:
    """The same logs, flushed."""
    found = list(logs)
    for log in found:
        log.flush()
    return found


def text_of(log: Log, mark: int = 0) -> str:
    """`Log.since` as text."""
    return log.since(mark).decode(errors="replace")


def places(logs: Iterable[Log]) -> str:
    """Where people find them."""
    return ", ".join(map(str, logs))
