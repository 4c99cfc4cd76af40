"""Undo recipes: data in the ledger, and what carries them out.

A recipe names its ``platform`` and an ``action`` of it; without a platform it is one of `local`, as versions before
wrote them. The platform's module ``undoers`` has an idempotent function for each action (see `plugins`), and is loaded
when a recipe asks for it. The action ``nothing`` is the ledger's own: what was done leaves no trace to take off.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum, IntEnum, auto
from pathlib import Path
from types import ModuleType
from typing import Any

from DynamoFaultLibrary.errors import FaultLibraryError, RecoveryError
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.plugins import LOCAL, platform_module

Recipe = dict[str, Any]


class Rank(IntEnum):
    """The order in which all that a run has left comes off."""

    FAULT = 0
    PROCESS = 1
    PLACE = 2
    """A directory, a network interface: what processes may be using."""
    REPLACEMENT = 3
    """What starts a replica again."""


class Reach(Enum):
    """Where an undo has an effect."""

    BOOT = auto()
    """On the machine that it is for, until that starts anew: nothing is left of it then."""
    FILES = auto()
    """On that machine, and in the files that it shares with others."""
    ANYWHERE = auto()


@dataclass(frozen=True)
class Undoer:
    """What an action means.

    `undo` gets the recipe with ``state`` in it, the state directory that its files belong to; it may be called again,
    verifies, and returns what was found or done, for the log. With `goes_with_deployment` nothing is left to undo once
    the deployment is gone.
    """

    undo: Callable[[Recipe], str]
    rank: Rank
    reach: Reach = Reach.BOOT
    goes_with_deployment: bool = False


_NOTHING = Undoer(lambda recipe: "there is nothing to undo", Rank.FAULT, Reach.ANYWHERE)


def undoer_of(recipe: Recipe) -> Undoer:
    """What the action of a recipe means.

    Raises:
        RecoveryError: its platform is not installed, or has no such action; the message says which there are.
    """
    platform, action = str(recipe.get("platform", LOCAL)), str(recipe.get("action"))
    if action == "nothing":
        return _NOTHING
    known: Mapping[str, Undoer] = _undoers(platform).UNDOERS
    if not isinstance(known.get(action), Undoer):
        raise RecoveryError(f"platform '{platform}' has no undo action '{action}'; it has {', '.join(known)}")
    return known[action]


def sweep(platform: str, run: str) -> list[str]:
    """Have a platform take off what bears the name of a run, ledger or not; returns what is left, a sentence each.

    Most need not: they have no ``sweep`` in their module.

    Raises:
        RecoveryError: the platform is not installed, or does not know what is left.
    """
    taking_off: Callable[[str], list[str]] = getattr(_undoers(platform), "sweep", lambda run: [])
    try:
        return taking_off(run)
    except Exception as error:  # whatever it is, other runs are still to be recovered
        raise RecoveryError(str(error) or repr(error)) from error


def _undoers(platform: str) -> ModuleType:
    try:
        return platform_module(platform, "undoers")
    except FaultLibraryError as error:
        raise RecoveryError(f"install the package of its platform: {error}") from error


def undo(recipe: Recipe, state: Path | None = None) -> str:
    """Carry out `recipe` and verify it; calling it again does no harm. Returns what was found or done, for the log.

    `state` is the state directory that its files belong to, by default this process' own.

    Raises:
        RecoveryError: the recipe is unknown or not for us, or what it undoes is still there.
    """
    undoer = undoer_of(recipe)
    try:
        return undoer.undo({**recipe, "state": state or state_directory()})
    except (KeyError, TypeError, ValueError) as error:
        raise RecoveryError(f"undo recipe {recipe} lacks what its action needs: {error!r}") from error
