"""A file of Kubernetes documents, graphs and their companions among them."""

from pathlib import Path
from typing import Any

import yaml

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.document import KIND, Graph


class Manifest:
    """All documents of a file, in their order."""

    def __init__(self, documents: list[Any], source: str) -> None:
        self.documents = documents
        self.source = source

    @classmethod
    def load(cls, path: Path) -> "Manifest":
        """Read a YAML file.

        Raises:
            GraphError: the file is missing, is not YAML, or holds no graph.
        """
        try:
            documents = list(yaml.safe_load_all(path.read_text(encoding="utf-8")))
        except OSError as error:
            raise GraphError(f"cannot read graph file '{path}': {error.strerror}") from error
        except (yaml.YAMLError, ValueError) as error:
            raise GraphError(f"graph file '{path}' is not YAML: {' '.join(str(error).split())}") from error
        manifest = cls(documents, str(path))
        if not manifest.graph_names:
            kinds = [item.get("kind") if isinstance(item, dict) else type(item).__name__ for item in documents]
            raise GraphError(f"'{path}' must hold a {KIND}, but its documents are of kind {kinds}")
        return manifest

    @property
    def graph_names(self) -> list[str]:
        """Names of the graphs, in their order."""
        return [graph.name for graph in self._graphs()]

    def graph(self, name: str | None = None) -> Graph:
        """The graph of that name; without one, the only graph.

        Raises:
            GraphError: there is none of that name, or there are several and none is named.
        """
        found = [graph for graph in self._graphs() if name in (None, graph.name)]
        if len(found) != 1:
            wanted = f"no graph '{name}'" if name else "more than one graph"
            raise GraphError(f"'{self.source}' holds {wanted}; it has {self.graph_names}")
        return found[0]

    def to_yaml(self) -> str:
        """All documents as YAML."""
        return yaml.safe_dump_all(self.documents, sort_keys=False)

    def _graphs(self) -> list[Graph]:
        graphs = [item for item in self.documents if isinstance(item, dict) and item.get("kind") == KIND]
        others = [item for item in self.documents if isinstance(item, dict) and item.get("kind") != KIND]
        return [Graph(item, self.source, others) for item in graphs]
