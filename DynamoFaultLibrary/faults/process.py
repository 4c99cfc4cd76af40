"""Process faults: killed, shut down, stalled."""

import signal
from abc import abstractmethod
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol, runtime_checkable

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError
from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.base import Deployment, Replacing, Replica, Signalling
from DynamoFaultLibrary.processes import STOPPED, ProcessId, read_command

RECOVERY_TIMEOUT = timedelta(seconds=60)
STALL_TIMEOUT = timedelta(seconds=2)


@runtime_checkable
class ProcessPlatform(Signalling, Replacing, Protocol):
    """What process faults need of a platform."""


@dataclass
class ProcessFault(Fault):
    """A signal to processes of one replica."""

    platform: ProcessPlatform
    deployment: Deployment
    replica: Replica
    processes: list[ProcessId]
    signal: int
    _commands: dict[ProcessId, str] = field(init=False)
    _sent_s: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        self._commands = {process: read_command(process.pid) for process in self.processes}

    @property
    def target(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment.name,
            "service": self.replica.service,
            "replica": self.replica.name,
            "signal": self.signal_name,
            "processes": [{**process.to_json(), "command": self._commands[process]} for process in self.processes],
        }

    @property
    def signal_name(self) -> str:
        """Such as SIGKILL."""
        return signal.Signals(self.signal).name

    def inject(self) -> None:
        self._sent_s = monotonic()
        self.platform.send(self.replica, self.processes, self.signal)

    @abstractmethod
    def prove(self) -> list[str]:
        """See `Fault.prove`."""

    def _name(self, process: ProcessId) -> str:
        return f"pid {process.pid} ({_short(self._commands[process])})"


@dataclass
class EndProcesses(ProcessFault):
    """Processes of a replica are ended by a signal; with `respawn` the replica is started again at once."""

    kind: ClassVar[str] = "Terminate Process"
    timeout: timedelta = timedelta(seconds=5)
    respawn: bool = False

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "respawn", "name": self.replica.key}

    def prove(self) -> list[str]:
        if not wait_until(lambda: not any(process.is_running for process in self.processes), self.timeout, 0.001):
            left = [self._name(process) for process in self.processes if process.is_running]
            raise EvidenceMissing(
                f"{', '.join(left)} of {self.replica.name} still runs {seconds_text(self.timeout.total_seconds())} "
                f"after {self.signal_name} (log: {self.replica.log})"
            )
        evidence = [self._death_of_leader()] if self.replica.process in self.processes else []
        others = [process for process in self.processes if process != self.replica.process]
        if others:
            after = seconds_text(monotonic() - self._sent_s)
            evidence.append(f"{', '.join(map(self._name, others))} gone within {after} of {self.signal_name}")
        if self.respawn:
            started = self.platform.respawn(self.deployment, self.replica)
            self.compensation = f"{self.replica.name} was started again as pid {started.process.pid}"
            evidence.append(self.compensation)
        return evidence

    def _death_of_leader(self) -> str:
        ended = self.platform.wait_exit(self.replica, self.timeout)
        if ended is None:
            raise EvidenceMissing(f"{self.replica.name} is not reported as ended after {self.signal_name}")
        if self.signal == signal.SIGKILL and ended.signal != signal.SIGKILL:
            raise EvidenceMissing(f"{self.replica.name} ended otherwise than by SIGKILL: {ended.how}")
        after = seconds_text(max(0.0, ended.at - self._sent_s))
        return f"{self._name(self.replica.process)}: {ended.how}, {after} after {self.signal_name}"

    def recover(self) -> str:
        replica = self.platform.respawn(self.deployment, self.replica)
        self.platform.wait_ready(self.deployment, RECOVERY_TIMEOUT)
        return f"{replica.name} runs as pid {replica.process.pid} and serves"


@dataclass
class KillReplica(EndProcesses):
    """A whole replica dies: SIGKILL to each process of its group, or SIGTERM to its leader for a graceful end."""

    kind: ClassVar[str] = "Kill Worker"

    def prove(self) -> list[str]:
        evidence = super().prove()
        if not self.respawn:
            left = self.platform.processes(self.replica)
            if left:
                raise EvidenceMissing(f"{len(left)} processes of {self.replica.name} are left: {left}")
            evidence.append(f"nobody is left in its process group (it had {len(self._commands)})")
        return evidence


@dataclass
class StallProcesses(ProcessFault):
    """Processes are stopped by SIGSTOP: sockets stay open, nothing answers."""

    kind: ClassVar[str] = "Stall Process"
    signal: int = signal.SIGSTOP

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "continue", "processes": [process.to_json() for process in self.processes]}

    def prove(self) -> list[str]:
        if not wait_until(lambda: all(process.state == STOPPED for process in self.processes), STALL_TIMEOUT, 0.001):
            states = [f"{self._name(process)} is in state {process.state}" for process in self.processes]
            raise EvidenceMissing(f"not all processes of {self.replica.name} are stopped (T): {', '.join(states)}")
        after = seconds_text(monotonic() - self._sent_s)
        return [f"{self._name(process)} is in state T, {after} after SIGSTOP" for process in self.processes]

    def recover(self) -> str:
        return undo(self.recipe)


def _short(command: str) -> str:
    """What tells a process from others: the module that Python runs, else the program."""
    words = command.split()
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    return words[0].rpartition("/")[2] if words else "?"


def check_ending_signal(number: int) -> None:
    """See that a signal is meant to end a process.

    Raises:
        FaultError: it stops or continues one instead.
    """
    if number in (signal.SIGSTOP, signal.SIGTSTP, signal.SIGCONT):
        raise FaultError(f"{signal.Signals(number).name} does not end a process; use 'Stall Process'")
