"""From what a user names to a graph: a file or a folder, found, read, and one of its graphs chosen."""

from pathlib import Path

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.document import Graph
from DynamoFaultLibrary.graph.manifest import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph

_MARK = "#"


def open_graph(file: str, name: str | None = None, *nearby: Path) -> tuple[Manifest, Graph]:
    """Find and read `file`, and choose its graph `name`; ``graphs.yaml#blue`` chooses as well.

    Edits of the graph are edits of the manifest.

    Raises:
        GraphError: there is no such file or graph, there are several and none is chosen, or two names are given.
    """
    place, chosen = _split(file, nearby)
    if chosen is not None and name is not None and chosen != name:
        raise GraphError(f"graph={name} and '{file}' say different things: it names graph '{chosen}'")
    manifest = Manifest.load(find_graph(place, *nearby))
    return manifest, manifest.graph(name or chosen)


def _split(file: str, nearby: tuple[Path, ...]) -> tuple[str, str | None]:
    """The file, and the name behind its last ``#``, unless a file is called so."""
    place, mark, name = file.rpartition(_MARK)
    if not mark or any((folder / file).exists() for folder in (Path.cwd(), *nearby)):
        return file, None
    if not place or not name:
        raise GraphError(f"'{file}' must be a file, or a file and the name of a graph in it: graphs.yaml#name")
    return place, name
