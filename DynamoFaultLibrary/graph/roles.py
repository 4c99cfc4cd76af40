"""What a service of a graph is there for."""

import re
from collections.abc import Callable, Mapping
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
_MODES = {"prefill": Role.PREFILL, "decode": Role.DECODE, "encode": Role.ENCODE}
"""Values of --disaggregation-mode; `agg`, `pd` and others make a plain worker."""
_FLAGS = {
    "--is-prefill-worker": Role.PREFILL,
    "--is-decode-worker": Role.DECODE,
    "--multimodal-decode-worker": Role.DECODE,
    "--multimodal-encode-worker": Role.ENCODE,
    "--encode-worker": Role.ENCODE,
}
_MODE_VARIABLES = re.compile(r"DYN_\w*DISAGGREGATION_MODE")
_FLAG_VARIABLES = {re.compile(rf"DYN_\w*{flag[2:].replace('-', '_').upper()}"): role for flag, role in _FLAGS.items()}


def role_by_type(component: str, part: str = "") -> Role | None:
    """The role that a component type and its sub-type tell; None where they leave it open."""
    if component in _TYPES and component not in _MODES:
        return _TYPES[component]
    return _TYPES.get(part) or _TYPES.get(component)


def role_by_program(module: str | None, value: Callable[[str], str | None], has: Callable[[str], bool]) -> Role | None:
    """The role that a program and its options tell; None where they leave it open."""
    if module is None:
        return None
    known = [role for name, role in _MODULES.items() if module == name or module.startswith(f"{name}.")]
    if known:
        return known[0]
    if role := _MODES.get(value("--disaggregation-mode") or ""):
        return role
    return next((role for flag, role in _FLAGS.items() if has(flag)), None)


def role_by_variables(variables: Mapping[str, str]) -> Role | None:
    """The role that environment variables of an engine tell."""
    for name, value in variables.items():
        if _MODE_VARIABLES.fullmatch(name) and value in _MODES:
            return _MODES[value]
        if value.lower() in ("1", "true", "yes", "on"):
            for pattern, role in _FLAG_VARIABLES.items():
                if pattern.fullmatch(name):
                    return role
    return None
