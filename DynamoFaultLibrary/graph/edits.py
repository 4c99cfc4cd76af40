"""Edits of a graph that may contradict each other: two ways to say one thing must say the same."""

from collections.abc import Mapping

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.document import Graph
from DynamoFaultLibrary.graph.service import MODEL_OPTIONS

MIGRATION_LIMIT, MIGRATION_MAX_SEQ_LEN = "--migration-limit", "--migration-max-seq-len"


def set_replicas(graph: Graph, replicas: Mapping[str, int] | int | None) -> None:
    """Set the number of replicas of all workers, or by service name.

    Raises:
        GraphError: there is no such service, or no worker.
    """
    if isinstance(replicas, Mapping):
        for name, count in replicas.items():
            graph.service(name).replicas = int(count)
    elif replicas is not None:
        _check_workers(graph, f"replicas={replicas}")
        for service in graph.workers:
            service.replicas = replicas


def set_model_and_arguments(graph: Graph, model: str | None, args: Mapping[str, str] | None) -> None:
    """Set the workers' model and options; an empty value makes a flag.

    Raises:
        GraphError: there is no worker to set them for, or both name the model and differ.
    """
    if args:
        _check_workers(graph, f"args={dict(args)}")
    for option in MODEL_OPTIONS:
        if model and args and args.get(option, model) != model:
            raise GraphError(f"model={model} and args say different things: args has {option}={args[option]}")
    if model:
        graph.set_model(model)
    for service in graph.workers:
        for option, value in (args or {}).items():
            service.set_argument(option, str(value) or None)


def set_frontend_arguments(
    graph: Graph, frontend_args: Mapping[str, str] | None, own: Mapping[str, tuple[str, object | None]]
) -> None:
    """Set options of the frontend; `own` has, by option, the name and value of the argument that sets it too.

    Raises:
        GraphError: two of them differ, or one would have no effect.
    """
    wanted = {option: str(value) for option, value in (frontend_args or {}).items()}
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


def _check_workers(graph: Graph, what: str) -> None:
    if not graph.workers:
        raise GraphError(f"{what} has no effect: graph '{graph.name}' has no worker service ({graph.source})")
