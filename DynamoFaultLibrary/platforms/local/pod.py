"""What a service's pod would be: its containers, volumes, labels and fields, in either shape of the CRD."""

import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.graph.program import NOTHING, CommandLine

Document = dict[str, Any]

NAMESPACE = "default"
"""The Kubernetes namespace that a pod believes to be in, unless its graph names one."""

MAIN = "main"
_WORKER_TYPES = frozenset({"worker", "prefill", "decode", "main"})
_WORKER_ENVIRONMENT = {"DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": '["generate"]'}
"""The operator has a worker's ``/health`` say whether its endpoint serves; a readiness probe may ask for that."""
_FRONTEND_COMMAND = ["python3", "-m", "dynamo.frontend"]


@dataclass(frozen=True)
class Container:
    """One container of a pod, and when it runs."""

    name: str
    document: Document
    words: list[str]
    is_init: bool = False
    """It runs to its end before the others start."""

    @property
    def is_main(self) -> bool:
        """Whether it is what the service is there for; faults hit it."""
        return self.name == MAIN

    def entries(self, key: str) -> list[Document]:
        """A list of maps, such as `env`, `envFrom`, `volumeMounts`, `ports`."""
        return entries(self.document, key, self.name)

    @property
    def port_names(self) -> dict[str, int]:
        """Named container ports."""
        ports = [port for port in self.entries("ports") if "name" in port]
        for port in ports:
            if not isinstance(port.get("containerPort"), int):
                given = port.get("containerPort")
                raise GraphError(
                    f"containerPort of port '{port['name']}' of '{self.name}' must be a number, not {given!r}"
                )
        return {str(port["name"]): port["containerPort"] for port in ports}


@dataclass(frozen=True)
class Pod:
    """One replica's pod."""

    graph: Graph
    service: Service
    index: int
    name: str
    address: str
    document: Document
    metadata: Document = field(default_factory=dict)

    @property
    def namespace(self) -> str:
        """Its Kubernetes namespace."""
        return self.graph.namespace or NAMESPACE

    @property
    def volumes(self) -> list[Document]:
        """Its volumes, those that the operator makes for a service's own fields included."""
        own = [
            {"name": claim, "persistentVolumeClaim": {"claimName": claim}}
            for mount in self._service_mounts()
            if (claim := str(mount["name"])) not in {volume.get("name") for volume in self._pod_volumes()}
        ]
        return [*self._pod_volumes(), *{volume["name"]: volume for volume in own}.values()]

    def mounts(self, container: Container) -> list[Document]:
        """Volume mounts of a container; those of the service's own fields are the main one's."""
        return [*(self._service_mounts() if container.is_main else []), *container.entries("volumeMounts")]

    def _pod_volumes(self) -> list[Document]:
        return entries(self.document, "volumes", self.service.name)

    def _service_mounts(self) -> list[Document]:
        """v1alpha1's `volumeMounts` name claims of the graph; a compilation cache has its place by the operator."""
        document = self.service.document
        found = [
            {"name": mount["name"], "mountPath": mount["mountPoint"]}
            for mount in entries(document, "volumeMounts", self.service.name)
            if mount.get("name") and mount.get("mountPoint")
        ]
        cache = document.get("compilationCache")
        if isinstance(cache, dict) and cache.get("pvcName") and cache.get("mountPath"):
            found.append({"name": cache["pvcName"], "mountPath": cache["mountPath"]})
        return found

    def fields(self) -> dict[str, str]:
        """What `fieldRef` can name."""
        own = {
            "metadata.name": self.name,
            "metadata.namespace": self.namespace,
            "metadata.uid": str(uuid.uuid5(uuid.NAMESPACE_DNS, self.name)),
            "spec.nodeName": "localhost",
            "spec.serviceAccountName": str(self.document.get("serviceAccountName", "default")),
            "status.podIP": self.address,
            "status.podIPs": self.address,
            "status.hostIP": "127.0.0.1",
            "status.hostIPs": "127.0.0.1",
        }
        for kind in ("labels", "annotations"):
            holders = (self.service.document, self.metadata)
            found = {k: v for one in holders for k, v in mapping(one, kind, self.service.name).items()}
            own.update({f"metadata.{kind}['{key}']": str(value) for key, value in found.items()})
            own[f"metadata.{kind}"] = "\n".join(f'{key}="{value}"' for key, value in sorted(found.items()))
        return own

    def operator_environment(self) -> dict[str, str]:
        """What the operator gives each container of it."""
        document, fields = self.service.document, self.fields()
        is_global = document.get("globalDynamoNamespace") is True
        computed = "dynamo" if is_global else f"{self.namespace}-{self.graph.name.replace('.', '-')}"
        kind = str(document.get("componentType") or document.get("type") or "worker")
        return {
            **(_WORKER_ENVIRONMENT if kind in _WORKER_TYPES else {}),
            "DYN_NAMESPACE": str(document.get("dynamoNamespace") or computed),
            "DYN_COMPONENT": kind,
            "DYN_PARENT_DGD_K8S_NAME": self.graph.name,
            "DYN_PARENT_DGD_K8S_NAMESPACE": self.namespace,
            "POD_NAME": fields["metadata.name"],
            "POD_NAMESPACE": fields["metadata.namespace"],
            "POD_UID": fields["metadata.uid"],
        }

    def containers(self) -> list[Container]:
        """All containers in the order in which they start: init containers, sidecars, then the main one."""
        main = Container(MAIN, self.service.container, self.service.command)
        return [*self._init_containers(), *self._sidecars(), main]

    def _init_containers(self) -> Iterator[Container]:
        for document in entries(self.document, "initContainers", self.service.name):
            restarts = document.get("restartPolicy") == "Always"  # a native sidecar
            name = str(document.get("name") or "")
            yield Container(name, document, words(document, f"container '{name}'"), is_init=not restarts)

    def _sidecars(self) -> Iterator[Container]:
        designated = self.service.document.get("frontendSidecar")
        for document in entries(self.document, "containers", self.service.name):
            name = str(document.get("name") or "")
            if name != MAIN:
                line = _sidecar_words(document) if name == designated else words(document, f"container '{name}'")
                yield Container(name, document, line)
        if isinstance(designated, dict):
            document = {**designated, "env": designated.get("envs") or []}
            yield Container("sidecar-frontend", document, _sidecar_words(document))


