"""Edits of a graph, made as their user means them: each reaches what it speaks of, or says why not."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.change import Change
from DynamoFaultLibrary.graph.document import Graph
from DynamoFaultLibrary.graph.launchers import DYNAMO, FRONTEND_MODULE, guess_module
from DynamoFaultLibrary.graph.model import ModelEdit
from DynamoFaultLibrary.graph.options import aliases_of, names_of
from DynamoFaultLibrary.graph.program import CommandLine
from DynamoFaultLibrary.graph.roles import Role
from DynamoFaultLibrary.graph.service import Service

MIGRATION_LIMIT, MIGRATION_MAX_SEQ_LEN = "--migration-limit", "--migration-max-seq-len"


@dataclass(frozen=True)
class Edits:
    """What to change in a graph; fields are called as the arguments of `Deploy Graph`."""

    replicas: Mapping[str, int] | int | None = None
    model: str | None = None
    image: str | None = None
    env: Mapping[str, str] = field(default_factory=dict)
    args: Mapping[str, str] = field(default_factory=dict)
    """Options of the workers; an empty value makes a flag."""
    frontend_args: Mapping[str, str] = field(default_factory=dict)
    router_mode: str | None = None
    migration_limit: int | None = None
    migration_max_seq_len: int | None = None


def apply_edits(graph: Graph, edits: Edits) -> list[Change]:
    """Edit the graph; returns what went where.

    Raises:
        GraphError: an edit cannot be made, would have no effect, or contradicts another; the graph may be half edited.
    """
    _check(edits)
    changes = [
        *_set_replicas(graph, edits.replicas),
        *_set_variables(graph, edits.env),
        *_set_model_and_arguments(graph, edits),
        *_set_frontend_arguments(graph, edits),
    ]
    return [*changes, *_set_image(graph, edits.image)]


def _own_settings(edits: Edits) -> dict[str, str]:
    """The frontend's settings that have arguments of their own; their options and variables are called alike."""
    names = ("router_mode", "migration_limit", "migration_max_seq_len")
    return {name: str(getattr(edits, name)) for name in names if getattr(edits, name) is not None}


def _check(edits: Edits) -> None:
    """See that no two edits say different things, and that each says something."""
    for name in ("model", "image", "router_mode"):
        if getattr(edits, name) == "":
            raise GraphError(f"{name} must not be empty")
    for name in edits.env:
        if not name or "=" in name:
            raise GraphError(f"env must have names of variables, not {name!r}")
    model = {"--model": ("model", edits.model)} if edits.model else {}
    _check_options("args", edits.args, model)
    own = _own_settings(edits)
    _check_options(
        "frontend_args", edits.frontend_args, {f"--{name.replace('_', '-')}": (name, own[name]) for name in own}
    )
    for name, value in own.items():
        variable = f"DYN_{name.upper()}"
        if edits.env.get(variable, value) != value:
            raise GraphError(f"{name}={value} and env say different things: env has {variable}={edits.env[variable]}")


def _check_options(where: str, given: Mapping[str, str], others: Mapping[str, tuple[str, str]]) -> None:
    """See that options are names, and that no two of them are one to the program; `others` are those beside them."""
    seen: dict[str, tuple[str, str]] = dict(others)
    for option, value in given.items():
        if not re.fullmatch(r"--?[^\s=-][^\s=]*", option):
            raise GraphError(f"{where} must have names of options, such as --max-num-seqs, not {option!r}")
        names = names_of(option.replace("_", "-") if option.startswith("--") else option)
        for name in (name for name in names if name in seen):
            first, other = seen[name]
            if other != str(value) or names_of(name)[0] not in aliases_of(names[0]):
                raise GraphError(
                    f"{first}={other} and {where} say different things: {where} has {option}={value}"
                    if name in others
                    else f"{where} says two things of one option: {first}={other} and {option}={value}"
                )
        seen |= {names[0]: (option, str(value))}


