"""Whether edits of a graph did what their user means: each service's processes before and after, side by side."""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace

import yaml

from DynamoFaultLibrary.graph.edits import Change, Edits
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
FIELDS = ("replicas", "model", "image", "env", "args", "frontend_args", "router_mode", "migration_limit")
OF_FRONTEND, OWN_OPTIONS = FIELDS[-3:], FIELDS[-2:]


def only(edits: Edits, *names: str) -> Edits:
    """Those of the edits."""
    return replace(Edits(), **{name: getattr(edits, name) for name in names})


class Seen:
    """A graph, and what its services run.

    Args:
        text: the file.
        name: of the graph.
        own: whether its scripts are ours.
        world: variables that are set besides.
    """

    def __init__(self, text: str, name: str, *, own: bool = False, world: Mapping[str, str] | None = None) -> None:
        self.text, self.name = text, name
        self.mains = oracle.mains(text, name, world)
        self.processes = {service: main.processes(own) for service, main in self.mains.items()}
        self.roles = {service: oracle.role(main, own) for service, main in self.mains.items()}
        if "frontend" not in self.roles.values():  # then one is meant by its type, whatever it runs
            typed = {service: "frontend" for service, main in self.mains.items() if main.type == "frontend"}
            self.roles.update(typed)

    @property
    def workers(self) -> list[str]:
        """The services that run an engine."""
        return [service for service, role in self.roles.items() if role in oracle.WORKERS]

    @property
    def models(self) -> set[str]:
        """What the workers call their model."""
        return set().union(*(oracle.models_named(self.processes[service]) for service in self.workers))

    def names_model(self, service: str) -> bool:
        """Whether a service's programs are told of a model."""
        return bool(oracle.models_named(self.processes[service]))

    def has_nothing_for(self, edit: str) -> bool:
        """Whether there is nothing in the graph that an edit could mean."""
        if edit in OF_FRONTEND:
            fronts = [self.processes[service] for service, role in self.roles.items() if role == "frontend"]
            known = any(oracle.program(process) == "dynamo.frontend" for found in fronts for process in found)
            return not (known if edit in OWN_OPTIONS else fronts)
        if edit == "replicas":
            return not self.workers
        # The image's own entry point, to which the operator gives nothing.
        containers = [self.mains[service].container for service in self.workers]
        if any(not (container.get("command") or container.get("args")) for container in containers):
            return edit in ("args", "model")
        if edit == "args":
            return not self.workers
        unseen = [service for service in self.workers if not oracle.programs(self.processes[service])]
        return edit == "model" and not self.models and not unseen


def judge(before: Seen, after: Seen, edits: Edits, changes: list[Change]) -> Iterator[str]:
    """What the edits did not do, or did besides; each sentence begins with the service or the place.

    `before` is seen in a world that has the edits' variables, for others may be made of them.
    """
    for service, was in before.mains.items():
        role = before.roles[service]
        for sentence in (
            *_fields(was, after.mains[service], role, edits),
            *_processes(before.processes[service], after.processes[service], edits, role, before.models),
        ):
            yield f"{service}: {sentence}"
    if edits.model:
        yield from _model_left(before, after, edits.model, changes)


def options_for(role: str, edits: Edits) -> dict[str, str]:
    """The options that a service of that role is to get."""
    if role in oracle.WORKERS:
        return dict(edits.args)
    if role != "frontend":
        return {}
    own = {"--router-mode": edits.router_mode, "--migration-limit": edits.migration_limit}
    return {**edits.frontend_args, **{option: str(value) for option, value in own.items() if value is not None}}


def _fields(was: oracle.Main, now: oracle.Main, role: str, edits: Edits) -> Iterator[str]:
    worker = role in oracle.WORKERS
    if now.replicas != (edits.replicas if worker and edits.replicas is not None else was.replicas):
        yield f"replicas of a {role} became {now.replicas}"
    if edits.image and (worker or role == "frontend") and now.image != edits.image:
        yield f"image of a {role} is {now.image}"
    for name, value in edits.env.items():
        if now.env.get(name) != value:
            yield f"variable {name} of a {role} is {now.env.get(name)!r}"
    if role == "epp" and now.image != was.image:
        yield "image of an endpoint picker was replaced"


def _processes(before: list[Process], after: list[Process], edits: Edits, role: str, models: set[str]) -> Iterator[str]:
    was, now = oracle.programs(before), oracle.programs(after)
    options = options_for(role, edits)
    if not was and options:
        yield "unproven: what it runs was not seen"
    elif len(was) != len(now):
        yield f"{len(was)} programs became {len(now)}"
        return
    for one, other in zip(was, now, strict=False):
        meant = options if oracle.may_be(one, role) else {}
        old = models if edits.model else set()
        other_service = role not in oracle.WORKERS
        yield from oracle.complaints(one.argv, other.argv, meant, edits.model, old, may_stay=other_service)
        for name, value in edits.env.items():
            if other.variables.get(name) != value:
                yield f"variable {name} did not reach the program"
    helpers = [process.argv for process in before if process not in was]
    if not edits.model and helpers != [process.argv for process in after if process not in now]:
        yield "the helpers beside it were called otherwise"


def _model_left(before: Seen, after: Seen, model: str, changes: list[Change]) -> Iterator[str]:
    told = [
        f"{change.service} {change.place} {change.why_not}"
        for change in changes
        if change.why_not and change.what == f"model={model}"
    ]
    old = before.models - {model}
    places = sorted(oracle.still_mentioned(after.text, after.name, old))
    for service, processes in after.processes.items():
        places += [f"{service} command line" for _ in oracle.still_named(processes, old)]
    for service in after.workers:
        if not before.names_model(service) and not oracle.holds(after.text, after.name, service, model):
            places.append(f"{service} arguments")
    for place in places:
        if not any(_speaks_of(sentence, place) for sentence in told):
            yield f"{place}: the model is still the old one, and nothing says so"


def _speaks_of(sentence: str, place: str) -> bool:
    """Whether a report of what was not reached is about a place: a service, a companion, a variable or a field."""
    first, _, rest = place.partition(" ")
    if rest in ("command line", "arguments"):
        return first in sentence
    if rest:
        return rest.partition(".")[0] in sentence
    fields = [word for word in place.split(".") if not word.isdigit() and word not in ("name", "args", "command")]
    return fields[-1] in sentence


def comments(text: str) -> Counter[str]:
    """The comments of a file; fragments of strings that look like one count on both sides."""
    return Counter(found.strip() for found in re.findall(r"(?m)(?:^|\s)(#.*)$", text))


def how_equal(text: str, written: str) -> str:
    """How much of a file came back."""
    if text == written:
        return "byte for byte"
    if list(yaml.safe_load_all(text)) != list(yaml.safe_load_all(written)):
        return "NOT: values differ"
    return "all values and comments" if comments(text) == comments(written) else "NOT: comments lost"
