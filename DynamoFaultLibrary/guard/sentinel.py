"""The guard's own guard: a forked process that does nothing until the guard is killed.

It holds the reading end of a pipe. A byte in it means that the guard has undone everything by itself; end of file
without one means that it was killed. Then the sentinel takes off, by the ledger alone, what this client's run holds.
"""

import os
import signal
import sys

from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.ledger.recovery import problems, recover_owned


class Sentinel:
    """Started by the guard, and again if somebody ends it."""

    def __init__(self, ledger: Ledger, connection: int) -> None:
        self.pid = 0
        self._ledger = ledger
        self._connection = connection
        self._alive = -1

    def start(self) -> None:
        """Fork it."""
        if self._alive >= 0:
            os.close(self._alive)
        reading, self._alive = os.pipe()
        sys.stderr.flush()
        self.pid = os.fork()
        if self.pid == 0:
            self._stand_guard(reading)
        os.close(reading)

    def dismiss(self) -> None:
        """Everything is undone: let it end."""
        os.write(self._alive, b"!")
        os.close(self._alive)

    def _stand_guard(self, reading: int) -> None:
        status = 1
        try:
            signal.set_wakeup_fd(-1)
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            os.setsid()
            os.close(self._alive)
            os.close(self._connection)  # else robot would not see the guard's end
            if not os.read(reading, 1):
                found = recover_owned(self._ledger)
                for line in [f"sentinel: the guard was killed, {len(found.recovered)} undone", *problems([found])]:
                    print(line, file=sys.stderr, flush=True)
            status = 0
        except Exception as error:
            print(f"sentinel: {error!r}", file=sys.stderr, flush=True)
        finally:
            os._exit(status)
