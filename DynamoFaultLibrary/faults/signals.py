"""Which signals end a process."""

import signal

from DynamoFaultLibrary.errors import FaultError


def ending_signal(name: str) -> int:
    """Number of a signal that is meant to end a process: ``SIGKILL``, ``kill`` or ``9``.

    Raises:
        FaultError: there is no such signal, or it stops or continues a process instead.
    """
    text = name.strip().upper()
    try:
        number = signal.Signals(int(text)) if text.isdigit() else signal.Signals[f"SIG{text.removeprefix('SIG')}"]
    except (KeyError, ValueError):
        raise FaultError(f"'{name}' is not a signal; examples are SIGKILL, SIGTERM, SIGINT, SIGHUP") from None
    if number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT):
        raise FaultError(f"{number.name} does not end a process; use 'Stall Process'")
    return number
