"""Replicas that end though nobody here has ordered it: they go into timeline, log and failures, at their own time."""

import re
from collections.abc import Iterable
from contextlib import suppress

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.faults.injector import ActiveFault
from DynamoFaultLibrary.keywords.context import Context, UnorderedEnd
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.replicas import EndedReplica
from DynamoFaultLibrary.reports.timeline import EventKind

_BETWEEN_NAMES = re.compile(r"[ ,|]+")


def note_unordered_ends(context: Context) -> None:
    """Look for them. What cannot be seen, since the supervisor is gone, others tell."""
    for deployment in context.deployments:
        with suppress(FaultLibraryError):
            for end in context.platform.ended(deployment):
                if end.replica.incarnation not in context.unordered_ends and not is_ordered(context, end):
                    _note(context, deployment, end)


def tell_unordered_ends(context: Context, since_s: float, message: str) -> list[str]:
    """Those since a moment on the monotonic clock that a message does not name yet, as `_tell` has them."""
    note_unordered_ends(context)
    return _tell(end for end in context.unordered_ends.values() if end.at >= since_s and end.what not in message)


def _tell(ends: Iterable[UnorderedEnd]) -> list[str]:
    """Sentences in the order of the ends, which say how long ago each was."""
    in_order = sorted(ends, key=lambda end: end.at)
    return [f"{end}, {seconds_text(monotonic() - end.at)} ago" for end in in_order]


def nothing_comes(context: Context, deployment: Deployment, service: str) -> str:
    """Why nothing more comes from a service; empty when something may.

    All its replicas have ended, and neither the platform nor the undo of a fault of ours starts them again. What cannot
    be seen, others tell.
    """
    if context.platform.replaces_ended:
        return ""
    with suppress(FaultLibraryError):
        ended = [end for end in context.platform.ended(deployment) if end.replica.service == service]
        ordered = any(is_ordered(context, end) for end in ended)
        if ended and not ordered and not context.platform.replicas(deployment, service):
            note_unordered_ends(context)
            found = (context.unordered_ends.get(end.replica.incarnation) for end in ended)
            told = _tell(filter(None, found))
            return f"no replica of '{service}' runs any more, and nobody starts one: {'; '.join(told)}"
    return ""


def frontend_is_gone(context: Context, name: str) -> str:
    """Why nothing more comes from the frontend of the deployment of that name; empty when something may."""
    if not name:
        return ""
    found = next((each for each in context.deployments if each.name == name), None)
    return nothing_comes(context, found, found.graph.frontend.name) if found else "its graph is not deployed any more"


def is_ordered(context: Context, end: EndedReplica) -> bool:
    """Whether a fault that was in effect before has ordered this end: its undo starts the replica again."""
    return any(
        end.replica.incarnation in fault.fault.effect.ended and fault.injected_s <= end.exit.at + end.exit.within_s
        for fault in context.faults
    )


def _faults_on(context: Context, deployment: Deployment, end: EndedReplica) -> list[ActiveFault]:
    """Faults that were in effect on a replica when it ended."""
    return [
        fault
        for fault in context.faults
        if fault.entry.target.get("deployment") == deployment.name
        and end.replica.name in _BETWEEN_NAMES.split(str(fault.entry.target.get("replica")))
        and fault.injected_s <= end.exit.at + end.exit.within_s
        and (fault.recovered_s is None or end.exit.at <= fault.recovered_s)
    ]


def _note(context: Context, deployment: Deployment, end: EndedReplica) -> None:
    others = [str(fault) for fault in _faults_on(context, deployment, end)]
    during = f" while {' and '.join(others)} was in effect" if others else ""
    noted = UnorderedEnd(end.exit.at, str(end), f"{during}; nobody here ordered that (log: {end.replica.log})")
    context.unordered_ends[end.replica.incarnation] = noted
    context.timeline.add(EventKind.FAULT, str(noted), end.exit.at)
