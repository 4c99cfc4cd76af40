"""Arguments of the library's import. Robot Framework 7.5 aborts on those that it cannot convert, so we convert them."""

import secrets
from datetime import timedelta
from difflib import get_close_matches
from typing import Any

from robot.running import TypeInfo  # type: ignore[import-untyped]  # Robot types only its API

from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.keywords.component import CONVERTERS, NameList
from DynamoFaultLibrary.keywords.context import Options
from DynamoFaultLibrary.plugins import known_platform
from DynamoFaultLibrary.times import check_fault_time

_HINTS: dict[str, Any] = {
    "platform": str,
    "seed": int | None,
    "fault_ttl": timedelta,
    "allowed_services": NameList | None,
    "allowed_namespaces": NameList | None,
    "allowed_nodes": NameList | None,
    "max_faults": int | None,
}


def parse_options(given: dict[str, Any]) -> Options:
    """The options that the import's arguments say.

    Raises:
        FaultLibraryError: one of them is wrong; the message names it.
    """
    _check_names(given["platform"])
    values = {name: _convert(name, given[name], hint) for name, hint in _HINTS.items()}
    check_fault_time("fault_ttl", values["fault_ttl"])
    if values["max_faults"] is not None and values["max_faults"] < 0:
        raise FaultLibraryError(f"max_faults must be 0 or more, not {values['max_faults']}")
    for name in ("allowed_services", "allowed_namespaces", "allowed_nodes"):
        if values[name] is not None and not any(values[name]):
            raise FaultLibraryError(
                f"{name} names nothing, so that no fault would be allowed; leave it out, or name one"
            )
    radius = BlastRadius(
        values["allowed_services"], values["allowed_namespaces"], values["allowed_nodes"], values["max_faults"]
    )
    seed = secrets.randbelow(2**31) if values["seed"] is None else values["seed"]
    return Options(known_platform(values["platform"]), seed, values["fault_ttl"], radius)


def _check_names(platform: Any) -> None:
    """Robot Framework takes an argument whose name it does not know for the first one's value."""
    name, equals, _ = str(platform).partition("=")
    if equals:
        near = get_close_matches(name, _HINTS)
        proposal = f"did you mean {near[0]}?" if near else f"there are {', '.join(_HINTS)}"
        raise FaultLibraryError(f"there is no import argument '{name}'; {proposal}")


def _convert(name: str, value: Any, hint: Any) -> Any:
    try:
        return TypeInfo.from_type_hint(hint).convert(value, name, CONVERTERS)
    except ValueError as error:
        raise FaultLibraryError(str(error)) from None
