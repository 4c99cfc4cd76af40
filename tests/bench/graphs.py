"""Count how many real graphs load, come back equal, and take all edits as their user means them.

Usage: python tests/bench/graphs.py DIR… [--files]

What a process gets is told by running the graphs' commands among stand-ins (`tests/graph_oracle.py`).
"""

import argparse
import re
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import yaml

sys.path.insert(0, str(Path(__file__).parents[2]))

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.edits import Change, Edits, apply_edits
from DynamoFaultLibrary.graph.manifest import Manifest
from tests import graph_oracle as oracle
from tests.graph_sandbox import Process

ALL = Edits(
    replicas=3,
    model="tiny-model",
    image="example.org/x:1",
    env={"PROBE": "x"},
    args={"--max-num-seqs": "7"},
    frontend_args={"--http-host": "127.0.0.9"},
    router_mode="kv",
    migration_limit=3,
)
FRONTEND = {"--http-host": "127.0.0.9", "--router-mode": "kv", "--migration-limit": "3"}
FIELDS = ("replicas", "model", "image", "env", "args", "frontend_args", "router_mode", "migration_limit")


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
    except GraphError as error:
        count.add("refused to load", _general(str(error)), str(path))
        return
    except Exception as error:  # noqa: BLE001  # what comes out raw is counted
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
    before = Seen(path.read_text(encoding="utf-8"), name)
    refused = {}
    taken = []
    for edit in FIELDS:
        said = _try(path, name, only(edit))
        if isinstance(said, str):
            refused[edit] = said
        else:
            taken.append(edit)
    for edit, sentence in refused.items():
        group = "refused, nothing to set" if _without_object(before, edit) else "refused edit"
        count.add("RAW ERROR" if sentence.startswith("RAW") else group, f"{edit}: {_general(sentence)}", place)
    lost: list[str] = []
    result = _try(path, name, only(*taken))
    if isinstance(result, str):
        count.add("RAW ERROR" if result.startswith("RAW") else "refused edit", f"together: {_general(result)}", place)
    else:
        text, changes = result
        lost = list(judge(before, Seen(text, name), set(taken), changes))
        if missing := comments(before.text) - comments(text):
            count.add("comments lost by an edit", f"{sum(missing.values())}", place)
    for sentence in lost:
        group = "unproven" if sentence.startswith("unproven") else "LOST IN SILENCE"
        count.add(group, re.sub(r"^\S+: ", "", _general(sentence)), f"{place} {sentence}")
    for service, (mine, its) in _roles(path, name, before).items():
        count.add("roles that differ", f"{mine}, but library says {its}", f"{place} {service}")
    justified = all(_without_object(before, edit) for edit in refused)
    count.add("edits", "lost or unproven" if lost else "all as meant" if justified else "some refused", place)


def only(*names: str) -> Edits:
    """Those of all edits."""
    return replace(Edits(), **{name: getattr(ALL, name) for name in names})


def _try(path: Path, name: str, edits: Edits) -> tuple[str, list[Change]] | str:
    try:
        manifest = Manifest.load(path)
        changes = apply_edits(manifest.graph(name), edits)
        return manifest.to_yaml(), changes
    except GraphError as error:
        return str(error)
    except Exception as error:  # noqa: BLE001  # the same
        return f"RAW {type(error).__name__}: {error}"


class Seen:
    """A graph, and what its services run."""

    def __init__(self, text: str, name: str) -> None:
        self.text, self.name = text, name
        self.mains = oracle.mains(text, name)
        self.processes = {service: main.processes(own=False) for service, main in self.mains.items()}
        self.roles = {service: oracle.role(main, own=False) for service, main in self.mains.items()}

    @property
    def models(self) -> set[str]:
        """What the workers call their model."""
        return set().union(*(oracle.models_named(self.processes[service]) for service in self.workers))

    @property
    def workers(self) -> list[str]:
        """The services that run an engine."""
        return [service for service, role in self.roles.items() if role in oracle.WORKERS]


