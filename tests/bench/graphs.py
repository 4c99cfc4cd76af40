"""Count how many real graphs load, come back equal, and take all edits as their user means them.

Usage: python tests/bench/graphs.py DIR… [--files]

What a process gets is told by running the graphs' commands among stand-ins (`tests/graph_oracle.py`).
"""

import argparse
import re
import sys
from collections import defaultdict
from dataclasses import dataclass, field
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[2]))

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.edits import Change, Edits, apply_edits
from DynamoFaultLibrary.graph.manifest import Manifest
from tests.graph_judge import ALL, FIELDS, Seen, comments, how_equal, judge, only


@dataclass
class Count:
    """What was found, by what it was; each with the places."""

    found: dict[str, dict[str, list[str]]] = field(default_factory=lambda: defaultdict(lambda: defaultdict(list)))

    def add(self, group: str, what: str, place: str) -> None:
        """Note one."""
        self.found[group][what].append(place)

    def total(self, group: str) -> int:
        """How many are in a group."""
        return sum(map(len, self.found[group].values()))


def main() -> None:
    """Count, print; exit 1 if an edit was lost in silence."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("--files", action="store_true", help="list each file, not three of a kind")
    given = parser.parse_args()
    paths = sorted(path for folder in given.folders for path in folder.rglob("*.y*ml"))
    count = Count()
    for path in paths:
        _file(path, count)
    _print(count, len(paths), None if given.files else 3)
    sys.exit(1 if count.total("LOST IN SILENCE") else 0)


def _file(path: Path, count: Count) -> None:
    text = path.read_text(encoding="utf-8")
    try:
        manifest = Manifest.load(path)
        names = manifest.graph_names
        for name in names:
            manifest.graph(name)
    except GraphError as error:
        count.add("refused to load", _general(str(error)), str(path))
        return
    except Exception as error:  # what comes out raw is counted
        count.add("RAW ERROR", f"load: {type(error).__name__}: {error}"[:160], str(path))
        return
    count.add("loaded", "files", str(path))
    written = manifest.to_yaml()
    count.add("comes back", how_equal(text, written), str(path))
    for name in names:
        _graph(path, name, count)


def _graph(path: Path, name: str, count: Count) -> None:
    place = f"{path}#{name}"
    count.add("graphs", "graphs", place)
    before = Seen(path.read_text(encoding="utf-8"), name, world=ALL.env)
    refused = {}
    taken = []
    for edit in FIELDS:
        said = _try(path, name, only(ALL, edit))
        if isinstance(said, str):
            refused[edit] = said
        else:
            taken.append(edit)
    for edit, sentence in refused.items():
        group = "refused, nothing to set" if before.has_nothing_for(edit) else "refused edit"
        count.add("RAW ERROR" if sentence.startswith("RAW") else group, f"{edit}: {_general(sentence)}", place)
    lost: list[str] = []
    result = _try(path, name, only(ALL, *taken))
    if isinstance(result, str):
        count.add("RAW ERROR" if result.startswith("RAW") else "refused edit", f"together: {_general(result)}", place)
    else:
        text, changes = result
        lost = list(judge(before, Seen(text, name), only(ALL, *taken), changes))
        if missing := comments(before.text) - comments(text):
            count.add("comments lost by an edit", f"{sum(missing.values())}", place)
    for sentence in lost:
        group = "unproven" if sentence.startswith("unproven") else "LOST IN SILENCE"
        count.add(group, re.sub(r"^\S+: ", "", _general(sentence)), f"{place} {sentence}")
    for service, (mine, its) in _roles(path, name, before).items():
        count.add("roles that differ", f"{mine}, but library says {its}", f"{place} {service}")
    justified = all(before.has_nothing_for(edit) for edit in refused)
    count.add("edits", "lost or unproven" if lost else "all as meant" if justified else "some refused", place)


def _try(path: Path, name: str, edits: Edits) -> tuple[str, list[Change]] | str:
    try:
        manifest = Manifest.load(path)
        changes = apply_edits(manifest.graph(name), edits)
        return manifest.to_yaml(), changes
    except GraphError as error:
        return str(error)
    except Exception as error:  # the same
        return f"RAW {type(error).__name__}: {error}"


def _roles(path: Path, name: str, before: Seen) -> dict[str, tuple[str, str]]:
    services = Manifest.load(path).graph(name).services
    found = {service: (role, str(services[service].role)) for service, role in before.roles.items()}
    return {service: pair for service, pair in found.items() if pair[0] != pair[1]}


def _general(sentence: str) -> str:
    """A sentence without the names in it, so that its kind can be counted."""
    short = re.sub(r"(graph file |graph )?'[^']*'", "'…'", sentence)
    return re.sub(r"\[[^\]]*\]|\([^)]*\)|\d+", "…", short)[:170]


def _print(count: Count, files: int, most: int | None) -> None:
    graphs = count.total("graphs")
    print(f"{files} files, {count.total('loaded')} loaded, {graphs} graphs")
    edits = count.found["edits"]
    for kind, places in sorted(edits.items(), key=lambda item: -len(item[1])):
        print(f"  edits {kind}: {len(places)} graphs, {100 * len(places) / max(graphs, 1):.1f} %")
    for group, kinds in count.found.items():
        if group in ("loaded", "graphs", "edits"):
            continue
        print(f"\n{group}: {count.total(group)}")
        for kind, places in sorted(kinds.items(), key=lambda item: -len(item[1])):
            print(f"  {len(places):4} {kind}")
            shown = [] if group == "comes back" and not kind.startswith("NOT") else places
            for place in shown[:most]:
                print(f"         {place}")


if __name__ == "__main__":
    main()