def make_pod(graph: Graph, service: Service, index: int, name: str, address: str) -> Pod:
    """The pod of one replica."""
    document = service.document
    template = mapping(document, "podTemplate", service.name)
    metadata = mapping(document, "extraPodMetadata", service.name) or mapping(template, "metadata", service.name)
    return Pod(graph, service, index, name, address, service.pod, metadata)


def words(document: Document, owner: str) -> list[str]:
    """Command line of a container (or a probe) that no service view knows.

    Raises:
        GraphError: it is not a list.
    """
    return CommandLine(document, NOTHING, owner).words


def _sidecar_words(document: Document) -> list[str]:
    """The operator's default command of a frontend, which args of the user's follow or replace."""
    given = words(document, "the frontend's sidecar")
    if document.get("command"):
        return given
    return [*_FRONTEND_COMMAND[: 1 if given[:1] == ["-m"] else 3], *given]


def mapping(parent: Mapping[str, Any], key: str, owner: str) -> Document:
    """A map below `key`; an empty one where there is none.

    Raises:
        GraphError: it is something else.
    """
    found = parent.get(key)
    if found is not None and not isinstance(found, dict):
        raise GraphError(f"'{key}' of service '{owner}' must be a map of fields, not {found!r}")
    return found or {}


def entries(parent: Mapping[str, Any], key: str, owner: str) -> list[Document]:
    """A list of maps below `key`; an empty one where there is none.

    Raises:
        GraphError: it is something else.
    """
    found = parent.get(key) or []
    if not isinstance(found, list) or any(not isinstance(entry, dict) for entry in found):
        raise GraphError(f"'{key}' of '{owner}' must be a list of maps, not {found!r}")
    return found