def _without_object(before: Seen, edit: str) -> bool:
    """Whether the graph has nothing that an edit could mean."""
    roles = set(before.roles.values())
    if edit in ("frontend_args", "router_mode", "migration_limit"):
        return "frontend" not in roles
    if edit == "args" and any(not oracle.programs(before.processes[service]) for service in before.workers):
        return True  # the image's own entry point, to which the operator gives nothing
    if edit in ("replicas", "args"):
        return not before.workers
    return edit == "model" and not before.models


def judge(before: Seen, after: Seen, edits: set[str], changes: list[Change]) -> Iterator[str]:
    """What the edits did not do, or did besides."""
    told = " ".join(f"{change.service} {change.what} {change.place}" for change in changes)
    for service, was in before.mains.items():
        now, role = after.mains[service], before.roles[service]
        worker = role in oracle.WORKERS
        if now.replicas != (3 if worker and "replicas" in edits else was.replicas):
            yield f"{service}: replicas of a {role} are {now.replicas}"
        if "image" in edits and role == "epp" and now.image != was.image:
            yield f"{service}: image of an EPP was replaced"
        if "image" in edits and (worker or role == "frontend") and now.image != ALL.image:
            yield f"{service}: image of a {role} is {now.image}"
        options: dict[str, str] = {}
        if worker and "args" in edits:
            options = dict(ALL.args)
        if role == "frontend":
            keys = [key for key in ("frontend_args", "router_mode", "migration_limit") if key in edits]
            options = {option: value for option, value in FRONTEND.items() if _field(option) in keys}
        model = ALL.model if "model" in edits else None
        for sentence in _processes(before.processes[service], after.processes[service], options, model, worker):
            yield f"{service}: {sentence}"
        if "env" in edits and was.command:
            for process in oracle.programs(after.processes[service]):
                if process.variables.get("PROBE") != "x":
                    yield f"{service}: PROBE did not arrive"
        if model and (left := oracle.still_named(after.processes[service], before.models - {model})):
            if not any(name in told for name in left):
                yield f"{service}: the old model is still named to a {role}: {sorted(left)}"
    if "model" in edits:
        for place in sorted(oracle.still_mentioned(after.text, after.name, before.models - {str(ALL.model)})):
            if not any(part in told for part in _names_in(place)):
                yield f"{place}: the old model is still named there, and nothing said"


def _names_in(place: str) -> list[str]:
    """Words by which a report may speak of a place: the variable, the ConfigMap, the field."""
    first, _, rest = place.partition(".")
    return [first.partition(" ")[2] or rest.split(".")[1], rest.rpartition(".")[2]] if " " in first else [place, rest]


def _field(option: str) -> str:
    return {"--router-mode": "router_mode", "--migration-limit": "migration_limit"}.get(option, "frontend_args")


def _processes(
    before: list[Process], after: list[Process], options: dict[str, str], model: str | None, worker: bool
) -> Iterator[str]:
    was, now = oracle.programs(before), oracle.programs(after)
    if not was and options:
        yield "unproven: what it runs was not seen"
    elif len(was) != len(now):
        yield f"{len(was)} programs became {len(now)}"
    for one, other in zip(was, now, strict=False):
        if options or worker:
            yield from oracle.complaints(one.argv, other.argv, options, model if worker else None)
    helpers = [process.argv for process in before if process not in was]
    if len(was) == len(now) and helpers != [process.argv for process in after if process not in now] and not model:
        yield "the helpers beside it were called otherwise"


def _roles(path: Path, name: str, before: Seen) -> dict[str, tuple[str, str]]:
    services = Manifest.load(path).graph(name).services
    found = {service: (role, str(services[service].role)) for service, role in before.roles.items()}
    return {service: pair for service, pair in found.items() if pair[0] != pair[1]}


def comments(text: str) -> Counter[str]:
    """The comments of a file; fragments of strings that look like one count on both sides."""
    return Counter(found.strip() for found in re.findall(r"(?m)(?:^|\s)(#.*)$", text))


def how_equal(text: str, written: str) -> str:
    """How much of a file came back."""
    if text == written:
        return "byte for byte"
    values = list(yaml.safe_load_all(text)) == list(yaml.safe_load_all(written))
    if not values:
        return "NOT: values differ"
    return "all values and comments" if comments(text) == comments(written) else "NOT: comments lost"


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
