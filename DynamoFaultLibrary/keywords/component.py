"""Base of the keyword components."""

import math
from collections.abc import Callable, Sequence
from datetime import timedelta
from html import escape
from pathlib import Path
from typing import Any

from assertionengine import AssertionOperator, verify_assertion
from robot.api import logger
from robot.errors import RobotError
from robot.utils import timestr_to_secs  # type: ignore[import-untyped]  # Robot types only its API

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.faults.injector import ActiveFault
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.context import Context
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.reports.timeline import EventKind


class Component:
    """A topic's keywords; what they share is in `context`."""

    def __init__(self, context: Context) -> None:
        self.context = context

    def note(self, kind: EventKind, text: str, monotonic_s: float | None = None, **data: Any) -> None:
        """Put an event on the timeline and in the log; `data` is for programs that read the timeline."""
        event = self.context.timeline.add(kind, text, monotonic_s, **data)
        logger.info(f"{event.at[11:23]}Z {text}")

    def active_here(self) -> list[ActiveFault]:
        """Faults that are in effect on the deployment that is meant, the last one first."""
        name = self.context.deployment.name
        return [each for each in self.context.injector.active if each.entry.target.get("deployment") == name]

    @staticmethod
    def info(text: str) -> None:
        """Log a line with the time in UTC."""
        logger.info(f"{utc_now():%H:%M:%S.%f}"[:12] + f"Z {text}")


def check(value: Any, operator: AssertionOperator | None, expected: Any, what: str, message: str | None = None) -> Any:
    """Return `value`, asserted when an operator is given. `what` names the value in the failure.

    Raises:
        AssertionError: the assertion does not hold.
        FaultLibraryError: it means nothing, such as a number that should be less than a word.
    """
    check_assertion(type(value), operator, expected, what)
    try:
        return verify_assertion(value, operator, expected, what, message)
    except AssertionError as failure:
        are_times = isinstance(value, timedelta) and isinstance(expected, timedelta)
        if message is not None or operator is None or not are_times:
            raise
        seen, wanted = (f"{_digits(each)} s" for each in (value, expected))
        raise AssertionError(f"{what} is {seen}, which should be {_COMPARING[operator.value]} {wanted}") from failure
    except (KeyError, IndexError) as error:
        if message is None:
            raise
        fields = "{value}, {value_type}, {expected} and {expected_type}"
        raise FaultLibraryError(f"message '{message}' has fields beside {fields}") from error
    except (RobotError, RuntimeError, TypeError) as error:  # Robot Framework's evaluation raises a RuntimeError
        raise _cannot_evaluate(value, expected, what, error) from error


_NOT_EVALUATED = "Evaluating expression "
"""How Robot Framework begins to say so."""


def _cannot_evaluate(value: Any, expected: Any, what: str, error: Exception) -> FaultLibraryError:
    why = str(error)
    if why.startswith(_NOT_EVALUATED):
        why = why.partition(" failed: ")[2] or why
    hint = "; value is a timedelta: compare value.total_seconds()" if isinstance(value, timedelta) else ""
    return FaultLibraryError(f"assertion_expected '{expected}' cannot be evaluated for {what}: {why}{hint}")


def _digits(time: timedelta) -> str:
    """Seconds with all digits that a time has, and no exponent."""
    return f"{time.total_seconds():.6f}".rstrip("0").rstrip(".")


_EVALUATING = ("validate", "then")
_COMPARING = {
    "==": "equal to",
    "!=": "unlike",
    "<": "below",
    ">": "above",
    "<=": "at most",
    ">=": "at least",
}
_EXAMPLES = {timedelta: "a time such as '2 s'", int: "a whole number such as 3", float: "a number such as 0.95"}


