"""See what runs on this machine, what has ended, and what it logs and counts."""

from pathlib import Path

from DynamoFaultLibrary.errors import Unready
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.http import read_metrics
from DynamoFaultLibrary.platforms.local.child import Exit
from DynamoFaultLibrary.platforms.local.machine import Machine, to_replica
from DynamoFaultLibrary.platforms.readiness import TIMEOUT
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Replica, ReplicaExit


class LocalObserving(Machine):
    """See `platforms.base.Observing`."""

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        """Replicas that have not ended."""
        parts, statuses = self.parts(deployment, service), self.statuses(deployment)
        found = [(part, statuses[part.process]) for part in parts if part.process in statuses]
        return [to_replica(part, status) for part, status in found if status.exit is None]

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        """Replicas whose leader the supervisor has reaped and not started again."""
        return [
            EndedReplica(self.replica_of(deployment, status), to_exit(status.exit))
            for status in self.statuses(deployment).values()
            if status.exit is not None
        ]

    def logs(self, deployment: Deployment, service: str) -> list[Path]:
        """Log files; a replica that was started again goes on in the same file."""
        return [part.log for part in self.parts(deployment, service)]

    def metrics(self, deployment: Deployment, service: str, timeout_s: float = TIMEOUT) -> dict[str, str]:
        """Prometheus texts of the replicas that run."""
        texts, problems = read_metrics(self.replicas(deployment, service), timeout_s)
        if problems:
            raise Unready("; ".join(problems))
        return texts


def to_exit(found: Exit) -> ReplicaExit:
    """How a replica ended, as the port has it."""
    return ReplicaExit(str(found), found.at, found.signal)
