"""One service of a graph: the same view on v1alpha1's map entry and v1beta1's list entry.

A view holds no state of its own: it reads and edits the document that it was made from, so whatever it does not know
stays as it was written. Field names are those of upstream's DynamoGraphDeployment CRD, `nvidia.com/v1alpha1` and
`nvidia.com/v1beta1`.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, cast

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.companions import Companions
from DynamoFaultLibrary.graph.launchers import DYNAMO, FRONTEND_MODULE, find_script, guess_module, skip_wrappers
from DynamoFaultLibrary.graph.program import FRONTEND, NOTHING, SHELL, CommandLine, Program, UnclearError, text_of
from DynamoFaultLibrary.graph.references import expand
from DynamoFaultLibrary.graph.resources import pod_gpus
from DynamoFaultLibrary.graph.roles import Role, role_by_program, role_by_type, role_by_variables

Document = dict[str, Any]

MODEL_OPTIONS = ("--model-path", "--model")
"""Where the engines take their model from; `dynamo.vllm` says --model, the others --model-path."""


class Service(ABC):
    """A named service with replicas."""

    type_fields: tuple[str, ...]
    """Where the document says what the service is."""
    pod_path: tuple[str, ...]
    """Where it has the pod spec."""

    def __init__(
        self, name: str, document: Document, companions: Companions | None = None, spec: Document | None = None
    ) -> None:
        self.name = name
        self.document = document
        self.companions = companions or Companions()
        """Other documents of the file, such as its ConfigMaps and its templates of resource claims."""
        self.spec = spec or {}
        """The graph's spec, whose variables all services share."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, replicas={self.replicas})"

    @property
    def component_types(self) -> list[str]:
        """What the document says that the service is: its component type, its sub-type; "" where it says nothing."""
        return [str(self.document.get(field) or "") for field in self.type_fields]

    @property
    def pod(self) -> Document:
        """The pod spec as it is: `extraPodSpec` in v1alpha1, `podTemplate.spec` in v1beta1."""
        return self._find_pod(make=False)

    def _find_pod(self, make: bool) -> Document:
        found = self.document
        for key in self.pod_path:
            found = _child(found, key, make)
        return found

    @property
    def role(self) -> Role:
        """What the service is there for: by its component type, else by what it runs, never by its name."""
        by_type = role_by_type(*self.component_types)
        if by_type is Role.FRONTEND and self._is_another_door():
            return Role.OTHER
        if by_type is not None:
            return by_type
        by_program = role_by_program(self.module, self.argument, self.has_argument)
        by_program = by_program or role_by_variables(self.variables)
        is_worker = self.component_types[0] == "worker" or DYNAMO.fullmatch(self.module or "")
        return by_program or (Role.WORKER if is_worker else Role.OTHER)

    def _is_another_door(self) -> bool:
        """Whether the graph has several frontends by type, and this one runs another program."""
        entries = [*(self.spec.get("services") or {}).values(), *(self.spec.get("components") or [])]
        kinds = [item.get("componentType") or item.get("type") for item in entries if isinstance(item, dict)]
        return kinds.count("frontend") > 1 and self.module not in (None, FRONTEND_MODULE)

    @property
    def container(self) -> Document:
        """The main container as it is: `image`, `command`, `args`, `env`. Edit `editable_container` instead."""
        return self._find_container(make=False)

    @property
    def editable_container(self) -> Document:
        """The main container; it is put into the document where it is missing."""
        return self._find_container(make=True)

    @abstractmethod
    def _find_container(self, make: bool) -> Document:
        """The main container; an empty one where it is missing, put into the document if `make`."""

    @property
    def nodes(self) -> int:
        """Number of pods, each on a node of its own, that make one replica (`multinode.nodeCount`)."""
        count = _child(self.document, "multinode", make=False).get("nodeCount", 1)
        if not isinstance(count, int) or isinstance(count, bool) or count < 1:
            raise GraphError(f"nodeCount of service '{self.name}' must be a whole number of 1 or more, not {count!r}")
        return count

    @property
    def gpus(self) -> int:
        """Number of GPUs of any vendor that one replica asks for, on all its nodes together."""
        where = f"service '{self.name}'"
        resources = _child(self.document, "resources", make=False)
        return self.nodes * pod_gpus(self.pod, self.container, resources, self.companions, where)

    @property
    def is_frontend(self) -> bool:
        """Whether clients talk to this service."""
        return self.role is Role.FRONTEND

    @property
    def replicas(self) -> int:
        """Wanted number of replicas; the CRD's default is 1."""
        value = self.document.get("replicas")
        if value is None:  # as to Kubernetes: not said
            return 1
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise GraphError(f"replicas of service '{self.name}' must be a whole number of 0 or more, not {value!r}")
        return value

    @replicas.setter
    def replicas(self, value: int) -> None:
        if not isinstance(value, int) or isinstance(value, bool) or value < 1:
            raise GraphError(f"service '{self.name}' needs 1 replica or more, not {value!r}")
        self.document["replicas"] = value

    @property
    def image(self) -> str | None:
        """Container image, if one is named."""
        return cast("str | None", self.container.get("image"))

    @image.setter
    def image(self, value: str) -> None:
        self.editable_container["image"] = value

    @property
    def command(self) -> list[str]:
        """The command line that the operator runs: `command` followed by `args`, or its own where they are missing."""
        return self._line().words

    @property
    def args(self) -> list[str]:
        """The words of `args`, the operator's where they are missing."""
        return [word for field, word in self._line().placed if field == "args"]

    @property
    def shell(self) -> str | None:
        """The shell that the command runs, such as ``/bin/sh``; None when it starts a program directly."""
        command = self.command
        return command[skip_wrappers(command)] if find_script(command) is not None else None

    @property
    def module(self) -> str | None:
        """The program's name, such as ``dynamo.vllm``, ``dynamo-vllm-sidecar`` or ``worker.py``; None if not known."""
        program = self._program()
        return program.name if program else guess_module(self.command)

    def argument(self, option: str) -> str | None:
        """The option's value under any name that the engines know it by, as the program reads it.

        Variables of the service are put in; a value that only the running shell knows is told as it is written. None
        when the option is absent, has no value, or the program is not known.
        """
        program = self._program()
        return program.value(option) if program else None

    def has_argument(self, option: str) -> bool:
        """Whether the program has the option, with or without a value."""
        program = self._program()
        return program is not None and program.has(option)

    def set_argument(self, option: str, value: str | None = None) -> str:
        """Give the program an option, in place when it is there, else as its last; without a value it is a flag.

        The program reads `value` as it is: what a shell or Kubernetes would replace in it is quoted. Returns the place
        in words, such as ``args`` or ``shell script in args[0]``.

        Raises:
            GraphError: it cannot be done with certainty.
        """
        try:
            return Program(self._line(edit=True), self.variables.get).set(option, value)
        except UnclearError as error:
            raise GraphError(f"option '{option}' cannot be set on service '{self.name}': {error}") from error

    def remove_argument(self, option: str) -> bool:
        """Take an option away from the program, all its values too; returns whether it was there.

        Raises:
            GraphError: it cannot be done with certainty.
        """
        try:
            return Program(self._line(edit=True), self.variables.get).remove(option)
        except UnclearError as error:
            raise GraphError(f"option '{option}' cannot be removed from service '{self.name}': {error}") from error

    def _line(self, *, edit: bool = False) -> CommandLine:
        defaults = {"frontend": FRONTEND, "epp": NOTHING}.get(self.component_types[0], SHELL)
        return CommandLine(self.editable_container if edit else self.container, defaults, f"service '{self.name}'")

    def _program(self) -> Program | None:
        try:
            return Program(self._line(), self.variables.get)
        except UnclearError:
            return None

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Plain name/value variables of the service. Entries with `valueFrom` are left to the cluster."""

    @abstractmethod
    def set_variable(self, name: str, value: str) -> None:
        """Set an environment variable."""

    def command_lines(self) -> Iterator[tuple[str, CommandLine]]:
        """Those of all containers of the pod: the main one's under the name "", others as "container engine: "."""
        yield "", self._line(edit=bool(self.container))
        frontend = self.document.get("frontendSidecar")
        if isinstance(frontend, dict):
            yield "frontendSidecar: ", CommandLine(frontend, FRONTEND, f"the frontend sidecar of '{self.name}'")
        for container in self.other_containers():
            name = str(container.get("name"))
            defaults = FRONTEND if name == frontend else NOTHING
            yield f"container {name}: ", CommandLine(container, defaults, f"container '{name}' of '{self.name}'")

    def other_containers(self) -> list[Document]:
        """Containers and init containers beside the main one."""
        found = [*(self.pod.get("containers") or []), *(self.pod.get("initContainers") or [])]
        return [item for item in found if item is not self.container]

    def variable_entries(self) -> Iterator[tuple[str, list[Document]]]:
        """Lists of name/value entries of the service and its containers, each with its place in words."""
        yield "env", self.document.get("envs") or []
        yield "env", self.container.get("env") or []
        for container in self.other_containers():
            yield f"container {container.get('name')}: env", container.get("env") or []

    @property
    def variables(self) -> dict[str, str]:
        """All variables of the main container that the file tells: the graph's, those of ConfigMaps, the service's."""
        shared = [*(self.spec.get("envs") or []), *(self.spec.get("env") or [])]
        found = {variable: str(data[key]) for variable, data, key, _ in self.config_entries()}
        for name, value in {**plain_variables(shared), **self.environment}.items():
            found[name] = expand(value, found.get)  # as Kubernetes does: those before it are known
        return found

    def config_entries(self) -> Iterator[tuple[str, dict[str, Any], str, str]]:
        """Variables of the main container that ConfigMaps tell, each with its data, key and the ConfigMap's name."""
        for source in self.container.get("envFrom") or []:
            reference = source.get("configMapRef") or {}
            data = self.companions.config_map_data(reference.get("name"))
            for key in data:
                yield f"{source.get('prefix') or ''}{key}", data, key, str(reference.get("name"))
        for entry in self.container.get("env") or []:
            reference = (entry.get("valueFrom") or {}).get("configMapKeyRef") or {}
            data = self.companions.config_map_data(reference.get("name"))
            if reference.get("key") in data:
                yield str(entry["name"]), data, reference["key"], str(reference["name"])

    @property
    def model_option(self) -> str | None:
        """The option that names the model in this service's arguments, if any."""
        program = self._program()
        if program is None or not program.value(MODEL_OPTIONS[0]):
            return None
        return next((word.name for word in reversed(program.words) if word.name in MODEL_OPTIONS), None)

    @property
    def model(self) -> str | None:
        """The model that its arguments name, if any."""
        return self.argument(self.model_option) if self.model_option else None


