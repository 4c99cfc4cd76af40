"""Replicas and logs as tests need them: what a test does not care for is filled in."""

from collections.abc import Hashable
from dataclasses import dataclass
from pathlib import Path

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.platforms.local.log_file import LocalLog
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.processes import ProcessId

A_LIFE = ProcessId(1, 1)


def make_replica(
    service: str, index: int = 0, incarnation: Hashable = A_LIFE, log: Log | None = None, key: str = ""
) -> Replica:
    """A replica of node ``n``; its key is ``d/<name>`` by default."""
    name = f"{service}-{index}"
    return Replica(
        service=service,
        index=index,
        name=name,
        key=key or f"d/{name}",
        incarnation=incarnation,
        node="n",
        namespace=None,
        log=log or LocalLog(Path(f"{name}.log")),
    )


@dataclass(eq=False)
class LateLog:
    """A log whose text arrives only when it is flushed, which can be impossible."""

    replica: str
    written: bytes = b"started\n"
    arrived: int = len(b"started\n")
    is_cut_off: bool = False

    def __str__(self) -> str:
        return f"late:{self.replica}"

    def write(self, line: str) -> None:
        self.written += f"{line}\n".encode()

    def mark(self) -> int:
        self.flush()
        return len(self.written)

    def since(self, mark: int = 0) -> bytes:
        return self.written[mark : self.arrived]

    def flush(self) -> None:
        if self.is_cut_off:
            raise DeploymentError(f"log '{self}' has not arrived")
        self.arrived = len(self.written)
