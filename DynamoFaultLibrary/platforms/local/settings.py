"""What cannot be meant is refused before anything starts; a setting without effect here is never ignored."""

from collections.abc import Iterable, Iterator
from pathlib import Path

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.platforms.base import DeploySettings, Discovery
from DynamoFaultLibrary.platforms.local.commands import runs_python
from DynamoFaultLibrary.platforms.local.overriding import contradictions
from DynamoFaultLibrary.times import time_problem

_MEMBERS = (1, 3, 5)
_PORTS = range(1, 65536)


def check_settings(graph: Graph, settings: DeploySettings) -> None:
    """See that each setting means something on this machine, with this graph.

    Raises:
        DeploymentError: one does not; the message names it as the keyword's argument.
    """
    for problem in _problems(graph, settings):
        raise DeploymentError(problem)


def model_problems(services: Iterable[Service]) -> Iterator[tuple[str, str]]:
    """Services whose model is a path that is not there, and why not; any other name is looked up at huggingface.co."""
    for service in services:
        model = service.argument(service.model_option) if service.role.is_worker and service.model_option else None
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


def _problems(graph: Graph, settings: DeploySettings) -> Iterator[str]:
    if problem := time_problem(settings.timeout):
        yield f"timeout {problem}"
    if settings.ready_responses < 1:
        yield f"ready_responses must be 1 or more, not {settings.ready_responses}"
    if settings.http_port is not None and settings.http_port not in _PORTS:
        yield f"http_port must be from 1 to {_PORTS[-1]}, not {settings.http_port}"
    if settings.image is not None:
        yield f"image={settings.image} has no effect on this machine: platform 'local' starts processes, not containers"
    if settings.etcd_members is not None:
        if settings.discovery is not Discovery.ETCD:
            yield f"etcd_members={settings.etcd_members} has no effect without discovery=etcd"
        if settings.etcd_members not in _MEMBERS:
            yield f"etcd_members must be 1, 3 or 5, not {settings.etcd_members}"
    if settings.interpreter is not None and not any(map(runs_python, graph.services.values())):
        yield f"interpreter={settings.interpreter} has no effect: no service of graph '{graph.name}' starts python3"
    yield from contradictions(settings)
