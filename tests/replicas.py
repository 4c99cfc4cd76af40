"""A replica as tests need one: what a test does not care for is filled in."""

from collections.abc import Hashable
from pathlib import Path

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
    process = incarnation if isinstance(incarnation, ProcessId) else A_LIFE
    return Replica(
        service=service,
        index=index,
        name=name,
        key=key or f"d/{name}",
        incarnation=incarnation,
        node="n",
        namespace=None,
        process=process,
        generation=0,
        log=log or LocalLog(Path(f"{name}.log")),
    )