def check_assertion(kind: type, operator: AssertionOperator | None, expected: Any, what: str) -> None:
    """See that an assertion on a value of that kind can be made at all, before the value is asked for.

    Raises:
        FaultLibraryError: it cannot.
    """
    if operator is None:
        if expected is not None:
            raise FaultLibraryError(f"assertion_expected '{expected}' needs an assertion_operator, such as ==")
        return
    if expected is None:
        raise FaultLibraryError(f"assertion_operator {operator.value} needs assertion_expected: what to compare with")
    if issubclass(kind, str) or operator in [AssertionOperator[name] for name in _EVALUATING]:
        return
    if operator not in [AssertionOperator[name] for name in _COMPARING]:
        able = ", ".join((*_COMPARING, *_EVALUATING))
        raise FaultLibraryError(f"assertion_operator {operator.value} is for texts; {what} takes {able}")
    if isinstance(expected, str):
        wanted = _EXAMPLES.get(kind, "of its kind")
        raise FaultLibraryError(f"assertion_expected must be {wanted} to compare it with {what}, not '{expected}'")
    if isinstance(expected, float) and not math.isfinite(expected):
        raise FaultLibraryError(f"assertion_expected must be a number to compare it with {what}, not {expected}")


def link(path: Path, text: str | None = None) -> str:
    """An HTML link to a result file, relative to where the final log.html will lie."""
    root = robot_context.output_root()
    target = path.relative_to(root) if path.is_relative_to(root) else path
    return f'<a href="{escape(str(target))}">{escape(text or path.name)}</a>'


Operator = AssertionOperator | None


class Duration:
    """What a time is compared with: a Robot Framework time such as ``2 s``, or an expression for ``validate``.

    In an expression ``value`` is a timedelta: ``value.total_seconds() < 2``.
    """

    @staticmethod
    def convert(value: str | float | timedelta) -> timedelta | str:
        """A time becomes a timedelta; anything else stays as it is."""
        if isinstance(value, timedelta):
            return value
        try:
            return timedelta(seconds=timestr_to_secs(value, round_to=None))
        except ValueError:
            return str(value)


class Count:
    """What a number is compared with: a whole number, or an expression for ``validate``."""

    @staticmethod
    def convert(value: str | int) -> int | str:
        """A number becomes an int; anything else stays as it is."""
        try:
            return int(value)
        except ValueError:
            return str(value)


class Number:
    """What a measured number is compared with: a number, or an expression for ``validate``."""

    @staticmethod
    def convert(value: str | float) -> float | str:
        """A number becomes a float; anything else stays as it is."""
        try:
            return float(value)
        except ValueError:
            return str(value)


class Share:
    """What a share is compared with: from 0 to 1, a percentage such as ``90%``, or an expression for ``validate``."""

    @staticmethod
    def convert(value: str | float) -> float | str:
        """A number becomes a float, a percentage a hundredth of it; anything else stays as it is."""
        text = str(value).strip()
        is_percentage = text.endswith("%")
        try:
            return _Written(float(text.removesuffix("%")) / (100 if is_percentage else 1), str(value))
        except ValueError:
            return str(value)

    @staticmethod
    def check(name: str, value: float | str) -> float:
        """A converted share that is one.

        Raises:
            FaultLibraryError: it is not.
        """
        if not isinstance(value, (int, float)) or not 0 <= value <= 1:
            shown = value if isinstance(value, str) else getattr(value, "text", f"{value:g}")
            raise FaultLibraryError(f"{name} must be a share from 0 to 1, or a percentage such as 90%, not {shown}")
        return float(value)


class _Written(float):
    """A number that knows how it was written."""

    text: str

    def __new__(cls, value: float, text: str) -> "_Written":
        made = super().__new__(cls, value)
        made.text = text
        return made


class NameList(list[str]):
    """Several names: ``a, b``, or a list."""

    @staticmethod
    def convert(value: str | Sequence[str]) -> "NameList":
        """Split a text at its commas; a list stays as it is."""
        names = value.split(",") if isinstance(value, str) else value
        return NameList(name.strip() for name in names)


def _keep(value: object) -> object:
    """Leave a value as it is for `calling.judge`: Robot Framework takes an empty text for None, which is no request."""
    return value


def _none(value: object) -> None:
    """``None`` alone means that nothing is given; Robot Framework takes an empty text for it, too."""
    if value is not None and str(value).lower() != "none":
        raise ValueError(f"'{value}' is not None")


CONVERTERS: dict[type, Callable[[Any], Any] | Callable[[Any, Any], Any]] = {
    Duration: Duration.convert,
    Count: Count.convert,
    Number: Number.convert,
    Share: Share.convert,
    NameList: NameList.convert,
    Request: _keep,
    type(None): _none,
}
