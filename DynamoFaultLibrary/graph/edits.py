"""Edits of a graph, made as their user means them: each reaches what it speaks of, or says why not."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.document import Graph
from DynamoFaultLibrary.graph.service import MODEL_OPTIONS

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


@dataclass(frozen=True)
class Change:
    """One edit of one service, and the place in the document where it was written."""

    service: str
    what: str
    """Such as ``--router-mode=kv``, ``replicas=3``, ``model=tiny-model``."""
    place: str
    """Such as ``args``, ``shell command in args[0]``, ``env MODEL_PATH``."""
    reached: bool = True
    """False: the place still says what it said, and `place` says why."""


def apply_edits(graph: Graph, edits: Edits) -> list[Change]:
    """Edit the graph; returns what went where.

    Raises:
        GraphError: an edit cannot be made, would have no effect, or contradicts another; the graph may be half edited.
    """
    changes = [
        *_set_replicas(graph, edits.replicas),
        *_set_variables(graph, edits.env),
        *_set_model_and_arguments(graph, edits),
        *_set_frontend_arguments(graph, edits),
    ]
    if edits.image:
        for service in graph.services.values():
            service.image = edits.image
            changes.append(Change(service.name, f"image={edits.image}", "image"))
    return changes


def _set_replicas(graph: Graph, replicas: Mapping[str, int] | int | None) -> list[Change]:
    if replicas is None:
        return []
    if isinstance(replicas, Mapping):
        wanted = {name: int(count) for name, count in replicas.items()}
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
    for option in MODEL_OPTIONS:
        if model and args.get(option, model) != model:
            raise GraphError(f"model={model} and args say different things: args has {option}={args[option]}")
    changes = []
    if model:
        graph.set_model(model)
        changes += [Change(service.name, f"model={model}", "args") for service in graph.workers]
    for service in graph.workers:
        for option, value in args.items():
            service.set_argument(option, str(value) or None)
            changes.append(Change(service.name, _said(option, value), "args"))
    return changes


def _set_frontend_arguments(graph: Graph, edits: Edits) -> list[Change]:
    wanted = {option: str(value) for option, value in edits.frontend_args.items()}
    own = {
        "--router-mode": ("router_mode", edits.router_mode),
        MIGRATION_LIMIT: ("migration_limit", edits.migration_limit),
        MIGRATION_MAX_SEQ_LEN: ("migration_max_seq_len", edits.migration_max_seq_len),
    }
    for option, (name, setting) in own.items():
        if setting is None:
            continue
        if wanted.setdefault(option, str(setting)) != str(setting):
            raise GraphError(
                f"{name}={setting} and frontend_args say different things: frontend_args has {option}={wanted[option]}"
            )
    for option, value in wanted.items():
        graph.frontend.set_argument(option, value or None)
    longest = wanted.get(MIGRATION_MAX_SEQ_LEN)
    if longest is not None and (graph.frontend.argument(MIGRATION_LIMIT) or "0") == "0":
        raise GraphError(f"migration_max_seq_len={longest} has no effect while migration is off; set migration_limit")
    return [Change(graph.frontend.name, _said(option, value), "args") for option, value in wanted.items()]


def _said(option: str, value: str) -> str:
    return f"{option}={value}" if value else option


def _check_workers(graph: Graph, what: str) -> None:
    if not graph.workers:
        raise GraphError(f"{what} has no effect: graph '{graph.name}' has no worker service ({graph.source})")
