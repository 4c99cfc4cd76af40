"""One service of a graph: the same view on v1alpha1's map entry and v1beta1's list entry.

A view holds no state of its own: it reads and edits the document that it was made from, so whatever it does not know
stays as it was written. Field names are those of upstream's DynamoGraphDeployment CRD, `nvidia.com/v1alpha1` and
`nvidia.com/v1beta1`.
"""

import re
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any, cast

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.resources import pod_gpus
from DynamoFaultLibrary.graph.roles import Role, role_of

Document = dict[str, Any]

MODEL_OPTIONS = ("--model-path", "--model")
"""Where the engines take their model from; `dynamo.vllm` says --model, the others --model-path."""

_SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})
_WRAPPERS = frozenset({"busybox", "dumb-init", "env", "exec", "nice", "nohup", "numactl", "setsid", "tini", "timeout"})
"""Programs that start what follows them, options and figures of theirs in between."""
_NO_PROGRAM = re.compile(r"-.*|\d+[smhd]?|[A-Za-z_]\w*=.*", re.DOTALL)


class Service(ABC):
    """A named service with replicas."""

    def __init__(self, name: str, document: Document, companions: Sequence[Document] = ()) -> None:
        self.name = name
        self.document = document
        self.companions = companions
        """Other documents of the file, such as its ConfigMaps and its templates of resource claims."""

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.name!r}, replicas={self.replicas})"

    @property
    @abstractmethod
    def component_types(self) -> tuple[str, str]:
        """What the document says that the service is: its component type and its sub-type, "" where it says nothing."""

    @property
    @abstractmethod
    def pod(self) -> Document:
        """The pod spec as it is: `extraPodSpec` in v1alpha1, `podTemplate.spec` in v1beta1."""

    @property
    def role(self) -> Role:
        """What the service is there for: by its component type, else by what it runs."""
        return role_of(*self.component_types, self.command)

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
        value = self.document.get("replicas", 1)
        if not isinstance(value, int) or isinstance(value, bool) or value < 0:
            raise GraphError(f"replicas of service '{self.name}' must be a whole number of 0 or more, not {value!r}")
        return value

    @replicas.setter
    def replicas(self, value: int) -> None:
        if value < 1:
            raise GraphError(f"service '{self.name}' needs 1 replica or more, not {value}")
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
        """The command line: `command` followed by `args`."""
        return [*self._words("command"), *self.args]

    @property
    def shell(self) -> str | None:
        """The shell that the command runs, such as ``/bin/sh``; None when it starts a program directly."""
        for word in self.command:
            program = word.split(maxsplit=1)[0] if word.strip() else ""
            name = program.rpartition("/")[2]
            if name in _SHELLS:
                return program
            if name not in _WRAPPERS and not _NO_PROGRAM.fullmatch(program):
                return None
        return None

    @property
    def args(self) -> list[str]:
        """Arguments, as a list that edits write back through `set_argument`."""
        return self._words("args")

    def _words(self, field: str) -> list[str]:
        words = self.container.get(field) or []
        if not isinstance(words, list) or any(isinstance(word, dict | list) for word in words):
            raise GraphError(f"{field} of service '{self.name}' must be a list of words, not {words!r}")
        return [str(word) for word in words]

    def argument(self, option: str) -> str | None:
        """Value of ``--option value`` or ``--option=value``; None when it is absent or has no value."""
        args = self.args
        for index, part in enumerate(args):
            if part == option:
                following = args[index + 1 : index + 2]
                return following[0] if following and not following[0].startswith("--") else None
            if part.startswith(f"{option}="):
                return part.partition("=")[2]
        return None

    def set_argument(self, option: str, value: str | None = None) -> None:
        """Set ``--option value``, in place when the option is there, else at the end; no value makes it a flag.

        Raises:
            GraphError: the command is a shell script, behind which the option would have no effect.
        """
        if self.shell:
            raise GraphError(
                f"option '{option}' cannot be set on service '{self.name}': its command is a script for {self.shell}, "
                "which would swallow the option; write the command as a list of words, or put the option into the "
                "script"
            )
        args = self.args
        kept: list[str] = []
        place = None
        index = 0
        while index < len(args):
            part = args[index]
            name, joined, _ = part.partition("=")
            index += 1
            if name != option:
                kept.append(part)
                continue
            place = len(kept) if place is None else place
            if not joined and index < len(args) and not args[index].startswith("--"):
                index += 1
        place = len(kept) if place is None else place
        kept[place:place] = [option] if value is None else [option, value]
        self.editable_container["args"] = kept

    def remove_argument(self, option: str) -> bool:
        """Take ``--option`` and its value away; whether it was there."""
        args = self.args
        for index, part in enumerate(args):
            if part == option:
                following = args[index + 1 : index + 2]
                args[index : index + (2 if following and not following[0].startswith("--") else 1)] = []
                self.editable_container["args"] = args
                return True
        return False

    @property
    @abstractmethod
    def environment(self) -> dict[str, str]:
        """Plain name/value variables of the service. Entries with `valueFrom` are left to the cluster."""

    @abstractmethod
    def set_variable(self, name: str, value: str) -> None:
        """Set an environment variable."""

    @property
    def model_option(self) -> str | None:
        """The option that names the model in this service's arguments, if any."""
        return next((option for option in MODEL_OPTIONS if self.argument(option)), None)


class AlphaService(Service):
    """`spec.services.<Name>` of v1alpha1."""

    @property
    def component_types(self) -> tuple[str, str]:
        return str(self.document.get("componentType") or ""), str(self.document.get("subComponentType") or "")

    @property
    def pod(self) -> Document:
        return _child(self.document, "extraPodSpec", make=False)

    def _find_container(self, make: bool) -> Document:
        pod = _child(self.document, "extraPodSpec", make)
        return _child(pod, "mainContainer", make)

    @property
    def environment(self) -> dict[str, str]:
        return _plain([*(self.document.get("envs") or []), *(self.container.get("env") or [])])

    def set_variable(self, name: str, value: str) -> None:
        # The main container's own entries win over the service's, so a variable is set where it already is.
        in_container = any(entry.get("name") == name for entry in self.container.get("env") or [])
        _set_entry((self.editable_container, "env") if in_container else (self.document, "envs"), name, value)


class BetaService(Service):
    """One entry of `spec.components` of v1beta1."""

    @property
    def component_types(self) -> tuple[str, str]:
        return str(self.document.get("type") or ""), ""

    @property
    def pod(self) -> Document:
        return _child(_child(self.document, "podTemplate", make=False), "spec", make=False)

    def _find_container(self, make: bool) -> Document:
        pod = _child(_child(self.document, "podTemplate", make), "spec", make)
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
        return _plain(self.container.get("env") or [])

    def set_variable(self, name: str, value: str) -> None:
        _set_entry((self.editable_container, "env"), name, value)


def _child(parent: Document, key: str, make: bool) -> Document:
    found = parent.get(key)
    if found is None:
        found = {}
        if make:
            parent[key] = found
    if not isinstance(found, dict):
        raise GraphError(f"'{key}' of a service must be a map of fields, not {found!r}")
    return cast("Document", found)


def _plain(entries: list[Document]) -> dict[str, str]:
    return {str(entry["name"]): str(entry["value"]) for entry in entries if "name" in entry and "value" in entry}


def _set_entry(place: tuple[Document, str], name: str, value: str) -> None:
    holder, key = place
    entries = holder.get(key) or []
    holder[key] = [entry for entry in entries if entry.get("name") != name] + [{"name": name, "value": value}]
