"""Between Robot Framework and a keyword: refuses values that no keyword can want, and chooses the graph that is meant.

Robot Framework converts what is written; it lets a negative time pass, any word as a truth value, and any text where a
request belongs. What is judged here is judged for all keywords, by the types of their arguments.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from types import UnionType
from typing import Any, TypeVar, Union, get_args, get_origin

from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError
from DynamoFaultLibrary.keywords.context import Context
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.times import duration_text, time_problem

GRAPH = "graph"
LONGEST = timedelta(days=365)
LARGEST = 2**31 - 1
_LIMITS: dict[str, tuple[float, float]] = {
    "http_port": (1, 65535),
    "loss": (1, 100),
    "min_rate": (0, 1),
    "percentile": (1, 100),
    "probability": (0, 1),
    "ready_responses": (1, LARGEST),
    "replicas": (1, LARGEST),
    "seed": (-(2**63), 2**63 - 1),
}
"""Least and most where a number is not from 0 to `LARGEST`."""
_ANY_TEXT = ("prompt", "message")
"""Arguments whose text may be empty."""

Keyword = TypeVar("Keyword", bound=Callable[..., Any])


def on_graph(keyword: Keyword) -> Keyword:
    """Gives a keyword the argument ``graph``: while it runs, the context's deployment is the one of that alias."""
    keyword.on_graph = True  # type: ignore[attr-defined]  # read by `takes_graph`
    return keyword


def takes_graph(keyword: Callable[..., Any]) -> bool:
    """Whether `on_graph` stands above a keyword."""
    return bool(getattr(keyword, "on_graph", False))


def with_graph(arguments: Sequence[Any]) -> list[Any]:
    """The arguments of a keyword as Robot Framework is told of them, with ``graph`` as the last one."""
    starred = any(isinstance(each, str) and each.startswith("*") for each in arguments)
    return [*arguments, *([] if starred else ["*"]), (GRAPH, None)]


def bind(arguments: Sequence[Any], given: Sequence[Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Which argument gets which value; those that are not given get their default."""
    bound: dict[str, Any] = {}
    rest = list(given)
    for each in arguments:
        name, default = each if isinstance(each, tuple) else (each, None)
        if name.startswith("*"):
            if name != "*":
                bound[name[1:]] = tuple(rest)
            rest = []
        else:
            bound[name] = named[name] if name in named else rest.pop(0) if rest else default
    return bound


def judge(bound: Mapping[str, Any], types: Mapping[str, Any]) -> None:
    """Refuse values that no keyword can want.

    Raises:
        FaultLibraryError: one is; the message names the argument.
    """
    for name, value in bound.items():
        for one in value if isinstance(value, tuple) else [value]:
            problem = _problem(name, one, _kinds(types.get(name)))
            if problem:
                raise FaultLibraryError(f"{name} {problem}")


def meant(
    context: Context, keyword: Callable[..., Any], bound: Mapping[str, Any], alias: str | None
) -> Deployment | None:
    """The deployment that a call means: that of `alias`, else that of its request, else that of its load.

    A keyword with ``graph`` starts a load at that graph, whatever load had this name before.
    None: the call says nothing of it, so it is the last one.

    Raises:
        DeploymentError: there is no such graph, or a request went to another one.
    """
    values = [one for value in bound.values() for one in (value if isinstance(value, tuple) else [value])]
    requests = [value for value in values if isinstance(value, Request)]
    load = None if takes_graph(keyword) else context.loads.get(str(bound.get("load")))
    asked = context.deployment_of(alias) if alias is not None else None
    homes = [deployment for deployment in context.deployments if deployment.name in {r.deployment for r in requests}]
    if len(homes) > 1 or (asked is not None and homes and homes[0] is not asked):
        raise DeploymentError(
            f"{', '.join(map(str, requests))} went to {', '.join(map(context.alias_of, homes))}"
            + (f", not to graph '{alias}'" if asked is not None else ", which are different graphs")
        )
    if load is not None:
        homes += [deployment for deployment in context.deployments if deployment.name == load.deployment]
    return asked or (homes[0] if homes else None)


def _kinds(hint: Any) -> tuple[Any, ...]:
    return get_args(hint) if get_origin(hint) in (Union, UnionType) else (hint,)


def _problem(name: str, value: Any, kinds: Sequence[Any]) -> str:
    problem = ""
    if value is None:
        return problem
    if Request in kinds and not isinstance(value, Request):
        problem = f"must be a request as 'Start Request' returns it, not {_shown(value)}"
    elif bool in kinds and not isinstance(value, bool):
        problem = f"must be True or False, not {_shown(value)}"
    elif isinstance(value, timedelta):
        negative = f"must not be negative, but is {duration_text(value)}"
        problem = negative if value < timedelta(0) else time_problem(value, may_be_zero=True, most=LONGEST)
    elif isinstance(value, int | float) and not isinstance(value, bool) and (int in kinds or float in kinds):
        problem = _number_problem(name, value)
    elif value == "" and name not in _ANY_TEXT and str in kinds:
        problem = "must not be empty"
    return problem


def _number_problem(name: str, value: float) -> str:
    least, most = _LIMITS.get(name, (0, LARGEST))
    if not math.isfinite(value):
        return f"must be a number, not {value:g}"
    if least <= value <= most:
        return ""
    if name == "percentile" and 0 < value < 1:
        return (
            f"must be from {least} to {most}, not {value:g}; for the {100 * value:g}th percentile write {100 * value:g}"
        )
    if most == LARGEST:
        return f"must be {least} or more, not {value:g}" if value < least else f"must be {most} at most, not {value:g}"
    return f"must be from {least} to {most}, not {value:g}"


def _shown(value: Any) -> str:
    if isinstance(value, list | tuple):
        return "a list; write @{requests} to give the items of ${requests}"
    return f"'{value}'"
