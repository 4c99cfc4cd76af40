"""What to say of a file that is no graph that can run: another kind, a patch, a template."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.kustomize import patched_by

_PLACEHOLDER = re.compile(r"\$\{\w+\}|\$[A-Z_][A-Z0-9_]*\b|\{\{.*?\}\}")
_COMMENT = re.compile(r"(?m)^[ \t]*#.*$")
_SHOWN = 8
_KINDS = {
    "DynamoGraphDeploymentRequest": "asks the operator's profiler to find a graph; deploy it on a cluster, then take "
    "the DynamoGraphDeployment that it makes",
    "DynamoComponentDeployment": "is one component, which the operator makes out of a graph; take the graph",
    "CustomResourceDefinition": "defines a kind and holds no graph; take a manifest of that kind",
    "Kustomization": "is the recipe of a kustomization; name its folder, '{folder}'",
    "Component": "is a part of kustomizations; name the folder of an overlay that lists it",
    **dict.fromkeys(
        ("Deployment", "StatefulSet", "DaemonSet", "Pod", "Job", "LeaderWorkerSet", "PodCliqueSet"),
        "runs containers without the Dynamo operator; write them as services of a DynamoGraphDeployment",
    ),
}


def explain(documents: list[Any], source: str) -> str:
    """Why these documents are no graph, and what to name instead."""
    lead = f"'{source}' must hold a DynamoGraphDeployment, but "
    kinds = [item.get("kind") if isinstance(item, dict) else type(item).__name__ for item in documents]
    for kind in filter(lambda kind: isinstance(kind, str) and kind in _KINDS, kinds):
        return f"{lead}it is a {kind}, which {_KINDS[str(kind)].format(folder=Path(source).parent)}"
    if any(isinstance(item, list) and item and isinstance(item[0], dict) and "op" in item[0] for item in documents):
        return f"{lead}it is a JSON patch; name the folder of the kustomization that uses it"
    said = [kind for kind in kinds if kind != "NoneType"]
    return lead + (f"its documents are of kind {said}" if said else "it is empty")


def check_placeholders(text: str, source: str, document: dict[str, Any] | None = None) -> None:
    """Refuse a template: a text that is not YAML, or a graph whose names or numbers are placeholders.

    Placeholders elsewhere may be variables of a shell, or an image that is never pulled here.

    Raises:
        GraphError: it has placeholders; the message lists those of the text.
    """
    if document is not None and not any(_PLACEHOLDER.search(word) for word in _telling(document)):
        return
    found = list(dict.fromkeys(_PLACEHOLDER.findall(_COMMENT.sub("", text))))
    if not found:
        return
    more = f" and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    tool = "helm template" if found[0].startswith("{{") else "envsubst"
    raise GraphError(
        f"graph file '{source}' has placeholders {', '.join(found[:_SHOWN])}{more}: fill them in first, for example "
        f"with {tool}"
    )


def check_patch(source: str) -> None:
    """Refuse a file that is only a patch of the kustomization beside it.

    Raises:
        GraphError: it is; the message says of which.
    """
    if place := patched_by(Path(source)):
        raise GraphError(
            f"'{source}' is a patch of '{place}', no whole graph; name the folder of an overlay that builds with it"
        )


def _telling(document: dict[str, Any]) -> Iterator[str]:
    metadata = document.get("metadata")
    if isinstance(metadata, dict):
        yield str(metadata.get("name"))
    spec = document.get("spec")
    services = (spec.get("services") or spec.get("components")) if isinstance(spec, dict) else None
    named = services.items() if isinstance(services, dict) else [(None, item) for item in services or []]
    for name, service in named:
        yield str(name)
        if isinstance(service, dict):
            yield from (str(service.get(field)) for field in ("name", "replicas"))
