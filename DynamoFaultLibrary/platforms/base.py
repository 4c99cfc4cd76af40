"""The platform port: small capabilities, each a protocol. A platform implements those it can.

A keyword asks for what it needs with `require`; where the platform lacks it, the test is skipped with that reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

from DynamoFaultLibrary.cuda_toggle import Toggle
from DynamoFaultLibrary.errors import Unsupported
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.graph.edits import Edits
from DynamoFaultLibrary.ledger import Entry
from DynamoFaultLibrary.processes import ProcessId

ETCD, NATS = "etcd", "nats"
"""Names of the services that a platform adds to a deployment."""


class Discovery(StrEnum):
    """Where Dynamo's processes find each other (``DYN_DISCOVERY_BACKEND``)."""

    FILE = "file"
    ETCD = "etcd"


class RequestPlane(StrEnum):
    """How requests travel from frontend to worker (``DYN_REQUEST_PLANE``)."""

    TCP = "tcp"
    NATS = "nats"


class EventPlane(StrEnum):
    """How events travel (``DYN_EVENT_PLANE``)."""

    ZMQ = "zmq"
    NATS = "nats"


class NetworkMode(StrEnum):
    """Whether the processes of a deployment share this machine's network."""

    SHARED = "shared"
    ISOLATED = "isolated"
    """Each replica, etcd member and NATS server has a host of its own, so that it can be cut off."""


@dataclass(frozen=True)
class DeploySettings:
    """How to deploy a graph, beside what the graph itself says."""

    discovery: Discovery = Discovery.FILE
    etcd_members: int | None = None
    """1 unless given; without etcd it has no effect, so a platform refuses it."""
    request_plane: RequestPlane = RequestPlane.TCP
    event_plane: EventPlane = EventPlane.ZMQ
    network: NetworkMode = NetworkMode.SHARED
    image: str | None = None
    """Container image of all services, instead of what the graph names."""
    interpreter: str | None = None
    http_port: int | None = None
    ready_responses: int = 2
    timeout: timedelta = timedelta(seconds=120)
    edits: Edits = field(default_factory=Edits)
    """What was edited on purpose: where that contradicts a setting, it is an error; the graph itself gives way."""


@dataclass(frozen=True)
class PlannedProcess:
    """A process that a platform would start, and what its environment has beside the platform's own."""

    service: str
    name: str
    """Of the replica, and of the container where it is not the main one: ``Frontend-0``, ``Frontend-0/init-cache``."""
    command: str
    directory: str
    environment: dict[str, str]


@dataclass(frozen=True)
class Remark:
    """Something that a graph says of a service and that a platform does otherwise, and why."""

    service: str
    what: str
    why: str


@dataclass(frozen=True)
class Plan:
    """What a platform would start for a graph, what it sets otherwise than the graph, and what cannot be here."""

    processes: Sequence[PlannedProcess] = ()
    overridden: Sequence[Remark] = ()
    missing: Sequence[Remark] = ()
    refusal: str = ""
    """Why a deployment would fail, and not only be skipped for what this machine lacks."""


@dataclass(frozen=True)
class Replica:
    """One running copy of a service.

    `name` is for people (``Frontend-0``), `key` for the platform; `generation` counts how often it was started again.
    """

    service: str
    index: int
    name: str
    key: str
    process: ProcessId
    generation: int
    log: Path
    metrics_url: str | None


@dataclass
class Deployment:
    """A graph that is up. `url` is its first frontend's, `model` the name that it serves."""

    name: str
    graph: Graph
    settings: DeploySettings
    results: Path
    url: str
    model: str = ""
    infrastructure: list[str] = field(default_factory=list)
    """Services that the platform added: etcd, nats."""
    plan: Plan = field(default_factory=Plan)
    """How it was started."""


@dataclass(frozen=True)
class ReplicaExit:
    """How a replica ended: `how` for people, `at` on the monotonic clock, `signal` when a signal killed it."""

    how: str
    at: float
    signal: int | None


@dataclass(frozen=True)
class EndedReplica:
    """A replica that does not run any more, and how it came to that."""

    replica: Replica
    exit: ReplicaExit

    def __str__(self) -> str:
        how = f"was {self.exit.how}" if self.exit.signal is not None else f"ended with {self.exit.how}"
        return f"{self.replica.name} {how}"


class Deploying(Protocol):
    """Bring a graph up and take it away."""

    def plan(self, graph: Graph, settings: DeploySettings) -> Plan:
        """Say what `deploy` would start; nothing is started and nothing is left behind.

        Raises:
            DeploymentError: a setting has no effect here, or the graph cannot be meant.
        """
        ...

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        """Start a graph and return when it answers well; on any failure nothing is left running.

        Raises:
            DeploymentError: it does not come up, or a setting has no effect here; none is ever ignored.
        """
        ...

    def delete(self, deployment: Deployment) -> None:
        """Take a deployment away and verify that nothing is left of it."""
        ...

    def close(self) -> None:
        """Take everything away that this platform put there."""
        ...


