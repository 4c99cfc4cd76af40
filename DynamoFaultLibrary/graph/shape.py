"""Whether the fields of a graph that are read here have the shapes that Kubernetes knows them in."""

from typing import Any

from DynamoFaultLibrary.errors import GraphError

_VALUE_FROM: Any = {"configMapKeyRef": {}, "secretKeyRef": {}, "fieldRef": {}, "resourceFieldRef": {}}
_VARIABLES: Any = [{"name": str, "valueFrom": _VALUE_FROM}]
_RESOURCES: Any = {"limits": {"custom": {}}, "requests": {"custom": {}}, "claims": [{}]}
_CONTAINER: Any = {"env": _VARIABLES, "envFrom": [{"configMapRef": {}, "secretRef": {}}], "resources": _RESOURCES}
_VOLUME: Any = {"configMap": {}, "secret": {}, "projected": {"sources": [{"configMap": {}, "secret": {}}]}}
_POD: Any = {
    "mainContainer": _CONTAINER,
    "containers": [_CONTAINER],
    "initContainers": [_CONTAINER],
    "volumes": [_VOLUME],
    "resourceClaims": [{}],
}
SPEC: Any = {"envs": _VARIABLES, "env": _VARIABLES}
"""Fields of the graph's `spec` but its services: a map has its fields, a list what its entries are, `str` a name."""
SERVICE: Any = {
    "envs": _VARIABLES,
    "resources": _RESOURCES,
    "extraPodSpec": _POD,
    "podTemplate": {"spec": _POD},
    "multinode": {},
}
"""Fields of a service, those of both versions."""

_CLAIM: Any = {"devices": {"requests": [{"exactly": {}, "firstAvailable": [{}]}]}}
COMPANION: Any = {"ResourceClaim": {"spec": _CLAIM}, "ResourceClaimTemplate": {"spec": {"spec": _CLAIM}}}
"""Documents beside a graph, by kind."""


def check(value: object, shape: Any, where: str, path: str = "") -> None:
    """See that a value has a shape; fields may be missing or null.

    Raises:
        GraphError: a field has another one.
    """
    if isinstance(shape, dict) and isinstance(value, dict):
        for field, inner in shape.items():
            if inner is str or value.get(field) is not None:
                check(value.get(field), inner, where, f"{path}.{field}" if path else field)
    elif isinstance(shape, list) and isinstance(value, list):
        for index, entry in enumerate(value):
            check(entry, shape[0], where, f"{path}[{index}]")
    elif shape is not str or not isinstance(value, str) or not value:
        kind = "a map of fields" if isinstance(shape, dict) else "a list" if isinstance(shape, list) else "a word"
        raise GraphError(f"{path} of {where} must be {kind}, not {value!r}")
