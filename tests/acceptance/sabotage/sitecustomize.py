"""Loaded by each Python that a sabotaged child run starts. In robot itself, injections silently do not happen.

``SABOTAGE`` names the signals that robot believes to have sent, such as ``SIGKILL SIGTERM``; ``cancel`` means that it
believes to have told its sending process so, ``NETWORK`` that it believes to have put in packet filters and to have
closed connections. CUDA toggles are not switched on with ``CUDA``; with ``CUDA_EVERYBODY`` those of all
replicas are.
"""

import os
import signal
import sys
from typing import Any

names = os.environ.get("SABOTAGE", "").split()
swallowed = {signal.Signals[name] for name in names if name.startswith("SIG")}
forgotten = {name for name in names if name == "cancel"}
is_robot = sys.orig_argv[1:3] == ["-m", "robot"]

if "NETWORK" in names and is_robot:
    from DynamoFaultLibrary.net.filter import PacketFilter
    from DynamoFaultLibrary.platforms.local import partition

    PacketFilter.add_table = lambda *ignored: None  # type: ignore[method-assign]
    partition.destroy = lambda found: found  # type: ignore[attr-defined]

if swallowed and is_robot:
    from DynamoFaultLibrary.processes import ProcessId

    honest = ProcessId.send

    def send(self: ProcessId, number: int) -> bool:
        return True if number in swallowed else honest(self, number)

    ProcessId.send = send  # type: ignore[method-assign]

if {"CUDA", "CUDA_EVERYBODY"} & {*names} and is_robot:
    from DynamoFaultLibrary.platforms.local.toggle import LocalToggle

    honestly = LocalToggle.switch_on

    def switch_on(self: LocalToggle, rule: str, generation: int) -> None:
        places = self.path.parent.parent.iterdir() if "CUDA_EVERYBODY" in names else []
        for place in places:
            honestly(LocalToggle(place / self.path.name), rule, generation)

    LocalToggle.switch_on = switch_on  # type: ignore[method-assign]

if forgotten and is_robot:
    from DynamoFaultLibrary.load.process import SenderProcess

    obey = SenderProcess.command

    def command(self: SenderProcess, do: str, **arguments: Any) -> None:
        if do not in forgotten:
            obey(self, do, **arguments)

    SenderProcess.command = command  # type: ignore[method-assign]
