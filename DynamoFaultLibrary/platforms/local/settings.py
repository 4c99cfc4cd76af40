"""What cannot be meant is refused before anything starts; a setting without effect here is never ignored."""

from collections.abc import Iterator
from pathlib import Path

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.platforms.base import DeploySettings, Discovery
from DynamoFaultLibrary.platforms.local.commands import runs_python
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


def check_models(graph: Graph) -> None:
    """See that each model of a worker which is a path is there; any other name Dynamo looks up at huggingface.co.

    Raises:
        DeploymentError: one is not.
    """
    for service in graph.workers:
        model = service.argument(service.model_option) if service.model_option else None
        if model is None or not model.startswith(("/", "./", "../", "~")):
            continue
        if not model.startswith("/"):
            raise DeploymentError(
                f"model '{model}' of service '{service.name}' is a relative path, but each deployment runs in a "
                "directory of its own; give an absolute one"
            )
        if not Path(model).exists():
            raise DeploymentError(f"model '{model}' of service '{service.name}' is a path that does not exist")


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
    yield from _contradictions(graph, settings)


def _contradictions(graph: Graph, settings: DeploySettings) -> Iterator[str]:
    """Where the graph says otherwise what this platform decides."""
    planes = {
        "DYN_DISCOVERY_BACKEND": ("discovery", settings.discovery),
        "DYN_REQUEST_PLANE": ("request_plane", settings.request_plane),
        "DYN_EVENT_PLANE": ("event_plane", settings.event_plane),
    }
    for service in graph.services.values():
        environment = {**graph.environment, **service.environment}
        for variable, (setting, value) in planes.items():
            said = environment.get(variable, value.value)
            if said != value.value:
                yield f"service '{service.name}' sets {variable}={said}, but {setting} is {value.value}; use {setting}="
    for option in ("--http-port", "--http-host"):
        if any(word.partition("=")[0] == option for word in graph.frontend.command):
            yield (
                f"service '{graph.frontend.name}' has the option {option}, but this platform chooses where a frontend "
                "listens; use http_port="
            )
