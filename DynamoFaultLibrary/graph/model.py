"""A model's name, wherever a graph says it: options, variables, a planner's JSON, references, files of ConfigMaps."""

import json
import re
import shlex
from collections.abc import Iterator
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.change import Change
from DynamoFaultLibrary.graph.document import Graph
from DynamoFaultLibrary.graph.program import CommandLine, Program, UnclearError
from DynamoFaultLibrary.graph.service import MODEL_OPTIONS, Document, Service

SERVED = ("--served-model-name", "--model-name")
_ADDED = {"dynamo.vllm": "--model", "dynamo.sglang": "--model-path", "dynamo.trtllm": "--model-path"}
_ADDED |= {"dynamo.mocker": "--model-path", "DynamoFaultLibrary.engines": "--model-path"}
"""What an engine calls its model, for a worker that names none."""
_KEY = r"""["']?(?:model|model[-_]path|model[-_]name|served[-_]model[-_]name)["']?"""
_LINE = re.compile(rf"""^({_KEY}\s*:\s+)(["']?)([^\s"'#,]+)\2""", re.MULTILINE)
"""A top-level key of an engine's configuration in YAML; models further down are draft models and the like."""
_SERVE = re.compile(r"""\bserve["']?\s+([A-Za-z/][^\s"']*)""")
"""Engines beside a sidecar of Dynamo, such as `vllm serve MODEL` and `-m tensorrt_llm.commands.serve MODEL`."""
_PART = re.compile(r"\$[{(](\w+)[)}](?=[\w/.:-])|\$(\w+)(?=[/.:-])")
"""A variable with more behind it."""
_JSON_KEY = re.compile(r"""("(?:model_name|model_path|model)"\s*:\s*)"((?:[^"\\]|\\.)*)\"""")


class ModelEdit:
    """One model that takes the place of those that a graph's workers name."""

    def __init__(self, graph: Graph, model: str) -> None:
        self.graph = graph
        self.model = model
        self.old = {name for service in graph.workers for name in _names(service)}
        self.old |= {
            name for service in graph.workers for data, key, _ in _files(graph, service) for name in _named(data[key])
        }
        self.old = {name for name in self.old if name != model and "$" not in name}  # with a $, it is not known here

    def apply(self) -> list[Change]:
        """Put the model everywhere; returns what was reached and what was not.

        Raises:
            GraphError: no worker is reached, or the command of one is not certain.
        """
        parts = {name for service in self.graph.services.values() for name in _parts_of_values(service)}
        shared = [item for key in ("envs", "env") for item in self.graph.document["spec"].get(key) or []]
        changes = [
            Change("all services", f"model={self.model}", f"env {name}") for name in self._in_variables(shared, parts)
        ]
        for service in self.graph.services.values():
            found = list(self._in_service(service))
            if service.role.is_worker and not found:
                found = [self._added(service)]
            changes += found
        workers = {service.name for service in self.graph.workers}
        if not any(change.service in workers and not change.why_not for change in changes):
            reasons = ", ".join(f"'{change.service}': {change.why_not}" for change in changes if change.why_not)
            raise GraphError(f"model={self.model} reaches no worker of graph '{self.graph.name}': {reasons}")
        return [*changes, *self._in_companions(), *self._left()]

    def _change(self, service: Service, place: str, why_not: str = "") -> Change:
        return Change(service.name, f"model={self.model}", place, why_not)

    def _in_service(self, service: Service) -> Iterator[Change]:
        parts = _parts_of_values(service)
        for path, entries in service.variable_entries():
            yield from (self._change(service, f"{path} {name}") for name in self._in_variables(entries, parts))
        for _, data, key, name in service.config_entries():
            if str(data[key]) in self.old and key not in parts:
                data[key] = self.model
                yield self._change(service, f"ConfigMap {name}, {key}")
        for label, line in service.command_lines():
            is_main = label == ""
            places = self._in_options(service, line, is_main=is_main)
            places = places or ([] if is_main else list(self._in_words(line)))
            yield from (self._change(service, f"{label}{place}") for place in dict.fromkeys(places))
        reference = service.document.get("modelRef")
        if isinstance(reference, dict) and reference.get("name"):
            reference["name"] = self.model
            yield self._change(service, "modelRef.name")
        for data, key, name in list(_files(self.graph, service)):
            text = data[key]
            data[key] = self._in_text(text)
            if data[key] != text or (service.role.is_worker and self.model in _named(text)):
                yield self._change(service, f"ConfigMap {name}, {key}")

    def _in_variables(self, entries: list[Document], parts: set[str]) -> Iterator[str]:
        for entry in entries:
            name, value = str(entry.get("name")), str(entry.get("value"))
            # A served name such as "vllm" may be a word for something else.
            if value in self.old and name not in parts and ("/" in value or re.search("MODEL|NAME", name.upper())):
                entry["value"] = self.model
                yield name

    def _in_options(self, service: Service, line: CommandLine, *, is_main: bool) -> list[str]:
        try:
            program = Program(line, service.variables.get)
        except UnclearError as error:
            if is_main and service.role.is_worker:
                raise GraphError(f"model={self.model} cannot be set on service '{service.name}': {error}") from error
            return []
        places = []
        if service.role.is_worker or program.is_dynamo:
            for option in (MODEL_OPTIONS[0], *SERVED):
                if program.has(option):
                    places.append(self._set(service, program, option, is_main=is_main))
        config = program.value("--config") if program.is_dynamo else None
        if config and config.lstrip().startswith("{") and (new := self._in_json(config)) != config:
            places.append(program.set("--config", new))
        return places

    def _set(self, service: Service, program: Program, option: str, *, is_main: bool) -> str:
        name = program.written(option) or option
        variables = program.variables(option) if is_main else []
        variables = [] if set(variables) & _parts_of_values(service) else variables
        if variables and program.value(option) != self.model:
            service.set_variable(variables[0], self.model)
            program.reload(service.variables.get)
        if program.value(option) == self.model:
            return f"env {variables[0]}" if variables else program.place
        try:
            return program.set(name, self.model)
        except UnclearError as error:
            raise GraphError(f"model={self.model} cannot be set on service '{service.name}': {error}") from error

    def _in_json(self, text: str) -> str:
        def put(match: re.Match[str]) -> str:
            is_meant = "model_name" in match[1] or match[2] in self.old
            return match[1] + json.dumps(self.model) if is_meant else match[0]

        return _JSON_KEY.sub(put, text)

    def _in_words(self, line: CommandLine) -> Iterator[str]:
        """In commands of other containers, whose programs need not be known."""
        placed = line.placed
        for index, (field, word) in enumerate(placed):
            is_script = bool(re.search(r"\s", word))
            if is_script and shlex.quote(self.model) != self.model:
                continue
            pattern = "|".join(_token(old).pattern for old in self.old)
            new = re.sub(pattern, lambda _: self.model, word) if pattern else word
            if new != word:
                placed[index] = (field, new)
                yield field
        line.write(placed)

    def _in_text(self, text: str) -> str:
        def put(match: re.Match[str]) -> str:
            return f"{match[1]}{match[2]}{self.model}{match[2]}" if match[3] in self.old else match[0]

        return self._in_json(text) if text.lstrip().startswith("{") else _LINE.sub(put, text)

    def _added(self, service: Service) -> Change:
        module = service.module or ""
        option = next((option for name, option in _ADDED.items() if f"{module}.".startswith(f"{name}.")), None)
        if option is None:
            return self._change(service, "command", "it names no model, and what its program calls it is not known")
        return self._change(service, service.set_argument(option, self.model))

    def _in_companions(self) -> Iterator[Change]:
        for item in self.graph.near.documents:
            spec = item.get("spec") if item.get("kind") == "DynamoModel" else None
            if isinstance(spec, dict) and spec.get("baseModelName") in self.old:
                spec["baseModelName"] = self.model
                yield Change(f"DynamoModel {_name_of(item)}", f"model={self.model}", "spec.baseModelName")

    def _left(self) -> Iterator[Change]:
        trees: list[tuple[str, Document]]
        trees = [(service.name, service.document) for service in self.graph.services.values()]
        spec = {key: item for key, item in self.graph.document["spec"].items() if key not in ("services", "components")}
        trees.append(("all services", {"spec": spec}))
        trees += [(f"{item.get('kind')} {_name_of(item)}", item) for item in self.graph.near.documents]
        for name, tree in trees:
            for path, text in strings(tree):
                for old in self._named_in(text):
                    yield Change(name, f"model={self.model}", path, f"it still names '{old}'")

    def _named_in(self, text: str) -> list[str]:
        """Old models in a text, also as parts of addresses and paths, such as `hf://acme/small/config.json`."""
        return [old for old in sorted(self.old) if (_part(old) if "/" in old else _token(old)).search(text)]


