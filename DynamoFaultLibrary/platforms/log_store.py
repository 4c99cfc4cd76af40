"""What replicas have logged, wherever they run."""

from typing import Protocol


class Log(Protocol):
    """What a replica has logged, over all its lives; its text is where people find it. Equal ones are the same log."""

    @property
    def replica(self) -> str:
        """Name of the replica."""
        ...

    def mark(self) -> int:
        """Where its text ends now, for `since`."""
        ...

    def since(self, mark: int = 0) -> bytes:
        """Its text from a mark on.

        Raises:
            DeploymentError: it is missing or empty, so it proves nothing.
        """
        ...

    def flush(self) -> None:
        """Return when all that the replica has logged by now can be read here: a check for absence needs that.

        Raises:
            DeploymentError: that cannot be known, or not in time.
        """
        ...
