"""Puts things in the way of a suite."""

import os
import signal
import socket
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import sleep

import psutil
from robot.libraries.BuiltIn import BuiltIn

from DynamoFaultLibrary.clock import monotonic


class Obstacles:
    ROBOT_LIBRARY_SCOPE = "GLOBAL"

    def __init__(self) -> None:
        self.sockets: list[socket.socket] = []

    def occupy_a_port(self) -> int:
        listener = socket.create_server(("127.0.0.1", 0))
        self.sockets.append(listener)
        port: int = listener.getsockname()[1]
        return port

    def empty_the_logs_of(self, service: str) -> None:
        output = Path(str(BuiltIn().get_variable_value("${OUTPUT DIR}")))
        for log in output.rglob(f"{service}-*.log"):
            log.write_text("")

    @staticmethod
    def stop_counting_faults() -> None:
        """Lift the limit of faults at once, which the suite's import has set."""
        library = BuiltIn().get_library_instance("DynamoFaultLibrary")
        library.context.injector.radius = replace(library.context.injector.radius, max_faults=None)

    @staticmethod
    def kill_the_supervisor() -> None:
        """As the kernel's out-of-memory killer may."""
        platform = BuiltIn().get_library_instance("DynamoFaultLibrary").context.platform
        (status, *_) = platform.supervisor.status().values()
        os.kill(psutil.Process(status.process.pid).ppid(), signal.SIGKILL)

    def kill_from_outside(self, service: str) -> None:
        """As the kernel does it when memory runs out: the library has not ordered it."""
        context = BuiltIn().get_library_instance("DynamoFaultLibrary").context
        (replica,) = context.platform.replicas(context.deployment, service)
        print(f"killed at {monotonic()}")
        os.kill(replica.incarnation.pid, signal.SIGKILL)
        assert context.platform.wait_exit(replica, timedelta(seconds=5)) is not None

    @staticmethod
    def look_away_for_a_second() -> None:
        """Let what has happened grow old before it is noticed, so that the two times can be told apart."""
        sleep(1.0)

    def fill_the_disk_of_the_ledger(self) -> None:
        """From now on each write to it fails with ENOSPC."""
        (ledger,) = self._state().glob("runs/*.jsonl")
        ledger.rename(ledger.with_suffix(".kept"))
        ledger.symlink_to("/dev/full")

    def give_the_ledger_back(self) -> None:
        (kept,) = self._state().glob("runs/*.kept")
        kept.replace(kept.with_suffix(".jsonl"))

    @staticmethod
    def _state() -> Path:
        return Path(os.environ["DYNAMO_FAULT_STATE"])
