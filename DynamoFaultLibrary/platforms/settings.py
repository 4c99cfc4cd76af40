"""How a graph is deployed, beside what it says itself."""

from collections.abc import Iterator, Set
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph.edits import Edits
from DynamoFaultLibrary.times import time_problem

ETCD, NATS = "etcd", "nats"
"""Names of the services that a platform adds to a deployment."""

_TAKEN_BY = {
    "network": "platforms where replicas may share a host",
    "image": "platforms that run containers",
    "interpreter": "platforms that start processes on this machine",
    "http_port": "platforms whose frontends listen on this machine",
}
"""Settings that not all platforms have, and who has them."""
_MEMBERS = (1, 3, 5)
_PORTS = range(1, 65536)


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
    """How to deploy a graph, beside what the graph itself says; None: not given, so as the platform does by itself."""

    discovery: Discovery | None = None
    etcd_members: int | None = None
    """1 unless given; without etcd it has no effect."""
    request_plane: RequestPlane | None = None
    event_plane: EventPlane | None = None
    network: NetworkMode | None = None
    interpreter: str | None = None
    http_port: int | None = None
    ready_responses: int = 2
    timeout: timedelta = timedelta(seconds=120)
    edits: Edits = field(default_factory=Edits)
    """What was edited on purpose: where that contradicts a setting, it is an error; the graph itself gives way."""

    @property
    def image(self) -> str | None:
        """Container image of all services; it is in the graph already."""
        return self.edits.image


def check_settings(settings: DeploySettings, platform: str, own: Set[str]) -> None:
    """See that each setting means something, and has an effect on a platform; `own` is its `Platform.settings`.

    Raises:
        DeploymentError: one does not; the message names it as the keyword's argument.
    """
    for problem in _problems(settings, platform, own):
        raise DeploymentError(problem)


def _problems(settings: DeploySettings, platform: str, own: Set[str]) -> Iterator[str]:
    for name, who in _TAKEN_BY.items():
        value = getattr(settings, name)
        if value is not None and not {name, f"{name}={value}"} & own:
            declared = [one for one in own if one.startswith(f"{name}=")]
            why = f"it is always {declared[0]}" if declared else f"only {who} take it"
            yield f"{name}={value} has no effect on platform '{platform}': {why}"
    if problem := time_problem(settings.timeout):
        yield f"timeout {problem}"
    if settings.ready_responses < 1:
        yield f"ready_responses must be 1 or more, not {settings.ready_responses}"
    if settings.http_port is not None and settings.http_port not in _PORTS:
        yield f"http_port must be from 1 to {_PORTS[-1]}, not {settings.http_port}"
    if settings.etcd_members is not None:
        if settings.discovery is not Discovery.ETCD:
            yield f"etcd_members={settings.etcd_members} has no effect without discovery=etcd"
        if settings.etcd_members not in _MEMBERS:
            yield f"etcd_members must be 1, 3 or 5, not {settings.etcd_members}"
