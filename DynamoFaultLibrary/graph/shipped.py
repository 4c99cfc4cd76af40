"""Where graph files are found."""

from difflib import get_close_matches
from pathlib import Path

from DynamoFaultLibrary.errors import GraphError


def shipped_graphs() -> Path:
    """Directory of the graphs that come with this project: inside the installed package, or in the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "resources" / "graphs"
    return installed if installed.is_dir() else package.parent / "resources" / "graphs"


def find_graph(name: str, *nearby: Path) -> Path:
    """Find a graph file: as a path, in the directories `nearby`, or among the shipped ones.

    Raises:
        GraphError: it is nowhere; the message proposes those with similar names, or lists the shipped ones.
    """
    places = list(dict.fromkeys(place.absolute() for place in [Path.cwd(), *nearby, shipped_graphs()]))
    for place in places:
        if (place / name).is_file():
            return place / name
    folders = " or ".join(map(str, places))
    known = {path.stem: path.name for place in reversed(places) for path in place.glob("*.y*ml")}
    near = get_close_matches(Path(name).stem, known)
    if near:
        proposals = " or ".join(known[stem] for stem in near)
        raise GraphError(f"no graph file '{name}' in {folders}; did you mean {proposals}?")
    names = sorted(path.name for path in shipped_graphs().glob("*.yaml"))
    raise GraphError(f"no graph file '{name}' in {folders}; shipped are {names}")
