"""A file of Kubernetes documents, graphs and their companions among them."""

from collections import Counter
from collections.abc import Iterator
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.document import KIND, Graph
from DynamoFaultLibrary.graph.foreign import check_patch, check_placeholders, explain
from DynamoFaultLibrary.graph.kustomize import build
from DynamoFaultLibrary.graph.yaml_reading import NotYaml, Part, read, value
from DynamoFaultLibrary.graph.yaml_writing import write


class Manifest:
    """All documents of a text, in their order; `documents` are plain dicts and lists, to be edited in place."""

    def __init__(self, text: str, source: str) -> None:
        self.source = source
        try:
            self._parts = read(text)
            self.documents: list[Any] = [value(part.root) for part in self._parts]
        except NotYaml as error:
            check_placeholders(text, source)
            raise GraphError(f"graph file '{source}' is not YAML that Kubernetes can read: {error}") from None
        if not self._graphs():
            raise GraphError(explain(self.documents, source))
        for document, _ in self._graphs():
            check_placeholders(text, source, document)

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read a YAML file, or a folder with a kustomization.

        Raises:
            GraphError: the file is missing, is not YAML, or holds no graph, or the folder cannot be built.
        """
        if path.is_dir():
            return cls(build(path), str(path))
        try:
            text = path.read_bytes().decode("utf-8")
        except OSError as error:
            raise GraphError(f"cannot read graph file '{path}': {error.strerror}") from error
        except UnicodeDecodeError as error:
            raise GraphError(f"graph file '{path}' is not YAML: byte {error.start} is not UTF-8") from None
        check_patch(str(path))
        return cls(text, str(path))

    @property
    def graph_names(self) -> list[str]:
        """Names of the graphs, in their order."""
        return [_name(document) for document, _ in self._graphs()]

    def graph(self, name: str | None = None) -> Graph:
        """The graph of that name; without one, the only graph.

        Raises:
            GraphError: there is none of that name, or there are several and none is named.
        """
        names = self.graph_names
        found = [entry for entry in self._graphs() if name in (None, _name(entry[0]))]
        if not found:
            near = get_close_matches(str(name), names)
            proposal = f"; did you mean {' or '.join(near)}?" if near else f"; it has {names}"
            raise GraphError(f"'{self.source}' holds no graph '{name}'{proposal}")
        if len(found) > 1:
            raise GraphError(self._several(names, name))
        document, part = found[0]
        graphs = [id(entry) for entry, _ in self._graphs()]
        others = [entry for entry, _ in self._entries() if isinstance(entry, dict) and id(entry) not in graphs]
        return Graph(document, self.source, others, part)

    def to_yaml(self) -> str:
        """All documents: the text that was read, with what was edited changed in it."""
        return "".join(write(part, wanted) for part, wanted in zip(self._parts, self.documents, strict=True))

    def _several(self, names: list[str], name: str | None) -> str:
        twice = [graph for graph, count in Counter(names).items() if count > 1]
        if name is None and not twice:
            return f"'{self.source}' holds {len(names)} graphs: {names}; choose one, such as '{self.source}#{names[0]}'"
        told = name or twice[0]
        spaces = [
            str((document["metadata"]).get("namespace") or "none")
            for document, _ in self._graphs()
            if _name(document) == told
        ]
        return (
            f"'{self.source}' holds {len(spaces)} graphs named '{told}' (namespaces: {', '.join(spaces)}), which no "
            "name can tell apart; give each a file of its own"
        )

    def _graphs(self) -> list[tuple[dict[str, Any], Part | None]]:
        return [entry for entry in self._entries() if isinstance(entry[0], dict) and entry[0].get("kind") == KIND]

    def _entries(self) -> Iterator[tuple[Any, Part | None]]:
        """All documents, those of a `kind: List` one by one; they have no part of the text that is theirs alone."""
        for part, document in zip(self._parts, self.documents, strict=True):
            items = document.get("items") if isinstance(document, dict) and document.get("kind") == "List" else None
            if isinstance(items, list):
                yield from ((item, None) for item in items)
            else:
                yield document, part


def _name(document: dict[str, Any]) -> str:
    metadata = document.get("metadata")
    return str(metadata.get("name")) if isinstance(metadata, dict) else ""
