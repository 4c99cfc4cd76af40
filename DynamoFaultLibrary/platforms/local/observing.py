"""See what runs on this machine, what has ended, and what it logs and counts."""

from collections.abc import Sequence

from DynamoFaultLibrary.graph import Service
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.http import scrape
from DynamoFaultLibrary.platforms.local.child import Exit, ProcessStatus
from DynamoFaultLibrary.platforms.local.machine import Machine, PlannedReplica, to_replica
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.readiness import TIMEOUT
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Replica, ReplicaExit


class LocalObserving(Machine):
    """See `platforms.base.Observing`."""

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        """Replicas that have not ended."""
        return [to_replica(part, status) for part, status in self._running(deployment, service)]

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        """Replicas whose leader the supervisor has reaped and not started again."""
        return [
            EndedReplica(self.replica_of(deployment, status), to_exit(status.exit))
            for status in self.statuses(deployment).values()
            if status.exit is not None
        ]

    def logs(self, deployment: Deployment, service: str) -> list[Log]:
        """Log files; a replica that was started again goes on in the same file."""
        return [part.log for part in self.parts(deployment, service)]

    def metrics(
        self, deployment: Deployment, *services: str, timeout_s: float = TIMEOUT
    ) -> tuple[dict[str, str], list[str]]:
        """Prometheus texts of the replicas that run."""
        running = (part for service in services for part, _ in self._running(deployment, service))
        return scrape({part.name: part.metrics_url for part in running if part.metrics_url}, timeout_s)

    def metrics_urls(self, deployment: Deployment, services: Sequence[Service]) -> list[str]:
        """Where the replicas that run tell their metrics."""
        running = (part for service in services for part, _ in self._running(deployment, service.name))
        return [part.metrics_url for part in running if part.metrics_url]

    def _running(self, deployment: Deployment, service: str) -> list[tuple[PlannedReplica, ProcessStatus]]:
        parts, statuses = self.parts(deployment, service), self.statuses(deployment)
        found = [(part, statuses[part.process]) for part in parts if part.process in statuses]
        return [(part, status) for part, status in found if status.exit is None]


def to_exit(found: Exit) -> ReplicaExit:
    """How a replica ended, as the port has it."""
    return ReplicaExit(str(found), found.at, found.signal)
