"""What a graph's processes get, and whether an edit reached them: told without the code that makes the edits.

Containers are put together as Dynamo's operator does it (a user's command and a user's args each replace the default of
the component's type), `$(VAR)` is expanded as Kubernetes does it, shells are run (`graph_sandbox`).
"""

import json
import re
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import yaml

from tests.graph_sandbox import FILES_EXIST, LIMITS_CAN_BE_SET, Process, started

KIND = "DynamoGraphDeployment"
DEFAULTS: dict[str, tuple[list[str], list[str]]] = {
    "frontend": (["python3"], ["-m", "dynamo.frontend"]),
    "epp": ([], ["--pool-name", "default-pool"]),
}
"""Command and args by component type."""
OTHERWISE: tuple[list[str], list[str]] = (["/bin/sh", "-c"], [])
MODEL, SERVED = ("--model", "--model-path"), ("--served-model-name", "--model-name")
WORKERS = ("worker", "prefill", "decode", "encode")
_MODULES = {
    "dynamo.frontend": "frontend",
    "dynamo.planner": "planner",
    "dynamo.global_planner": "planner",
    "dynamo.router": "router",
    "dynamo.global_router": "router",
}
_ENGINES = ("vllm", "sglang", "trtllm-serve", "vllm-rs")
_STARTS_DIRECTLY = re.compile(r"python[\d.]*|dynamo[\w.-]*|vllm|sglang|trtllm-serve")
_NUMBER = re.compile(r"-\d+(\.\d+)?")
_IN_BACKGROUND = re.compile(r"(?<![&><])&(?![&>\d])")
_VARIABLE = re.compile(r"\$\$|\$\(([\w.-]+)\)")


@dataclass
class Main:
    """The main container of a service as it would run."""

    service: str
    type: str
    command: list[str]
    env: dict[str, str]
    entry: Mapping[str, Any]
    container: Mapping[str, Any]

    @property
    def replicas(self) -> int:
        """How many are wanted."""
        return int(self.entry.get("replicas", 1))

    @property
    def image(self) -> str | None:
        """The image."""
        return self.container.get("image")

    @property
    def gpus(self) -> int:
        """How many `nvidia-smi` shows in one container."""
        found = [self.entry.get("resources") or {}, self.container.get("resources") or {}]
        amounts = [item.get(kind) or {} for item in found for kind in ("limits", "requests")]
        return next((int(item[key]) for item in amounts for key in ("gpu", "nvidia.com/gpu") if key in item), 0)

    def processes(self, own: bool) -> list[Process]:
        """The programs that it starts; in a world where the files are there that a script asks for, if it must."""
        words = [expanded(word, self.env) for word in self.command]
        if not words:
            return []
        if _STARTS_DIRECTLY.fullmatch(words[0].rpartition("/")[2]):
            return [Process((words[0].rpartition("/")[2], *words[1:]), tuple(sorted(self.env.items())))]
        return list(_started(tuple(words), tuple(self.env.items()), self.gpus, own))


@lru_cache(maxsize=256)
def _started(words: tuple[str, ...], env: tuple[tuple[str, str], ...], gpus: int, own: bool) -> tuple[Process, ...]:
    seen: list[Process] = []
    # A job in the background may be ended before it is written down, since nothing here takes time: the fullest of 4.
    times = 4 if any(_IN_BACKGROUND.search(word) for word in words) else 1
    for preamble in (LIMITS_CAN_BE_SET, LIMITS_CAN_BE_SET + FILES_EXIST):
        runs = [started(words, dict(env), gpus=gpus, own=own, preamble=preamble) for _ in range(times)]
        seen = max(runs, key=len)
        if programs(seen):
            break
    return tuple(seen)


def documents(text: str) -> list[Any]:
    """All documents, those in a List too."""
    found: list[Any] = []
    for document in yaml.safe_load_all(text):
        is_list = isinstance(document, dict) and document.get("kind") == "List"
        found += document.get("items") or [] if is_list else [document]
    return found


