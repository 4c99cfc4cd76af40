"""Runs a program that starts others, and ends with all of them: ``python -m DynamoFaultLibrary.load.keeper PROGRAM …``.

The program runs as long as somebody holds the other end of this process' standard input: when that closes, by intent or
because its holder was killed, the program and all that it has started end, whatever process groups and sessions they
have made. What a program that has ended leaves behind ends, too.
"""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from types import FrameType

import psutil

from DynamoFaultLibrary.processes import become_subreaper, die_with_parent

_PATIENCE = 1.0


def keep(command: Sequence[str]) -> int:
    """Run it; returns its exit status, as a shell has it."""
    become_subreaper()  # orphans of the program become our children, so none of them gets lost
    program: subprocess.Popen[bytes] | None = None
    early: list[int] = []

    def pass_on(number: int, frame: FrameType | None) -> None:
        if program is not None:
            program.send_signal(number)
        else:
            early.append(number)

    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, pass_on)
    program = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        preexec_fn=die_with_parent,  # noqa: PLW1509  # there are no threads here
    )
    for given in early:
        program.send_signal(given)
    ended = os.pidfd_open(program.pid)
    if ended not in select.select([ended, sys.stdin.fileno()], [], [])[0]:
        program.kill()
    status = program.wait()
    _end_descendants()
    return status if status >= 0 else 128 - status


def _end_descendants() -> None:
    """Kill them; again as long as there are some, since they may have started others meanwhile."""
    while left := psutil.Process().children(recursive=True):
        for process in left:
            with suppress(psutil.NoSuchProcess):
                process.kill()
        psutil.wait_procs(left, _PATIENCE)


if __name__ == "__main__":
    sys.exit(keep(sys.argv[1:]))
