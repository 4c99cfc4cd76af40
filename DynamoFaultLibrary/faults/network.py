"""Between whom a network is partitioned."""

from enum import Enum

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.graph import Role
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.settings import NATS


class PartitionType(Enum):
    """Between whom a network is partitioned; the names are upstream's."""

    FRONTEND_WORKER = "frontend_worker"
    WORKER_NATS = "worker_nats"
    WORKER_WORKER = "worker_worker"
    CUSTOM = "custom"


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
