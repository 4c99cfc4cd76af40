"""Loaded by each Python that a sabotaged child run starts. In robot itself, injections silently do not happen.

``SABOTAGE`` names the signals that robot believes to have sent, such as ``SIGKILL SIGTERM``.
"""

import os
import signal
import sys

swallowed = {signal.Signals[name] for name in os.environ.get("SABOTAGE", "").split()}

if swallowed and sys.orig_argv[1:3] == ["-m", "robot"]:
    from DynamoFaultLibrary.processes import ProcessId

    honest = ProcessId.send

    def send(self: ProcessId, number: int) -> bool:
        return True if number in swallowed else honest(self, number)

    ProcessId.send = send  # type: ignore[method-assign]
