"""A DynamoGraphDeployment document: found, parsed, edited, written."""

import copy
import re
from collections.abc import Iterator, Sequence
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import shape
from DynamoFaultLibrary.graph.companions import Companions
from DynamoFaultLibrary.graph.service import AlphaService, BetaService, Service, plain_variables
from DynamoFaultLibrary.graph.yaml_reading import Part
from DynamoFaultLibrary.graph.yaml_rendering import dump
from DynamoFaultLibrary.graph.yaml_writing import write

KIND = "DynamoGraphDeployment"
SHAPES = {"nvidia.com/v1alpha1": "services", "nvidia.com/v1beta1": "components"}


class Graph:
    """A graph: a name and services. Edits change the document; whatever they do not touch stays as it was."""

    def __init__(
        self,
        document: dict[str, Any],
        source: str,
        companions: Sequence[dict[str, Any]] = (),
        part: Part | None = None,
    ) -> None:
        self.document = document
        self.source = source
        self.part = part
        """The text that the document was read from, if it stands on its own there."""
        self.companions = list(companions)
        """The other documents of the file, ConfigMaps and claims among them; graphs are left out."""
        _check_metadata(document, source)
        self.near = Companions(self.companions, self.namespace)
        """Those of them that may be in the graph's namespace."""
        self.services = {service.name: service for service in _services(document, source, self.near)}

    @property
    def name(self) -> str:
        """`metadata.name`."""
        return str(self.document["metadata"]["name"])

    @property
    def frontend(self) -> Service:
        """The service that clients talk to.

        Raises:
            GraphError: the graph has none.
        """
        for service in self.services.values():
            if service.is_frontend:
                return service
        beside = [service.name for service in self.services.values() if service.document.get("frontendSidecar")]
        hint = f"; that of {beside} is a sidecar, whose options are set in the file" if beside else ""
        raise GraphError(
            f"graph '{self.name}' has no frontend among its services {list(self.services)} ({self.source}){hint}"
        )

    @property
    def workers(self) -> list[Service]:
        """Services that run an engine (worker, prefill, decode, encode), in the order of the document."""
        return [service for service in self.services.values() if service.role.is_worker]

    @property
    def others(self) -> list[Service]:
        """Services that are neither frontend nor worker: planner, router, EPP and the like."""
        return [item for item in self.services.values() if not (item.is_frontend or item.role.is_worker)]

    @property
    def environment(self) -> dict[str, str]:
        """Variables of the whole graph (`spec.envs` in v1alpha1, `spec.env` in v1beta1)."""
        spec = self.document["spec"]
        return plain_variables([*(spec.get("envs") or []), *(spec.get("env") or [])])

    @property
    def namespace(self) -> str | None:
        """`metadata.namespace`; without one, kubectl takes the namespace of its context."""
        found = self.document["metadata"].get("namespace")
        return None if found is None else str(found)

    def service(self, name: str) -> Service:
        """Return the service of that name.

        Raises:
            GraphError: there is none; the message lists those that exist.
        """
        try:
            return self.services[name]
        except KeyError:
            raise GraphError(f"graph '{self.name}' has no service '{name}'; it has {list(self.services)}") from None

    def copy(self) -> "Graph":
        """An independent copy."""
        return Graph(copy.deepcopy(self.document), self.source, copy.deepcopy(self.companions), self.part)

    def to_yaml(self) -> str:
        """The document as YAML: the text that it was read from, with what was edited changed in it."""
        if self.part is None:
            return dump(self.document)
        text = write(self.part, self.document)
        return re.sub(r"\A---[ \t]*\r?\n", "", text)


def _check_metadata(document: dict[str, Any], source: str) -> None:
    version = document.get("apiVersion")
    if str(version) not in SHAPES:
        raise GraphError(f"apiVersion of graph '{source}' must be one of {list(SHAPES)}, not {version!r}")
    if not isinstance(document.get("metadata"), dict) or not document["metadata"].get("name"):
        raise GraphError(f"graph '{source}' needs a metadata.name")


def _services(document: dict[str, Any], source: str, companions: Companions) -> Iterator[Service]:
    field = SHAPES[str(document["apiVersion"])]
    spec = document.get("spec")
    found = spec.get(field) if isinstance(spec, dict) else None
    if field == "services" and isinstance(found, dict) and found:
        found.update({name: {} for name, entry in found.items() if entry is None})
        entries = [(str(name), entry) for name, entry in found.items()]
    elif field == "components" and isinstance(found, list) and found:
        entries = [(str(entry.get("name", "")) if isinstance(entry, dict) else "", entry) for entry in found]
    else:
        wanted = "a map of services" if field == "services" else "a list of components"
        raise GraphError(f"spec.{field} of graph '{source}' must be {wanted} with an entry or more, not {found!r}")
    shape.check(spec, shape.SPEC, f"graph '{source}'", "spec")
    names = [name for name, _ in entries]
    if len(set(names)) < len(names):
        raise GraphError(f"spec.{field} of graph '{source}' names a service twice: {names}")
    view = AlphaService if field == "services" else BetaService
    for name, entry in entries:
        if not name or not isinstance(entry, dict):
            raise GraphError(f"spec.{field} of graph '{source}' has an entry without a name or fields: {entry!r}")
        shape.check(entry, shape.SERVICE, f"service '{name}' of graph '{source}'")
        service = view(name, entry, companions, spec)
        _ = service.replicas, service.gpus  # numbers that cannot be are refused here, whoever asks for them
        yield service