class Observing(Protocol):
    """See replicas, their logs and metrics."""

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        """Replicas of a service in the order of their indices; ended ones are left out."""
        ...

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        """Replicas of all services, those of the platform included, that have ended and were not started again."""
        ...

    def logs(self, deployment: Deployment, service: str) -> list[Path]:
        """Log files of all replicas that a service has had."""
        ...

    def metrics(self, deployment: Deployment, service: str, timeout_s: float = 10.0) -> dict[str, str]:
        """Prometheus texts by replica name; all replicas are asked at once.

        Raises:
            Unready: one has not answered within `timeout_s`.
        """
        ...


@runtime_checkable
class Signalling(Protocol):
    """Send signals to processes of a replica, and see what came of it."""

    def processes(self, replica: Replica) -> list[ProcessId]:
        """Living processes of a replica, its leader first."""
        ...

    def send(self, replica: Replica, processes: Sequence[ProcessId], number: int) -> list[ProcessId]:
        """Send a signal to processes of a replica; returns those that were there to get it."""
        ...

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        """Wait for the end of the replica's leader; None when it still runs after `timeout`."""
        ...


@runtime_checkable
class Replacing(Protocol):
    """Start replicas again."""

    def respawn(self, deployment: Deployment, replica: Replica) -> Replica:
        """End what is left of this replica and start it again, unless that was done already."""
        ...

    def wait_ready(self, deployment: Deployment, timeout: timedelta) -> None:
        """Wait until all replicas of a deployment are known to its frontend and it answers well."""
        ...


class PartitionMode(StrEnum):
    """What happens to what two sides of a partition send each other."""

    DROP = "drop"
    """Packets vanish: connections hang, new ones time out."""
    REJECT = "reject"
    """Whoever sends gets a TCP reset (or ICMP unreachable): connections break, new ones are refused."""
    RESET = "reset"
    """Connections that are open are cut at both ends, once; new ones are made."""


class Direction(StrEnum):
    """Which packets a partition hits, seen from its source."""

    BOTH = "both"
    TO = "to"
    FROM = "from"


@dataclass(frozen=True)
class Partition:
    """A cut through the network: between each of `sources` and each of `targets`, and nobody else.

    `loss` is the percentage of packets that are hit, `rate` the bytes a second that get through.
    """

    sources: Sequence[Replica]
    targets: Sequence[Replica]
    mode: PartitionMode = PartitionMode.DROP
    direction: Direction = Direction.BOTH
    loss: int = 100
    rate: int | None = None


class Cut(Protocol):
    """A partition on its way through life. Making one does nothing to the network."""

    recipe: dict[str, Any]
    """How anybody undoes it, see `DynamoFaultLibrary.ledger.undo`."""

    def apply(self) -> None:
        """Cut."""
        ...

    def prove(self) -> list[str]:
        """Evidence from open and from new connections between the two sides.

        Raises:
            EvidenceMissing: something gets through that should not, or nothing does that should.
        """
        ...

    def heal(self) -> str:
        """Undo it; harmless when that was done already. Returns what was found.

        Raises:
            RecoveryError: it is still there.
        """
        ...

    def verify(self) -> str:
        """See, once it is undone, that open and new connections work. Returns what was found.

        Raises:
            RecoveryError: they do not.
        """
        ...

    def close(self) -> None:
        """Close what was opened to prove and verify it. Closing twice does no harm."""
        ...


@runtime_checkable
class Partitioning(Protocol):
    """Cut replicas off from each other."""

    def plan_cut(self, deployment: Deployment, partition: Partition) -> Cut:
        """Plan a partition.

        Raises:
            FaultError: the replicas of this deployment cannot be cut off from each other.
        """
        ...


@runtime_checkable
class ControlPlane(Protocol):
    """Know the servers that discovery and planes run on."""

    def member_urls(self, deployment: Deployment, service: str) -> dict[str, str]:
        """By member name the URL of its HTTP interface: etcd's for clients, that of NATS for monitoring.

        Members that do not run are among them; without any the service is none of this deployment's.
        """
        ...

    def start_without_data(self, deployment: Deployment, replica: Replica) -> Replica:
        """Start an etcd member again as a new one that joins the cluster with an empty data directory."""
        ...


@runtime_checkable
class CudaShimming(Protocol):
    """Run replicas under the CUDA shim, each with a toggle of its own."""

    def shim_cuda(self, services: Sequence[str]) -> None:
        """From their next start on, replicas of these services run under the shim, and those of others do not.

        Raises:
            Unsupported: the shim cannot be had here.
        """
        ...

    def awaits_cuda_change(self, replica: Replica) -> bool:
        """Whether a running replica gets or loses the shim only when it is started again."""
        ...

    def cuda_toggle(self, replica: Replica) -> Toggle | None:
        """The toggle of a replica; None when its processes do not run under the shim."""
        ...


@runtime_checkable
class Guarding(Protocol):
    """Hold faults so that they come off when the run dies."""

    def guard(self, entry: Entry) -> None:
        """Have a fault undone at its expiry, or when this process dies."""
        ...

    def release(self, entry: Entry) -> None:
        """Stop guarding a fault."""
        ...


class Platform(Deploying, Observing, Protocol):
    """What each platform can."""

    name: str


Capability = TypeVar("Capability")


def require(platform: Platform, capability: type[Capability]) -> Capability:
    """Return the platform as `capability`.

    Raises:
        Unsupported: it is not capable of it.
    """
    if not isinstance(platform, capability):
        raise Unsupported(f"platform '{platform.name}' has no capability '{capability.__name__}'")
    return platform