class AlphaService(Service):
    """`spec.services.<Name>` of v1alpha1."""

    type_fields = ("componentType", "subComponentType")
    pod_path = ("extraPodSpec",)

    def _find_container(self, make: bool) -> Document:
        return _child(self._find_pod(make), "mainContainer", make)

    @property
    def environment(self) -> dict[str, str]:
        return plain_variables([*(self.document.get("envs") or []), *(self.container.get("env") or [])])

    def set_variable(self, name: str, value: str) -> None:
        # The main container's own entries win over the service's, so a variable is set where it already is.
        in_container = any(entry.get("name") == name for entry in self.container.get("env") or [])
        holder, key = (self.editable_container, "env") if in_container else (self.document, "envs")
        _set_entry(holder, key, name, value)


class BetaService(Service):
    """One entry of `spec.components` of v1beta1."""

    type_fields = ("type",)
    pod_path = ("podTemplate", "spec")

    def _find_container(self, make: bool) -> Document:
        pod = self._find_pod(make)
        containers = pod.get("containers") or []
        for container in containers:
            if container.get("name") == "main":
                return cast("Document", container)
        main: Document = {"name": "main"}
        if make:
            pod["containers"] = [*containers, main]
        return main

    @property
    def environment(self) -> dict[str, str]:
        return plain_variables(self.container.get("env") or [])

    def set_variable(self, name: str, value: str) -> None:
        _set_entry(self.editable_container, "env", name, value)


def _child(parent: Document, key: str, make: bool) -> Document:
    found = parent.get(key)
    if found is None:
        found = {}
        if make:
            parent[key] = found
    if not isinstance(found, dict):
        raise GraphError(f"'{key}' of a service must be a map of fields, not {found!r}")
    return cast("Document", found)


def plain_variables(entries: list[Document]) -> dict[str, str]:
    """Variables of name/value entries; those whose value comes from elsewhere are left out."""
    return {entry["name"]: text_of(entry.get("value")) for entry in entries if not entry.get("valueFrom")}


def _set_entry(holder: Document, key: str, name: str, value: str) -> None:
    entries = holder.get(key) or []
    new = {"name": name, "value": value}
    others = [entry for entry in entries if entry.get("name") != name]
    at = next((index for index, entry in enumerate(entries) if entry.get("name") == name), len(entries))
    holder[key] = [*others[:at], new, *others[at:]]
