"""The platform port: small capabilities, each a protocol. A platform implements those it can.

A keyword asks for what it needs with `require`; where the platform lacks it, the test is skipped with that reason.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Protocol, TypeVar, runtime_checkable

from DynamoFaultLibrary.cuda_toggle import Toggle
from DynamoFaultLibrary.errors import Unready, Unsupported
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.ledger import Entry
from DynamoFaultLibrary.platforms.effects import CudaRule, Effect, End, FailingCudaCalls, Partition
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Node, Replica, ReplicaExit
from DynamoFaultLibrary.platforms.settings import DeploySettings


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


@dataclass
class Deployment:
    """A graph that is up. `model` is the name that it serves, `url` that of its first frontend.

    The URL stays the same as long as the graph is up, though the frontend behind it may end and come again.
    """

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

    def is_lost(self, deployment: Deployment) -> bool:
        """Whether a deployment is gone though nobody has deleted it."""
        ...

    def close(self) -> None:
        """Take everything away that this platform put there."""
        ...


class Observing(Protocol):
    """See replicas, their logs and metrics."""

    poll_s: float
    """Seconds between two looks at something here that is expected to change."""

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        """Replicas of a service in the order of their indices; ended ones are left out."""
        ...

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        """Replicas of all services, those of the platform included, that have ended and were not started again."""
        ...

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        """Wait for the end of this life of a replica; None when it still runs after `timeout`."""
        ...

    def logs(self, deployment: Deployment, service: str) -> Sequence[Log]:
        """Logs of all replicas that a service has had."""
        ...

    def metrics(
        self, deployment: Deployment, *services: str, timeout_s: float = 10.0
    ) -> tuple[dict[str, str], list[str]]:
        """Prometheus texts of replicas by name, and what is wrong with those that have not told theirs in time.

        All that run are asked at once. Those that have no metrics are in neither.
        """
        ...


@runtime_checkable
class Ending(Protocol):
    """End replicas, or processes of theirs."""

    def plan_end(self, deployment: Deployment, replica: Replica, end: End) -> Effect:
        """Plan the end of a replica, or of some of its processes.

        Raises:
            FaultError: no process of it matches; the message lists what runs.
            Unsupported: this platform cannot do that to it.
        """
        ...


@runtime_checkable
class Pausing(Protocol):
    """Stop processes of a replica so that its connections stay open and nothing answers."""

    def plan_pause(self, deployment: Deployment, replica: Replica, process_name: str | None) -> Effect:
        """Plan a pause of a whole replica, or of its processes whose command line contains `process_name`.

        Raises:
            FaultError: no process of it matches, or one is stopped already.
            Unsupported: this platform cannot do that to it.
        """
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


@runtime_checkable
class Partitioning(Protocol):
    """Cut replicas off from each other."""

    def plan_cut(self, deployment: Deployment, partition: Partition) -> Effect:
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

        They stay the same over all lives of a member; those that do not run are among them. Without any the service is
        none of this deployment's.
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

    def shimmed_processes(self, replica: Replica) -> list[str]:
        """Processes of a replica that have the shim mapped, as texts for people."""
        ...

    def plan_cuda(
        self, deployment: Deployment, replica: Replica, rule: CudaRule, timeout: timedelta
    ) -> FailingCudaCalls:
        """Plan that CUDA calls of a replica fail; one must have, `timeout` after the rule's delay, to prove it.

        Raises:
            FaultError: it does not run under the shim, or its calls fail already.
        """
        ...


class Guarding(Protocol):
    """Hold faults so that they come off when the run dies."""

    def guard(self, entry: Entry) -> None:
        """Have a fault undone at its expiry, or when this process dies."""
        ...

    def release(self, entry: Entry) -> None:
        """Stop guarding a fault."""
        ...


@runtime_checkable
class NodeHealth(Protocol):
    """See the nodes that replicas run on."""

    def nodes(self) -> list[Node]:
        """All nodes that this platform may place replicas on."""
        ...


class Platform(Deploying, Observing, Guarding, Protocol):
    """What each platform can."""

    name: str

    settings: frozenset[str]
    """Those settings beside what all platforms have that have an effect here: ``interpreter`` with any value,
    ``network=isolated`` with that one alone, since it says what the platform does anyway. `plan` and `deploy` refuse
    the others by `check_settings`."""

    replaces_ended: bool
    """Whether a replica that ended is started again by the platform itself."""


Capability = TypeVar("Capability")


def require(platform: Platform, capability: type[Capability]) -> Capability:
    """Return the platform as `capability`.

    Raises:
        Unsupported: it is not capable of it.
    """
    if not isinstance(platform, capability):
        raise Unsupported(f"platform '{platform.name}' has no capability '{capability.__name__}'")
    return platform


def read_metrics(
    platform: Observing, deployment: Deployment, *services: str, timeout_s: float = 10.0
) -> dict[str, str]:
    """Prometheus texts of the running replicas of some services, by name.

    Raises:
        Unready: one has not told them within `timeout_s`.
    """
    texts, problems = platform.metrics(deployment, *services, timeout_s=timeout_s)
    if problems:
        raise Unready("; ".join(problems))
    return texts
