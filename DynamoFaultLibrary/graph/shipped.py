"""Where graph files are found."""

from difflib import get_close_matches
from pathlib import Path

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.kustomize import is_kustomization


def shipped_graphs() -> Path:
    """Directory of the graphs that come with this project: inside the installed package, or in the source tree."""
    package = Path(__file__).parents[1]
    installed = package / "resources" / "graphs"
    return installed if installed.is_dir() else package.parent / "resources" / "graphs"


def find_graph(name: str, *nearby: Path) -> Path:
    """Find a graph file, or a folder to be built by kustomize: as a path, in the directories `nearby`, or shipped.

    Raises:
        GraphError: it is nowhere; the message proposes those with similar names, or lists the shipped ones.
    """
    places = list(dict.fromkeys(place.absolute() for place in [Path.cwd(), *nearby, shipped_graphs()]))
    if found := _exact(name, places):
        return found
    folders = " or ".join(map(str, places))
    known = {path.stem: path.name for place in reversed(places) for path in place.glob("*.y*ml")}
    near = get_close_matches(Path(name).stem, known)
    if near:
        proposals = " or ".join(known[stem] for stem in near)
        raise GraphError(f"no graph file '{name}' in {folders}; did you mean {proposals}?")
    names = sorted(path.name for path in shipped_graphs().glob("*.yaml"))
    raise GraphError(f"no graph file '{name}' in {folders}; shipped are {names}")


def _exact(name: str, places: list[Path]) -> Path | None:
    """The first place that has it; files come before folders, and of folders those that can be built."""
    paths = [place / name for place in places] if name else []
    folders = sorted((path for path in paths if path.is_dir()), key=lambda path: not is_kustomization(path))
    return next((path for path in paths if path.is_file()), None) or next(iter(folders), None)
