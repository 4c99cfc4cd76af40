"""Logs of processes on this machine: files that they write themselves."""

from dataclasses import dataclass
from pathlib import Path

from DynamoFaultLibrary.errors import DeploymentError


@dataclass(frozen=True)
class LocalLog:
    """See `platforms.log_store.Log`."""

    path: Path

    def __str__(self) -> str:
        return str(self.path)

    @property
    def replica(self) -> str:
        """The file is called like it."""
        return self.path.stem

    def mark(self) -> int:
        """The size of the file; a log that is not there yet has no text."""
        return self.path.stat().st_size if self.path.exists() else 0

    def since(self, mark: int = 0) -> bytes:
        """The file's bytes."""
        try:
            with self.path.open("rb") as file:
                file.seek(mark)
                return file.read()
        except OSError as error:
            raise DeploymentError(f"log '{self}' cannot be read: {error.strerror}") from error

    def flush(self) -> None:
        """What a process has written is in its file."""
