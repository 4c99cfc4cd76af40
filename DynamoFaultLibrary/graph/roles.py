"""What a service of a graph is there for."""

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
