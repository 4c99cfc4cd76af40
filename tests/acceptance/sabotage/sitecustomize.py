"""Loaded by each Python that a sabotaged child run starts. In robot itself, injections silently do not happen.

``SABOTAGE`` names the signals that robot believes to have sent, such as ``SIGKILL SIGTERM``. CUDA toggles
are not switched on, or (``SABOTAGE_CUDA=everybody``) those of all replicas are.
"""

import os
import signal
import sys

cuda = os.environ.get("SABOTAGE_CUDA")
swallowed = {signal.Signals[name] for name in os.environ.get("SABOTAGE", "").split()}

if swallowed and sys.orig_argv[1:3] == ["-m", "robot"]:
    from DynamoFaultLibrary.processes import ProcessId

    honest = ProcessId.send

    def send(self: ProcessId, number: int) -> bool:
        return True if number in swallowed else honest(self, number)

    ProcessId.send = send  # type: ignore[method-assign]

if cuda and sys.orig_argv[1:3] == ["-m", "robot"]:
    from DynamoFaultLibrary.nodes.cuda_toggle import Toggle

    honestly = Toggle.switch_on

    def switch_on(self: Toggle, rule: str, generation: int) -> None:
        places = self.path.parent.parent.iterdir() if cuda == "everybody" else []
        for place in places:
            honestly(Toggle(place / self.path.name), rule, generation)

    Toggle.switch_on = switch_on  # type: ignore[method-assign]
