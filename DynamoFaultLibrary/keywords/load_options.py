"""The options of a load as arguments of a keyword, made from their one description."""

import inspect
from collections.abc import Callable, Mapping
from typing import Any, TypeVar

from DynamoFaultLibrary.load.plan import OPTIONS, Option, is_choice

Keyword = TypeVar("Keyword", bound=Callable[..., Any])
_ROWS = "%OPTIONS%"


def with_load_options(keyword: Keyword) -> Keyword:
    """Gives a keyword all options of a load in place of its ``**options``, and their table in place of ``%OPTIONS%``.

    Robot Framework and libdoc read the signature: each option is an argument with its own type and default.
    """
    signature = inspect.signature(keyword)
    options = [
        inspect.Parameter(each.name, inspect.Parameter.KEYWORD_ONLY, default=_default(each), annotation=_kind(each))
        for each in OPTIONS
    ]
    *plain, _ = signature.parameters.values()
    first = [one for one in plain if one.kind is not inspect.Parameter.KEYWORD_ONLY]
    rest = [one for one in plain if one.kind is inspect.Parameter.KEYWORD_ONLY]
    keyword.__signature__ = signature.replace(parameters=[*first, *options, *rest])  # type: ignore[attr-defined]
    keyword.__annotations__.update({each.name: each.annotation for each in options})
    documentation = (keyword.__doc__ or "").splitlines()
    lines = [row for line in documentation for row in (_table(line) if _ROWS in line else [line])]
    keyword.__doc__ = "\n".join(lines)
    return keyword


def complete(options: Mapping[str, Any]) -> dict[str, Any]:
    """The given options, and the defaults of the others."""
    unknown = sorted(options.keys() - {each.name for each in OPTIONS})
    if unknown:
        raise TypeError(f"a load has no option {', '.join(unknown)}")
    return {each.name: options.get(each.name, _default(each)) for each in OPTIONS}


def _default(each: Option) -> Any:
    return None if each.name == "seed" or isinstance(each.default, dict) else each.default


def _kind(each: Option) -> Any:
    return each.kind | None if _default(each) is None else each.kind


def _table(line: str) -> list[str]:
    indent = line[: line.index(_ROWS)]
    return [f"{indent}| ``{each.name}`` | {_text(each)} |" for each in OPTIONS]


def _text(each: Option) -> str:
    if each.name == "seed":
        return f"{each.text}; default: the library's"
    if is_choice(each):
        return f"{each.text}: " + " or ".join(f"``{member.value}``" for member in each.kind)
    return each.text
