"""The environment of a container as a pod would have it: literals, references, ConfigMaps, Secrets, fields."""

import os
import re
from collections.abc import Callable, Mapping, Set
from dataclasses import dataclass, field

from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.graph.program import text_of
from DynamoFaultLibrary.graph.references import expand, references
from DynamoFaultLibrary.platforms.local.pod import Container, Document, Pod, entries, mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.-]*")
FROM = "envFrom "
SECRET = "(secret)"  # noqa: S105  # what is told instead
_SECRET = "secret"  # noqa: S105  # the start of fields' names
STORES = {"configMap": "ConfigMap", _SECRET: "Secret"}
"""Where references lead, by the start of their field's name."""
_SUFFIXES = {
    "": 1,
    "m": 1e-3,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
    "Ki": 2**10,
    "Mi": 2**20,
    "Gi": 2**30,
    "Ti": 2**40,
}


@dataclass
class Variables:
    """Variables that a graph gives a container."""

    values: dict[str, str] = field(default_factory=dict)
    missing: dict[str, str] = field(default_factory=dict)
    """By name (of a variable, or ``envFrom``) what it should come from and why that cannot be; it stays unset."""
    optional: set[str] = field(default_factory=set)
    """Those of the missing ones that the graph can do without."""
    secrets: set[str] = field(default_factory=set)
    """Those whose values come out of Secrets, or from what the user's own shell has."""
    private: Set[str] = frozenset()
    """Variables of the user's own shell."""

    def set(self, name: str, value: str, *, is_secret: bool = False) -> None:
        """A value replaces an earlier one, or the lack of one."""
        self.values[name] = value
        self.missing.pop(name, None)
        (self.secrets.add if is_secret else self.secrets.discard)(name)

    def why_missing(self, name: str, known: Mapping[str, str]) -> str:
        """Why a variable that something refers to cannot be had; empty when it can, or nobody was to set it."""
        if name in self.missing or name in self.values or name in known:
            return self.missing.get(name, "")
        sources = [why for what, why in self.missing.items() if what.startswith(FROM)]
        return f"nothing here sets it, and {sources[0]}" if sources else ""

    def lack(self, name: str, why: str, *, optional: bool = False) -> None:
        """It cannot be had."""
        self.values.pop(name, None)
        self.missing[name] = why
        if optional:
            self.optional.add(name)


def container_variables(
    pod: Pod,
    container: Container,
    known: Mapping[str, str],
    map_port: Callable[[str, str, bool], str],
    private: Set[str] = frozenset(),
) -> Variables:
    """All variables that the graph gives a container: `envFrom`, then its own entries, the later winning.

    `known` is what its entries may refer to besides each other; what refers to the `private` ones of them is as secret
    as they are. `map_port` returns the value of a variable whose name ends in ``_PORT``, and is told whether that is
    secret: replicas share this host, so they get ports of their own.
    """
    found = Variables(private=private)
    for source in _sources(pod, container):
        _add_source(found, pod.graph, source)
    for entry in _env_entries(pod, container):
        _add_entry(found, pod, container, entry, known)
    for name, value in found.values.items():
        if name.endswith("_PORT") and value.isdecimal():
            found.values[name] = map_port(name, value, name in found.secrets)
    return found


def _sources(pod: Pod, container: Container) -> list[Document]:
    holder = pod.service.document if container.is_main else container.document
    secret = holder.get("envFromSecret")
    of_service = [{"secretRef": {"name": secret}}] if secret else []
    return [*of_service, *container.entries("envFrom")]


def _env_entries(pod: Pod, container: Container) -> list[Document]:
    """Those of the graph, of the service and of the container; the operator gives the first two to the main one."""
    spec, service = pod.graph.document["spec"], pod.service
    graphs = entries(spec, "envs", pod.graph.name) or entries(spec, "env", pod.graph.name)
    of_service = entries(service.document, "envs", service.name) if container.is_main else []
    of_graph = graphs if container.is_main or not container.is_init else []
    return [*of_graph, *of_service, *container.entries("env")]


