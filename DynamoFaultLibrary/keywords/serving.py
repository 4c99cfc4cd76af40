"""Finds out which replicas served the requests of a load, from their logs."""

import re
from contextlib import suppress
from typing import TYPE_CHECKING

from DynamoFaultLibrary.errors import FaultLibraryError, LoadError
from DynamoFaultLibrary.load.client import Load
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.log_store import flushed

if TYPE_CHECKING:
    from DynamoFaultLibrary.keywords.context import Context

_RECEIVED = re.compile(
    rb"^(\S+) [^\n]*request received request_id="
    rb"([0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12})",
    re.MULTILINE,
)


def served_by(context: "Context", load: Load) -> Served:
    """Which replicas served the requests of a load so far; kept in its folder.

    Raises:
        DeploymentError: a log cannot be read.
        LoadError: its graph is gone, or an answer is in no replica's log.
    """
    table = load.table()  # before the logs are read, which know all answers that are in it then
    served = _find(context, load, table)
    served.check_complete(table, f"load '{load.plan.name}'")
    return served


def remember_servers(context: "Context", load: Load) -> Served | None:
    """The same for reports, which show what is known; None when nothing is."""
    with suppress(FaultLibraryError):
        served = _find(context, load, load.table())
        return served if len(served.numbers) else None
    return None


def _find(context: "Context", load: Load, table: Table) -> Served:
    if load.served is not None:
        return load.served
    deployment = _deployment_of(context, load)
    # What was logged before the test that started the load is not about it.
    is_new = bool(load.scope) and load.scope == context.test
    logs = [log for worker in deployment.graph.workers for log in context.platform.logs(deployment, worker.name)]
    ways: dict[str, list[tuple[bytes, str]]] = {}
    for log in flushed(logs):  # the last one to receive a request counts
        for stamp, uuid in _RECEIVED.findall(log.since(context.log_start(log) if is_new else 0)):
            ways.setdefault(uuid.decode(), []).append((stamp, log.replica))
    served = Served.of(
        (log.replica for log in logs), {uuid: [name for _, name in sorted(way)] for uuid, way in ways.items()}
    )
    served.save(load.folder.path, table)
    if not load.is_running:
        load.served = served
    return served


def _deployment_of(context: "Context", load: Load) -> Deployment:
    """The graph that a load was sent to."""
    found = next((each for each in context.deployments if each.name == load.deployment), None)
    if found is None:
        raise LoadError(
            f"which replica served the requests of load '{load.plan.name}' is not known: its graph is not deployed any "
            "more; end the load before 'Delete Graph'"
        )
    return found
