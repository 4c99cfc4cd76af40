"""How a graph is deployed, beside what it says itself."""

from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from DynamoFaultLibrary.graph.edits import Edits

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
