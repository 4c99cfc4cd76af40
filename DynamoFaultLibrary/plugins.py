"""Platforms by name: those of this package, and those that other packages bring along.

A platform is a package with two modules. ``platform`` has `open_platform`, which makes it; ``undoers`` has `UNDOERS`,
what its undo recipes mean, and imports no more than those need; it may have `sweep`, which takes off what bears the
name of a run, whatever the ledger says, and returns what is left. Another distribution names its package in the entry
point group ``DynamoFaultLibrary.platforms``.
"""

import sys
from importlib import import_module
from types import ModuleType

from DynamoFaultLibrary.errors import FaultLibraryError

LOCAL = "local"
GROUP = "DynamoFaultLibrary.platforms"
_OWN = {LOCAL: "DynamoFaultLibrary.platforms.local"}
_NEEDED = {"platform": "open_platform", "undoers": "UNDOERS"}
"""What the modules of a platform have."""


def platform_names() -> list[str]:
    """All platforms that are installed, this package's own first."""
    return list(_OWN | _plugged())


def known_platform(name: str) -> str:
    """The name of an installed platform, given in upper or lower case.

    Raises:
        FaultLibraryError: there is none of that name; the message lists those that there are.
    """
    if name.casefold() in _OWN:
        return name.casefold()
    installed = {each.casefold(): each for each in platform_names()}
    if name.casefold() not in installed:
        raise FaultLibraryError(f"there is no platform '{name}'; installed are {', '.join(installed.values())}")
    return installed[name.casefold()]


def platform_module(platform: str, module: str) -> ModuleType:
    """A module of the package of a platform, imported when it is first asked for.

    Raises:
        FaultLibraryError: no such platform is installed, something that it imports is not, or it lacks what it needs.
    """
    package = _OWN.get(platform) or (_plugged() | _OWN)[known_platform(platform)]
    try:
        found = import_module(f"{package}.{module}")
        getattr(found, _NEEDED[module])
    except (Exception, SystemExit) as error:  # it may do anything when it is imported
        raise FaultLibraryError(f"platform '{platform}' cannot be loaded from package '{package}': {error}") from error
    return found


def _plugged() -> dict[str, str]:
    import site  # this and what follows costs a guard more time than all else that it imports
    from importlib.metadata import entry_points

    if sys.flags.no_site and site.ENABLE_USER_SITE is None:  # a guard, started without what is installed
        site.main()
    return {point.name: point.value for point in entry_points(group=GROUP)}