def _names(service: Service) -> Iterator[str]:
    """What the options of a worker's containers say that its model is, all served names included."""
    for label, line in service.command_lines():
        if label and (match := _SERVE.search(" ".join(line.words))):
            yield match[1]
        try:
            program = Program(line, service.variables.get)
        except UnclearError:
            continue
        for option in (MODEL_OPTIONS[0], *SERVED):
            yield from program.values(option)


def _name_of(companion: Document) -> object:
    return companion["metadata"].get("name")


def _parts_of_values(service: Service) -> set[str]:
    """Variables that are parts of other values, such as ``"${MODEL_PATH}/x.json"``, which a new model would break."""
    texts = [word for _, line in service.command_lines() for word in line.words]
    texts += [str(entry.get("value")) for _, entries in service.variable_entries() for entry in entries]
    return {match[1] or match[2] for text in texts for match in _PART.finditer(text)}


def _named(text: str) -> set[str]:
    if text.lstrip().startswith("{"):
        return set()
    return {match[3] for match in _LINE.finditer(text) if match[3] not in ("|", ">", "{", "[", "true", "false", "null")}


def _files(graph: Graph, service: Service) -> Iterator[tuple[dict[str, Any], str, str]]:
    """Files of the ConfigMaps that a service mounts, where each can be edited: data, key, the ConfigMap's name."""
    wanted: dict[str, None] = {}
    for volume in service.pod.get("volumes") or []:
        sources = [volume, *((volume.get("projected") or {}).get("sources") or [])]
        wanted |= {str(item["configMap"].get("name")): None for item in sources if item.get("configMap")}
    for name in wanted:
        data = graph.near.config_map_data(name)
        yield from ((data, key, name) for key, text in data.items() if isinstance(text, str))


def strings(value: object, path: str = "") -> Iterator[tuple[str, str]]:
    """All texts in a document, each with its place."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield from strings(item, f"{path}.{key}" if path else str(key))
    elif isinstance(value, list):
        for index, item in enumerate(value):
            label = item.get("name", index) if isinstance(item, dict) else index
            yield from strings(item, f"{path}[{label}]")
    elif isinstance(value, str):
        yield path, value


def _part(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w.-]){re.escape(name.strip('/'))}(?![\w-]|\.\w)")


def _token(name: str) -> re.Pattern[str]:
    return re.compile(rf"(?<![\w./:@{{}}-]){re.escape(name)}(?![\w/:@-]|\.\w)")
