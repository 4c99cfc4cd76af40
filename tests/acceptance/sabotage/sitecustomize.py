"""Loaded by each Python that a sabotaged child run starts. In robot itself, injections silently do not happen.

``SABOTAGE`` names the signals that robot believes to have sent, such as ``SIGKILL SIGTERM``, and the commands that it
believes to have given to its sending process, such as ``cancel``.
"""

import os
import signal
import sys
from typing import Any

words = os.environ.get("SABOTAGE", "").split()
swallowed = {signal.Signals[word] for word in words if word.startswith("SIG")}
forgotten = {word for word in words if not word.startswith("SIG")}

if swallowed and sys.orig_argv[1:3] == ["-m", "robot"]:
    from DynamoFaultLibrary.processes import ProcessId

    honest = ProcessId.send

    def send(self: ProcessId, number: int) -> bool:
        return True if number in swallowed else honest(self, number)

    ProcessId.send = send  # type: ignore[method-assign]

if forgotten and sys.orig_argv[1:3] == ["-m", "robot"]:
    from DynamoFaultLibrary.load.client import SenderProcess

    obey = SenderProcess.command

    def command(self: SenderProcess, do: str, **arguments: Any) -> None:
        if do not in forgotten:
            obey(self, do, **arguments)

    SenderProcess.command = command  # type: ignore[method-assign]
