"""ConfigMaps and Secrets that come in one file with a graph."""

import base64
import binascii
from collections.abc import Callable, Sequence
from typing import Any

from DynamoFaultLibrary.errors import GraphError

Document = dict[str, Any]


class Companions:
    """The other documents of a graph's file, as far as they may be in the graph's namespace.

    Where only one of the two names a namespace, the user's `kubectl -n` decides, so they may be one.
    """

    def __init__(self, documents: Sequence[object] = (), namespace: str | None = None) -> None:
        found = [item for item in documents if isinstance(item, dict) and isinstance(item.get("metadata"), dict)]
        found = [item for item in found if namespace is None or item["metadata"].get("namespace") in (None, namespace)]
        self.documents: list[Document] = sorted(found, key=lambda item: item["metadata"].get("namespace") != namespace)
        """Those in just that namespace first."""

    def find(self, kind: str, name: object) -> Document | None:
        """The document of that kind and name."""
        alike = (item for item in self.documents if item.get("kind") == kind)
        return next((item for item in alike if item["metadata"].get("name") == name), None)

    def config_map_data(self, name: object) -> Document:
        """Data of a ConfigMap as it is, to be edited; empty when it is not among the documents."""
        found = self.find("ConfigMap", name)
        return _map(found, "data") if found else {}

    def data(self, kind: str, name: str) -> dict[str, str] | None:
        """Data of a ConfigMap or a Secret as text; None when it is not among the documents.

        Binary data that is no UTF-8 comes with surrogates for its bytes (`surrogateescape`).

        Raises:
            GraphError: its data is not base64, or nothing that Kubernetes would take.
        """
        found = self.find(kind, name)
        if found is None:
            return None
        if kind == "Secret":  # `stringData` wins, as in Kubernetes
            return _entries(found, "data", _decoded) | _entries(found, "stringData", str)
        return _entries(found, "data", str) | _entries(found, "binaryData", _decoded)


def _entries(document: Document, field: str, read: Callable[[str], str]) -> dict[str, str]:
    where = _where(document, field)
    found = {}
    for key, entry in _map(document, field).items():
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


def _map(document: Document, field: str) -> Document:
    entries = document.get(field) or {}
    if not isinstance(entries, dict):
        raise GraphError(f"{_where(document, field)} must be a map of strings, not a {type(entries).__name__}")
    return entries


def _where(document: Document, field: str) -> str:
    return f"{field} of {document['kind']} '{document['metadata']['name']}'"


def _decoded(entry: str) -> str:
    words = entry.replace("\n", "").replace("\r", "")
    return base64.b64decode(words, validate=True).decode("utf-8", "surrogateescape")