def graphs(text: str) -> dict[str, Any]:
    """The graphs of a file by name."""
    return {item["metadata"]["name"]: item for item in documents(text) if _kind(item) == KIND}


def is_other_graph(document: Any, name: str) -> bool:  # YAML
    """Whether a document is a graph of another name."""
    return _kind(document) == KIND and document["metadata"]["name"] != name


def mains(text: str, name: str, world: Mapping[str, str] | None = None) -> dict[str, Main]:
    """The main containers of a graph by service, with the variables of a `world` set in place."""
    graph, companions = graphs(text)[name], documents(text)
    spec = graph["spec"]
    common = list(spec.get("envs") or spec.get("env") or [])
    if "services" in spec:
        entries = {str(key): entry or {} for key, entry in spec["services"].items()}
    else:
        entries = {str(entry["name"]): entry for entry in spec["components"]}
    return {service: _main(service, entry, common, companions, world or {}) for service, entry in entries.items()}


def _kind(document: Any) -> str:  # YAML
    return str(document.get("kind")) if isinstance(document, dict) else ""


def _main(
    service: str, entry: Mapping[str, Any], common: list[Any], companions: list[Any], world: Mapping[str, str]
) -> Main:
    if "podTemplate" in entry or "type" in entry:
        pod = (entry.get("podTemplate") or {}).get("spec") or {}
        found = [container for container in pod.get("containers") or [] if container.get("name") == "main"]
        container = found[0] if found else {}
    else:
        container = (entry.get("extraPodSpec") or {}).get("mainContainer") or {}
    kind = str(entry.get("componentType") or entry.get("type") or "")
    command, args = DEFAULTS.get(kind, OTHERWISE)
    words = [*(container.get("command") or command), *(container.get("args") or args)]
    env = dict(_environment([*common, *(entry.get("envs") or [])], container, companions, world)) | dict(world)
    return Main(service, kind, [_word(word) for word in words], env, entry, container)


def _word(value: object) -> str:
    return json.dumps(value) if isinstance(value, bool) else str(value)


