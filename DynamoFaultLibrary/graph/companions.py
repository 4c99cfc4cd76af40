"""ConfigMaps and Secrets that come in one file with a graph."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from DynamoFaultLibrary.errors import GraphError

Document = dict[str, Any]


def config_map(documents: Sequence[Document], name: str, namespace: str | None) -> dict[str, str] | None:
    """Data of a ConfigMap as text; None when it is not among the documents."""
    found = _find(documents, "ConfigMap", name, namespace)
    return None if found is None else _entries(found, "data", _text) | _entries(found, "binaryData", _decoded)


def secret(documents: Sequence[Document], name: str, namespace: str | None) -> dict[str, str] | None:
    """Decoded data of a Secret; `stringData` wins over `data`, as in Kubernetes."""
    found = _find(documents, "Secret", name, namespace)
    return None if found is None else _entries(found, "data", _decoded) | _entries(found, "stringData", _text)


def _find(documents: Sequence[Document], kind: str, name: str, namespace: str | None) -> Document | None:
    """The document of that kind and name which kubectl would put into the graph's namespace.

    Where only one of the two names a namespace, the user's `kubectl -n` decides, so they may be one.
    """
    found = []
    for document in documents:
        metadata = document.get("metadata")
        if document.get("kind") == kind and isinstance(metadata, dict) and str(metadata.get("name")) == name:
            found.append((metadata.get("namespace"), document))
    exact = [document for own, document in found if own == namespace]
    open_ones = [document for own, document in found if None in (own, namespace)]
    return next(iter([*exact, *open_ones]), None)


def _entries(document: Document, field: str, read: Callable[[str], str]) -> dict[str, str]:
    where = f"{field} of {document['kind']} '{document['metadata']['name']}'"
    entries = document.get(field) or {}
    if not isinstance(entries, dict):
        raise GraphError(f"{where} must be a map of strings, not a {type(entries).__name__}")
    found = {}
    for key, entry in entries.items():
        if entry is not None and not isinstance(entry, str):
            raise GraphError(
                f"'{key}' in {where} must be a string, not a {type(entry).__name__} as here; put it into quotes"
            )
        try:
            found[str(key)] = read(entry or "")
        except (binascii.Error, ValueError):
            hint = "; plain text belongs into stringData" if document["kind"] == "Secret" else ""
            raise GraphError(f"'{key}' in {where} is not base64{hint}") from None
    return found


def _text(entry: str) -> str:
    return entry


def _decoded(entry: str) -> str:
    words = entry.replace("\n", "").replace("\r", "")
    return base64.b64decode(words, validate=True).decode("utf-8", "surrogateescape")