def _add_source(found: Variables, graph: Graph, source: Document) -> None:
    prefix = str(source.get("prefix") or "")
    for kind, called in STORES.items():
        reference = mapping(source, f"{kind}Ref", "envFrom")
        if not reference.get("name"):
            continue
        name = str(reference["name"])
        data = graph.near.data(called, name)
        if data is None:
            why = f"{called} '{name}' is not in the graph's file"
            found.lack(f"{FROM}{name}", why, optional=bool(reference.get("optional")))
            continue
        for key, value in data.items():
            if _NAME.fullmatch(prefix + key):
                found.set(prefix + key, value, is_secret=kind == _SECRET)


def _add_entry(found: Variables, pod: Pod, container: Container, entry: Document, known: Mapping[str, str]) -> None:
    name = str(entry.get("name", ""))
    source = mapping(entry, "valueFrom", f"env {name}")
    if not source:
        text = text_of(entry.get("value"))
        used = references(text)
        lacking = next((one for one in sorted(used) if found.why_missing(one, known)), None)
        if lacking:
            found.lack(name, found.why_missing(lacking, known), optional=lacking in found.optional)
        else:
            is_secret = bool(used & found.secrets or (used - found.values.keys()) & found.private)
            found.set(name, expand(text, {**known, **found.values}.get), is_secret=is_secret)
        return
    value, why, optional = _value_from(pod, container, source)
    if value is None:
        found.lack(name, why, optional=optional)
    else:
        found.set(name, value, is_secret=f"{_SECRET}KeyRef" in source)


def _value_from(pod: Pod, container: Container, source: Document) -> tuple[str | None, str, bool]:
    for kind, called in STORES.items():
        reference = mapping(source, f"{kind}KeyRef", "valueFrom")
        if reference:
            name, key = str(reference.get("name")), str(reference.get("key"))
            data = pod.graph.near.data(called, name)
            problem = f"is not in the graph's file (key '{key}')" if data is None else f"has no key '{key}'"
            return (data or {}).get(key), f"{called} '{name}' {problem}", bool(reference.get("optional"))
    reference = mapping(source, "fieldRef", "valueFrom")
    if reference:
        path = str(reference.get("fieldPath")).replace('"', "'")
        is_label = path.startswith(("metadata.labels[", "metadata.annotations["))
        return pod.fields().get(path, "" if is_label else None), f"a pod's field '{path}' is not known here", False
    reference = mapping(source, "resourceFieldRef", "valueFrom")
    if reference:
        resource = str(reference.get("resource"))
        return resource_field(pod, container, reference), f"resource field '{resource}' is not known here", False
    return None, f"valueFrom {sorted(source)} is not known", False


def resource_field(pod: Pod, container: Container, reference: Document) -> str | None:
    """An amount of the container's resources, as a whole number of the divisor; without one, what this machine has."""
    kind, _, name = str(reference.get("resource")).partition(".")
    resources = container.document.get("resources") or (
        pod.service.document.get("resources") if container.is_main else None
    )
    amounts = mapping(resources or {}, kind, "resources")
    machine = {"cpu": os.cpu_count() or 1, "memory": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")}
    amount = quantity(str(amounts.get(name) or machine.get(name)))
    divisor = quantity(str(reference.get("divisor") or "1")) or 1
    return None if amount is None else str(int(-(-amount // divisor)))


def quantity(text: str) -> float | None:
    """A Kubernetes quantity such as ``500m`` or ``2Gi`` as a number; None when it is none."""
    match = re.fullmatch(r"(\d+(?:\.\d*)?)([A-Za-z]*)", text)
    if match is None or match[2] not in _SUFFIXES:
        return None
    return float(match[1]) * _SUFFIXES[match[2]]