def _environment(
    common: list[Any], container: Mapping[str, Any], companions: list[Any], world: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    maps = {item["metadata"]["name"]: item.get("data") or {} for item in companions if _kind(item) == "ConfigMap"}
    yield from (("POD_NAME", "pod-0"), ("DYN_NAMESPACE", "test-graph"))
    for source in container.get("envFrom") or []:
        reference = source.get("configMapRef") or {}
        for name, value in maps.get(reference.get("name"), {}).items():
            yield f"{source.get('prefix', '')}{name}", str(value)
    known: dict[str, str] = {}
    for item in [*common, *(container.get("env") or [])]:
        reference = (item.get("valueFrom") or {}).get("configMapKeyRef") or {}
        if item["name"] in world:
            known[item["name"]] = world[item["name"]]
        elif "value" in item:
            known[item["name"]] = expanded(_word(item["value"] if item["value"] is not None else ""), known)
        elif reference.get("key") in maps.get(reference.get("name"), {}):
            known[item["name"]] = str(maps[reference["name"]][reference["key"]])
        elif item.get("valueFrom"):
            known[item["name"]] = f"from-{next(iter(item['valueFrom']))}"
        else:
            known[item["name"]] = ""
    yield from known.items()


def expanded(word: str, env: Mapping[str, str]) -> str:
    """`$(VAR)` replaced as Kubernetes does it: an unknown one stays, `$$` is a dollar."""
    return _VARIABLE.sub(lambda found: "$" if not found[1] else env.get(found[1], found[0]), word)


def program(process: Process) -> str | None:
    """What a process serves with, such as `dynamo.vllm`; None for a helper."""
    word, *rest = process.argv
    if re.fullmatch(r"python[\d.]*", word):
        while rest and rest[0].startswith("-") and rest[0] not in ("-m", "-c", "-"):
            rest = rest[2:] if rest[0] in ("-W", "-X") else rest[1:]
        if rest[:1] == ["-m"] and len(rest) > 1:
            return rest[1]
        return rest[0] if rest and rest[0].endswith(".py") else None
    return word if word.startswith("dynamo-") or word in _ENGINES else None


def programs(processes: Sequence[Process]) -> list[Process]:
    """Those that serve; Dynamo's own if there are any."""
    found = [process for process in processes if program(process)]
    own = [process for process in found if str(program(process)).startswith("dynamo")]
    return own or found


def may_be(process: Process, role: str) -> bool:
    """Whether a process can be what its service is for; a frontend beside an engine is not."""
    return _MODULES.get(str(program(process)), role) == role


def role(main: Main, own: bool) -> str:
    """What a service is for, by its type and by what it runs."""
    running = [str(program(process)) for process in programs(main.processes(own))]
    known = {_MODULES.get(name, "") for name in running}
    if len(known) == 1 and "" not in known:
        return known.pop()
    if main.type == "frontend" and any(main.container.get(field) for field in ("command", "args")):
        return "other"  # it is seen to start something else
    if main.type in ("frontend", "planner", "epp"):
        return main.type
    words = [word for process in programs(main.processes(own)) for word in process.argv]
    for mode in ("prefill", "decode", "encode"):
        flags = {
            f"--is-{mode}-worker",
            f"--{mode}-worker",
            f"--multimodal-{mode}-worker",
            f"--disaggregation-mode={mode}",
        }
        if flags & set(words) or values(words, "--disaggregation-mode") == [mode]:
            return mode
    kind = str(main.entry.get("subComponentType") or main.type)
    if kind in WORKERS:
        return kind
    serves = any(name.startswith("dynamo") or name in _ENGINES for name in running)
    return "worker" if serves and known == {""} else "other"


def is_option(word: str) -> bool:
    """Whether a word is an option, and not a value such as `-1`."""
    return word.startswith("-") and not _NUMBER.fullmatch(word)


def values(words: Sequence[str], option: str) -> list[str] | None:
    """The values of an option, the last one's if it is given twice; None without it."""
    found = None
    words = _before_double_dash(words)
    for index, word in enumerate(words):
        if word.startswith(f"{option}="):
            found = [word.partition("=")[2]]
        if word == option:
            found = list(_following(words, index + 1))
    return found


def without(words: Sequence[str], *options: str) -> list[str]:
    """The words but for these options and their values."""
    kept, skip = [], 0
    head = _before_double_dash(words)
    for index, word in enumerate(head):
        if index < skip:
            continue
        if word in options:
            skip = index + 1 + len(list(_following(head, index + 1)))
        elif word.partition("=")[0] not in options:
            kept.append(word)
    return [*kept, *words[len(head) :]]


def _before_double_dash(words: Sequence[str]) -> list[str]:
    """The words of which some are options."""
    return list(words[: list(words).index("--")]) if "--" in words else list(words)


def _following(words: Sequence[str], start: int) -> Iterator[str]:
    for word in words[start:]:
        if is_option(word):
            return
        yield word


def complaints(
    before: Sequence[str],
    after: Sequence[str],
    options: Mapping[str, str],
    model: str | None = None,
    old: Set[str] = frozenset(),
    *,
    may_stay: bool = False,
) -> Iterator[str]:
    """What is wrong with a command line that was to get these options, and a model; nothing if it is as meant.

    Each is there once, as an option of the program, with its value. All else is as it was, but `old` models may have
    given way to the new one; it `may_stay` if none of them is named.
    """
    name = program(Process(tuple(before)))
    for option, value in options.items():
        yield from _not_arrived(before, after, option, value)
        if name in after and option in after[: after.index(str(name))]:
            yield f"{option} went to the interpreter"
    named = [option for option in (*MODEL, *SERVED) if values(before, option)] if model else []
    if may_stay and not {word for option in named for word in values(before, option) or []} & old:
        named = []
    for option in named:
        if values(after, option) != [model] and not (option in SERVED and values(after, option) is None):
            yield f"{option} is {values(after, option)}"
    added = [option for option in MODEL if model and not named and values(after, option) == [model]]
    edited = (*options, *named, *added)
    was, now = without(once(before), *edited), without(once(after), *edited)
    if now not in (was, [_with_model(word, old, str(model)) for word in was]):
        gone, new = [w for w in was if w not in now], [w for w in now if w not in was]
        yield f"more has changed: {gone[:4]} became {new[:4]}" if gone or new else "the order of words has changed"


def _with_model(word: str, old: Set[str], model: str) -> str:
    """A word that names a model, by itself or in JSON, with another one."""
    for name in old:
        word = model if word == name else word.replace(f'"{name}"', f'"{model}"')
    return word


def _not_arrived(before: Sequence[str], after: Sequence[str], option: str, value: str) -> Iterator[str]:
    was, now = _given(before, option), _given(after, option)
    if not now or (len(now) > 1 and now[:-1] != was):  # one that a variable brings may stay before it: the last counts
        yield f"{option} arrived {len(now)} times"
    elif values(after, option) != ([value] if value else []):
        yield f"{option} arrived as {values(after, option)}"


def _given(words: Sequence[str], option: str) -> list[str]:
    return [word for word in _before_double_dash(words) if word == option or word.startswith(f"{option}=")]


def still_mentioned(text: str, name: str, old: set[str]) -> set[str]:
    """Where a graph's other fields and the companions of its file still name an old model, command lines left out."""
    graph = graphs(text)[name]["spec"]
    others = [item for item in documents(text) if isinstance(item, dict) and _kind(item) != KIND]
    places = [
        ("spec", graph),
        *((f"{_kind(item)} {(item.get('metadata') or {}).get('name')}", item) for item in others),
    ]
    return {
        f"{place}.{path}"
        for place, tree in places
        for path, value in _strings(tree)
        if not re.search(r"(mainContainer|containers\.\d+)\.(command|args)\.", path)
        and any(value == model or f'"{model}"' in value or f": {model}\n" in value for model in old)
    }


def holds(text: str, name: str, service: str, word: str) -> bool:
    """Whether a service, in any of its containers, or a companion of the graph has a word somewhere."""
    others = [item for item in documents(text) if _kind(item) != KIND]
    trees = [mains(text, name)[service].entry, *others]
    return any(word in value for tree in trees for _, value in _strings(tree))


def _strings(tree: Any, path: str = "") -> Iterator[tuple[str, str]]:  # YAML
    if isinstance(tree, str):
        yield path, tree
    if isinstance(tree, dict) and "name" in tree and "value" in tree:
        tree = {tree["name"]: tree["value"]}  # a variable goes by its name
    pairs = tree.items() if isinstance(tree, dict) else enumerate(tree) if isinstance(tree, list) else ()
    for key, value in pairs:
        yield from _strings(value, f"{path}.{key}" if path else str(key))


def once(words: Sequence[str]) -> list[str]:
    """A command line without the operator's args behind a frontend's own command, which say the same again."""
    default = ["-m", "dynamo.frontend"]
    head = list(words[:3])
    return [*head, *words[5:]] if head[1:] == default and list(words[3:5]) == default else list(words)


def models_named(processes: Sequence[Process]) -> set[str]:
    """The models that some processes are told of."""
    words = [process.argv for process in programs(processes)]
    return {value for argv in words for option in (*MODEL, *SERVED) for value in values(argv, option) or []}


def still_named(processes: Sequence[Process], old: set[str]) -> set[str]:
    """Those of the old models that the processes' arguments still name: as a word, or as a value in JSON."""
    words = [word for process in programs(processes) for word in process.argv]
    return {model for model in old for word in words if word == model or f'"{model}"' in word}
