"""The part of the platform port that looks at running processes: what they were told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, runtime_checkable

from DynamoFaultLibrary.platforms.replicas import Replica


@dataclass(frozen=True)
class RunningProcess:
    """A process as the operating system shows it; the environment is the one that it was started with.

    `name` is for people (``pid 1234``); a process that is stopped answers nothing.
    """

    name: str
    command: Sequence[str]
    environment: Mapping[str, str]
    is_stopped: bool


@runtime_checkable
class Inspecting(Protocol):
    """See what the processes of a replica run with."""

    def inspect(self, replica: Replica) -> list[RunningProcess]:
        """Living processes of a replica, its leader first; without those that ended meanwhile."""
        ...
