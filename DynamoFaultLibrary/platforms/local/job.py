"""What a supervisor is started with, as one command line argument."""

import json
from dataclasses import dataclass, field

from DynamoFaultLibrary.processes import ProcessId


@dataclass(frozen=True)
class Job:
    """The socket and the run to serve, and the processes to watch."""

    descriptor: int
    run: str
    client: ProcessId
    """The robot at the other end of the socket."""
    pabot: ProcessId | None = None
    pabot_helpers: list[ProcessId] = field(default_factory=list)

    def to_text(self) -> str:
        """As one line of text."""
        return json.dumps(
            {
                "descriptor": self.descriptor,
                "run": self.run,
                "client": self.client.to_json(),
                "pabot": self.pabot.to_json() if self.pabot else None,
                "pabot_helpers": [helper.to_json() for helper in self.pabot_helpers],
            }
        )

    @classmethod
    def from_text(cls, text: str) -> "Job":
        """The inverse of `to_text`."""
        data = json.loads(text)
        return cls(
            data["descriptor"],
            data["run"],
            ProcessId.from_json(data["client"]),
            ProcessId.from_json(data["pabot"]) if data["pabot"] else None,
            [ProcessId.from_json(helper) for helper in data["pabot_helpers"]],
        )
