"""What this machine cannot do with a graph and settings is refused before anything starts."""

import re
from collections.abc import Iterable, Iterator, Sequence, Set
from pathlib import Path

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.platforms.local.commands import runs_python
from DynamoFaultLibrary.platforms.local.overriding import contradictions
from DynamoFaultLibrary.platforms.local.pod import Pod
from DynamoFaultLibrary.platforms.settings import DeploySettings

_MOST_REPLICAS = 1000
_NAME = re.compile(r"[A-Za-z0-9_]([\w.-]{0,61}\w)?", re.ASCII)
"""Names that become those of files; Kubernetes and its operator allow less."""
_WHY_NO_NAME = "names have 1 to 63 letters, digits, '-', '_' and '.', and begin and end with a letter or digit"


def check_graph(graph: Graph, settings: DeploySettings) -> None:
    """See that a graph can be on this machine, and that each setting means something with it.

    Raises:
        DeploymentError: it cannot, or one does not; the message names it as the keyword's argument.
    """
    for problem in _problems(graph, settings):
        raise DeploymentError(problem)


def model_problems(services: Iterable[Service]) -> Iterator[tuple[str, str]]:
    """Services whose model is a path that is not there, and why not; any other name is looked up at huggingface.co."""
    for service in services:
        model = service.model if service.role.is_worker else None
        if model is None or not model.startswith(("/", "./", "../", "~")):
            continue
        if not model.startswith("/"):
            yield (
                service.name,
                f"model '{model}' of service '{service.name}' is a relative path, but each deployment runs in a "
                "directory of its own; give an absolute one",
            )
        elif not Path(model).exists():
            yield service.name, f"model '{model}' of service '{service.name}' is a path that does not exist"


def part_problems(graph: Graph, services: Sequence[Service], servers: Set[str]) -> Iterator[tuple[str, str, str]]:
    """What a graph lacks, or has too much, to be deployed for itself: service, subject and problem.

    `services` are those that are started, `servers` the names of what the platform adds.
    """
    for name in sorted(servers & graph.services.keys()):
        yield name, "name", f"service '{name}' has the name of a server that these settings start; give it another"
    frontends = [service for service in services if service.is_frontend]
    has = f"graph '{graph.name}' has no {{}} among its services {list(graph.services)}"
    if not frontends:
        why = (
            "a router of another graph sends it requests, but here each graph is deployed for itself; "
            "deploy one that has a frontend"
        )
        yield "", "frontend", f"{has.format('frontend')}: {why}"
    elif not graph.workers:
        why = (
            "its workers are in other graphs, but here each graph is deployed for itself, so there is nothing that "
            "could answer"
        )
        yield "", "workers", f"{has.format('worker')}: {why}"
    for needed in (frontends, graph.workers):
        if needed and not any(service.replicas for service in needed):
            names = " and ".join(f"'{service.name}'" for service in needed)
            problem = f"graph '{graph.name}' has 0 replicas of {names}, so there is nothing that could answer"
            yield "", "replicas", problem


def check_containers(pod: Pod) -> None:
    """See that a pod's containers can be told apart.

    Raises:
        DeploymentError: two have the same name, or one has none that a file can have.
    """
    whose, seen = f"service '{pod.service.name}'", set()
    for container in pod.containers():
        if not _NAME.fullmatch(container.name):
            raise DeploymentError(f"{whose} has a container called {container.name!r}: {_WHY_NO_NAME}")
        if container.name in seen:
            raise DeploymentError(f"{whose} has two containers called '{container.name}'; give each its own name")
        seen.add(container.name)


def _problems(graph: Graph, settings: DeploySettings) -> Iterator[str]:
    if settings.interpreter is not None and not any(map(runs_python, graph.services.values())):
        yield f"interpreter={settings.interpreter} has no effect: no service of graph '{graph.name}' starts python3"
    for name in (graph.name, *graph.services):
        if not _NAME.fullmatch(name):
            yield f"{'graph' if name == graph.name else 'service'} {name!r} cannot be deployed: {_WHY_NO_NAME}"
    replicas = sum(service.replicas for service in graph.services.values())
    if replicas > _MOST_REPLICAS:
        yield (
            f"graph '{graph.name}' has {replicas} replicas, each a process of its own; platform 'local' starts at "
            f"most {_MOST_REPLICAS}"
        )
    yield from contradictions(settings)