def _set_replicas(graph: Graph, replicas: Mapping[str, int] | int | None) -> list[Change]:
    if replicas is None:
        return []
    if isinstance(replicas, Mapping):
        if not replicas:
            raise GraphError("replicas={} has no effect: it names no service; leave it out, or write replicas=2")
        wanted = dict(replicas)
    else:
        _check_workers(graph, f"replicas={replicas}")
        wanted = {service.name: replicas for service in graph.workers}
    for name, count in wanted.items():
        graph.service(name).replicas = count
    return [Change(name, f"replicas={count}", "replicas") for name, count in wanted.items()]


def _set_variables(graph: Graph, env: Mapping[str, str]) -> list[Change]:
    changes = []
    for service in graph.services.values():
        for name, value in env.items():
            service.set_variable(name, str(value))
            changes.append(Change(service.name, f"{name}={value}", "env"))
    return changes


def _set_model_and_arguments(graph: Graph, edits: Edits) -> list[Change]:
    model, args = edits.model, edits.args
    if args:
        _check_workers(graph, f"args={dict(args)}")
    if model:
        _check_workers(graph, f"model={model}")
    changes = ModelEdit(graph, model).apply() if model else []
    for service in graph.workers:
        for option, value in args.items():
            place = service.set_argument(option, str(value) or None)
            changes.append(Change(service.name, _said(option, value), place))
    return changes


def _set_image(graph: Graph, image: str | None) -> list[Change]:
    """Give the image to all that runs Dynamo: the picker of endpoints, engines' own images and the like are others."""
    changes = []
    for service in graph.services.values() if image else ():
        what = f"image={image}"
        if service.role is Role.EPP or (service.role is Role.OTHER and not DYNAMO.fullmatch(service.module or "")):
            changes.append(Change(service.name, what, "image", f"a service of role {service.role} has its own image"))
        else:
            service.image = str(image)
            changes.append(Change(service.name, what, "image"))
        for label, line in service.command_lines():
            if label and line.container.get("image"):
                changes.append(_set_container_image(service, label, line, str(image)))
    return changes


def _set_container_image(service: Service, label: str, line: CommandLine, image: str) -> Change:
    if DYNAMO.fullmatch(guess_module(line.words) or ""):
        line.container["image"] = image
        return Change(service.name, f"image={image}", f"{label}image")
    return Change(service.name, f"image={image}", f"{label}image", "it does not run a program of Dynamo")


def _set_frontend_arguments(graph: Graph, edits: Edits) -> list[Change]:
    own = _own_settings(edits)
    wanted = {option: str(value) for option, value in edits.frontend_args.items()}
    wanted |= {f"--{name.replace('_', '-')}": value for name, value in own.items()}
    if not wanted:
        return []
    changes = []
    for frontend in [service for service in graph.services.values() if service.is_frontend] or [graph.frontend]:
        _check_frontend(frontend, [f"{name}={value}" for name, value in own.items()])
        for option, value in wanted.items():
            changes.append(Change(frontend.name, _said(option, value), frontend.set_argument(option, value or None)))
        limit = frontend.argument(MIGRATION_LIMIT) or frontend.variables.get("DYN_MIGRATION_LIMIT") or "0"
        if MIGRATION_MAX_SEQ_LEN in wanted and limit == "0":
            raise GraphError(
                f"migration_max_seq_len={wanted[MIGRATION_MAX_SEQ_LEN]} has no effect while migration is off; "
                "set migration_limit"
            )
    return changes


def _check_frontend(frontend: Service, settings: list[str]) -> None:
    """See that settings of Dynamo's frontend are not given to a program of another project."""
    if settings and frontend.module not in (None, FRONTEND_MODULE):
        raise GraphError(
            f"{' '.join(settings)} has no effect: service '{frontend.name}' runs {frontend.module}, not "
            "dynamo.frontend; give it options of its own with frontend_args"
        )


def _said(option: str, value: str) -> str:
    return f"{option}={value}" if value else option


def _check_workers(graph: Graph, what: str) -> None:
    if not graph.workers:
        raise GraphError(f"{what} has no effect: graph '{graph.name}' has no worker service ({graph.source})")
