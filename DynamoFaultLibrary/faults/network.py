"""Network faults: replicas that are cut off from each other."""

import socket
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import Any, ClassVar

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.graph import Role
from DynamoFaultLibrary.platforms.base import Deployment, Partitioning
from DynamoFaultLibrary.platforms.effects import Effect, Partition, PartitionMode
from DynamoFaultLibrary.platforms.replicas import Replica

NATS = "nats"


class PartitionType(Enum):
    """Between whom a network is partitioned; the names are upstream's."""

    FRONTEND_WORKER = "frontend_worker"
    WORKER_NATS = "worker_nats"
    WORKER_WORKER = "worker_worker"
    CUSTOM = "custom"


@dataclass
class NetworkPartition(Fault):
    """Sources and targets do not reach each other any more; everybody else does."""

    kind: ClassVar[str] = "Partition Network"
    lifetime: ClassVar[str] = "duration"
    platform: Partitioning
    deployment: Deployment
    partition: Partition
    _cut: Effect = field(init=False)

    def __post_init__(self) -> None:
        self._cut = self.platform.plan_cut(self.deployment, self.partition)

    @property
    def target(self) -> dict[str, Any]:
        """See `Fault.target`. Both sides are hit."""
        partition = self.partition
        replicas = [*partition.sources, *partition.targets]
        return {
            "deployment": self.deployment.name,
            "node": socket.gethostname(),
            "services": list(dict.fromkeys(replica.service for replica in replicas)),
            "replica": f"{_names(partition.sources)} | {_names(partition.targets)}",
            **self._cut.facts,
        }

    @property
    def recipe(self) -> dict[str, Any]:
        """See `Fault.recipe`."""
        return self._cut.recipe

    def inject(self) -> None:
        """See `Fault.inject`."""
        self._cut.apply()
        self.effective_s = monotonic()

    def prove(self) -> list[str]:
        """See `Fault.prove`. A reset is over when it is proven."""
        evidence = self._cut.prove()
        if self.partition.mode is PartitionMode.RESET:
            self.compensation = "new connections work"
        return evidence

    def undo(self) -> str:
        """See `Fault.undo`."""
        return self._cut.heal()

    def verify(self) -> str:
        """See `Fault.verify`."""
        return self._cut.verify()

    def let_go(self) -> None:
        """See `Fault.let_go`."""
        self._cut.close()


def _names(replicas: Sequence[Replica]) -> str:
    return ", ".join(replica.name for replica in replicas)


def check_sides(deployment: Deployment, kind: PartitionType, source: str | None, target: str | None) -> None:
    """See that the services that are named as sides fit the type of a partition.

    Raises:
        FaultError: one does not, so the partition would be another one than its type says.
    """
    graph = deployment.graph
    workers = [worker.name for worker in graph.workers]
    fitting = {
        PartitionType.FRONTEND_WORKER: (("the frontend", [graph.frontend.name]), ("a worker service", workers)),
        PartitionType.WORKER_NATS: (("a worker service", workers), ("the NATS server", [NATS])),
        PartitionType.WORKER_WORKER: (("a worker service", workers), ("a worker service", workers)),
    }
    for name, given, (what, able) in zip(("source", "target"), (source, target), fitting.get(kind, ()), strict=False):
        if given is not None and given not in able:
            raise FaultError(
                f"{name} of a partition of type {kind.name} must be {what} ({', '.join(able)}), not '{given}'; "
                "type CUSTOM takes any two services"
            )


def default_sides(deployment: Deployment, kind: PartitionType) -> tuple[list[str], list[str]]:
    """Services at both sides of a partition of that type, which is not ``CUSTOM``.

    Raises:
        FaultError: the deployment has none.
    """
    workers = deployment.graph.workers
    names = [worker.name for worker in workers]
    if kind is PartitionType.FRONTEND_WORKER:
        return [deployment.graph.frontend.name], names
    if kind is PartitionType.WORKER_NATS:
        if NATS not in deployment.infrastructure:
            raise FaultError(
                f"deployment '{deployment.name}' has no NATS; deploy the graph with request_plane=nats or "
                "event_plane=nats"
            )
        return names, [NATS]
    prefill = [worker.name for worker in workers if worker.role is Role.PREFILL]
    others = [name for name in names if name not in prefill]
    return (prefill, others) if prefill and others else (names, names)
