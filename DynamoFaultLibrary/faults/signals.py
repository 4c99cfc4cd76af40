"""Which signals end a process."""

import signal

from DynamoFaultLibrary.errors import FaultError

_HARMLESS = [signal.Signals[f"SIG{name}"] for name in ("STOP", "TSTP", "TTIN", "TTOU", "CONT", "CHLD", "URG", "WINCH")]
"""Signals that stop or continue a process, or that it ignores unless told otherwise (signal(7))."""


def ending_signal(name: str) -> int:
    """Number of a signal that is meant to end a process: ``SIGKILL``, ``kill`` or ``9``.

    Raises:
        FaultError: there is no such signal, or it does not end a process by itself.
    """
    text = name.strip().upper()
    try:
        number = signal.Signals(int(text)) if text.isdigit() else signal.Signals[f"SIG{text.removeprefix('SIG')}"]
    except (KeyError, ValueError):
        raise FaultError(f"'{name}' is not a signal; examples are SIGKILL, SIGTERM, SIGINT, SIGHUP") from None
    if number in _HARMLESS:
        raise FaultError(f"{number.name} does not end a process; use 'Stall Process' to stop one")
    return number
