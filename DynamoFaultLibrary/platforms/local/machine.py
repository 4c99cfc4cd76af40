"""What platform `local` has on this machine: a supervisor, ports, and deployments with their processes."""

import socket
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.local.child import ProcessStatus
from DynamoFaultLibrary.platforms.local.client import SupervisorClient
from DynamoFaultLibrary.platforms.local.commands import visible_gpus
from DynamoFaultLibrary.platforms.local.log_file import LocalLog
from DynamoFaultLibrary.platforms.local.network import Network, SharedNetwork
from DynamoFaultLibrary.platforms.local.planes import Part
from DynamoFaultLibrary.platforms.local.ports import PortLeases
from DynamoFaultLibrary.platforms.local.probes import Probe
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.processes import ProcessId


@dataclass(frozen=True)
class PlannedReplica:
    """Where a replica belongs, its supervisor name, its metrics."""

    service: str
    index: int
    process: str
    log: LocalLog
    metrics_url: str | None

    @property
    def name(self) -> str:
        """Name of the replica."""
        return self.process.rpartition("/")[2]


@dataclass
class LocalDeployment:
    """What only this platform knows of a deployment."""

    work: Path
    network: Network = field(default_factory=SharedNetwork)
    ports: list[int] = field(default_factory=list)
    parts: list[PlannedReplica] = field(default_factory=list)
    servers: list[Part] = field(default_factory=list)
    gpus: list[str] = field(default_factory=visible_gpus)
    """GPUs that no replica has been given yet; there are enough, see `commands.requirement_problems`."""
    preloads: dict[str, str | None] = field(default_factory=dict)
    """LD_PRELOAD of each process group, without the CUDA shim."""
    beside: dict[str, LocalLog] = field(default_factory=dict)
    """Logs of init containers and sidecars by their supervisor names; faults leave them alone."""
    inits: set[str] = field(default_factory=set)
    """Those of them that run to their end."""
    probes: dict[str, Probe] = field(default_factory=dict)
    """What tells that replicas are ready that the frontend does not know, by their supervisor names."""


class Machine:
    """What the capabilities of this platform share. The supervisor starts with the first deployment."""

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self.ports = PortLeases()
        self.deployments: dict[str, LocalDeployment] = {}
        self._lost: set[str] = set()
        """Deployments whose supervisor was killed."""
        self._supervisor: SupervisorClient | None = None

    @property
    def has_supervisor(self) -> bool:
        """Whether it was started, and was not killed since."""
        return self._supervisor is not None

    @property
    def supervisor(self) -> SupervisorClient:
        """The supervisor, started when it is first asked for."""
        if self._supervisor is None:
            self._supervisor = SupervisorClient(self.ledger, self._bury)
        return self._supervisor

    def _bury(self) -> str:
        """The supervisor was killed: let go of what went with it, and say what it was."""
        lost, self._supervisor = self.deployments, None
        self.deployments = {}
        self._lost |= set(lost)
        for local in lost.values():
            self.ports.give_back(local.ports)
        troubles = []
        for local in lost.values():
            try:
                local.network.close()
            except (FaultLibraryError, OSError) as error:
                troubles.append(str(error))  # what is left of one is no reason to leave another one open
        went = f", and what it had started with it: {', '.join(lost) or 'no deployment'}"
        return "; ".join([went, *troubles, "'Deploy Graph' starts another"])

    def is_lost(self, deployment: Deployment) -> bool:
        """Whether it went with a supervisor that was killed."""
        return deployment.name in self._lost

    def close(self) -> None:
        """End everything; the supervisor verifies that nothing is left."""
        networks = [local.network for local in self.deployments.values()]
        for local in self.deployments.values():
            self.ports.give_back(local.ports)
        self.deployments.clear()
        supervisor, self._supervisor = self._supervisor, None
        with ExitStack() as stack:  # what is left of one is no reason to leave another one open
            for network in networks:
                stack.callback(network.close)
            if supervisor is not None:
                supervisor.close()

    def local(self, deployment: Deployment) -> LocalDeployment:
        """What is known here of a deployment.

        Raises:
            DeploymentError: it was deleted, or went with its supervisor.
        """
        if self.is_lost(deployment):
            raise DeploymentError(
                f"deployment '{deployment.name}' is gone: its supervisor was killed; call 'Deploy Graph' again"
            )
        if deployment.name not in self.deployments:
            raise DeploymentError(f"deployment '{deployment.name}' was deleted")
        return self.deployments[deployment.name]

    def parts(self, deployment: Deployment, service: str) -> list[PlannedReplica]:
        """The replicas of a service, running or not; none of one that is not started on this machine.

        Raises:
            DeploymentError: there is no such service; the message lists those that there are.
        """
        parts = self.local(deployment).parts
        found = [part for part in parts if part.service == service]
        if not found and service not in deployment.graph.services:
            services = list(dict.fromkeys(part.service for part in parts))
            raise DeploymentError(f"deployment '{deployment.name}' has no service '{service}'; it has {services}")
        return sorted(found, key=lambda part: part.index)

    def statuses(self, deployment: Deployment) -> dict[str, ProcessStatus]:
        """What the supervisor knows of a deployment's processes, by their supervisor names."""
        names = {part.process for part in self.local(deployment).parts}
        return {name: status for name, status in self.supervisor.status().items() if name in names}

    def replica_of(self, deployment: Deployment, status: ProcessStatus) -> Replica:
        """The replica that a process group is."""
        part = next(part for part in self.local(deployment).parts if part.process == status.name)
        return to_replica(part, status)


def to_replica(part: PlannedReplica, status: ProcessStatus) -> Replica:
    """A replica as the port has it."""
    return Replica(
        service=part.service,
        index=part.index,
        name=part.name,
        key=part.process,
        incarnation=status.process,
        node=socket.gethostname(),
        namespace=None,
        log=part.log,
    )


def leader_of(replica: Replica) -> ProcessId:
    """The leader of a replica's process group: its life is that of the replica."""
    assert isinstance(replica.incarnation, ProcessId)  # noqa: S101  # `to_replica` made it
    return replica.incarnation
