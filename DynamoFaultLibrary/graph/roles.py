"""What a service of a graph is there for."""

import re
from collections.abc import Sequence
from enum import StrEnum


class Role(StrEnum):
    """The part that a service plays, by its component type and by what it runs."""

    FRONTEND = "frontend"
    WORKER = "worker"
    PREFILL = "prefill"
    DECODE = "decode"
    ENCODE = "encode"
    PLANNER = "planner"
    ROUTER = "router"
    EPP = "epp"
    """Endpoint picker of the Gateway API inference extension."""
    OTHER = "other"

    @property
    def is_worker(self) -> bool:
        """Whether such a service runs an engine that answers requests; what is said of workers reaches it."""
        return self in _WORKERS


_WORKERS = frozenset({Role.WORKER, Role.PREFILL, Role.DECODE, Role.ENCODE})

_TYPES = {
    "frontend": Role.FRONTEND,
    "prefill": Role.PREFILL,
    "decode": Role.DECODE,
    "encode": Role.ENCODE,
    "planner": Role.PLANNER,
    "router": Role.ROUTER,
    "epp": Role.EPP,
}
"""Component types that say all; `worker`, `main` and the default leave open which one."""
_MODULES = {
    "dynamo.frontend": Role.FRONTEND,
    "dynamo.planner": Role.PLANNER,
    "dynamo.global_planner": Role.PLANNER,
    "dynamo.router": Role.ROUTER,
    "dynamo.global_router": Role.ROUTER,
}
_MODULE = re.compile(r"(?:dynamo|DynamoFaultLibrary\.engines)\.\w+")


def role_of(component: str, part: str, command: Sequence[str]) -> Role:
    """The role that a component type, its sub-type and a command line tell, in this order."""
    if component in _TYPES and component not in ("prefill", "decode", "encode"):
        return _TYPES[component]
    for said in (part, component):
        if said in _TYPES:
            return _TYPES[said]
    module = _MODULE.search(" ".join(command))
    return _MODULES.get(module[0], Role.WORKER) if module else Role.WORKER
