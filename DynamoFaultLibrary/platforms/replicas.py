"""Replicas and nodes as every platform tells of them."""

from collections.abc import Hashable, Mapping
from dataclasses import dataclass

from DynamoFaultLibrary.platforms.log_store import Log

Incarnation = Hashable
"""One life of a replica: no two lives of any replica are equal; its text is for people, such as ``pid 1234``."""


@dataclass(frozen=True)
class Replica:
    """One running copy of a service.

    `name` is for people (``Frontend-0``), `key` for the platform; each start gives it another `incarnation`. `node` is
    the machine that it runs on, `namespace` the cluster's namespace, None where there are none.
    """

    service: str
    index: int
    name: str
    key: str
    incarnation: Incarnation
    node: str
    namespace: str | None
    log: Log


@dataclass(frozen=True)
class ReplicaExit:
    """How a replica ended: `how` for people, `signal` when a signal killed it.

    `at` is on this machine's monotonic clock; when it was read on another clock, it may be `within_s` seconds off.
    """

    how: str
    at: float
    signal: int | None
    within_s: float = 0.0


@dataclass(frozen=True)
class EndedReplica:
    """A replica that does not run any more, and how it came to that."""

    replica: Replica
    exit: ReplicaExit

    def __str__(self) -> str:
        how = f"was {self.exit.how}" if self.exit.signal is not None else f"ended with {self.exit.how}"
        return f"{self.replica.name} {how}"


@dataclass(frozen=True)
class Node:
    """A machine that replicas run on, and what its cluster says of it.

    `conditions` are the cluster's own words by type: ``Ready``, and what health monitors add.
    """

    name: str
    is_ready: bool
    is_schedulable: bool
    """False while it is cordoned."""
    conditions: Mapping[str, str]
