"""References that Kubernetes resolves in `command` and `args`: ``$(NAME)``, with ``$$`` for a dollar sign."""

import re
from collections.abc import Callable

Lookup = Callable[[str], str | None]
"""The value of an environment variable of the container, None when it is not known."""

_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][\w.-]*)\)")


def expand(text: str, lookup: Lookup) -> str:
    """The text as a process gets it; a reference to a variable that is not known stays as it is."""

    def put(match: re.Match[str]) -> str:
        if match[1] is None:
            return "$"
        value = lookup(match[1])
        return match[0] if value is None else value

    return _REFERENCE.sub(put, text)


def references(text: str) -> set[str]:
    """Names of the variables that a text refers to."""
    return {match[1] for match in _REFERENCE.finditer(text) if match[1]}


def escape(text: str) -> str:
    """The text as it must be written so that a process gets it as it is."""
    return re.sub(r"\$(?=[$(])", "$$", text)
