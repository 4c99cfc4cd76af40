"""What a guard is started with, as one command line argument."""

import json
from dataclasses import asdict, dataclass, field

from DynamoFaultLibrary.processes import ProcessId, read_words

MARK = "dynamo-fault-guard"
"""Stands before the job in the command line of each guard, and so of its sentinel."""


def is_guard(pid: int) -> bool:
    """Whether a process is the guard of a run, of whatever platform, or its sentinel."""
    return MARK in read_words(pid, "cmdline")


@dataclass(frozen=True)
class Job:
    """The socket and the run to serve, and the processes to watch."""

    descriptor: int
    run: str
    client: ProcessId
    """The robot at the other end of the socket."""
    pabot: ProcessId | None = None
    pabot_helpers: list[ProcessId] = field(default_factory=list)

    def to_words(self) -> list[str]:
        """As the last words of a command line."""
        return [MARK, json.dumps(asdict(self))]

    @classmethod
    def from_words(cls, words: list[str]) -> "Job":
        """The inverse of `to_words`."""
        data = json.loads(words[-1])
        return cls(
            data["descriptor"],
            data["run"],
            ProcessId.from_json(data["client"]),
            ProcessId.from_json(data["pabot"]) if data["pabot"] else None,
            [ProcessId.from_json(helper) for helper in data["pabot_helpers"]],
        )
