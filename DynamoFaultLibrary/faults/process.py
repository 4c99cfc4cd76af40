"""Process faults: killed, shut down, stalled."""

import signal
import socket
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar, Protocol, runtime_checkable

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.errors import DeploymentError, EvidenceMissing, FaultError
from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.base import ControlPlane, Deployment, Observing, Replacing, Signalling
from DynamoFaultLibrary.platforms.replicas import Replica, ReplicaExit
from DynamoFaultLibrary.processes import STOPPED, ProcessId, read_command

STALL_TIMEOUT = timedelta(seconds=2)


@runtime_checkable
class ProcessPlatform(Signalling, Replacing, Observing, Protocol):
    """What process faults need of a platform."""


@runtime_checkable
class MemberPlatform(ProcessPlatform, ControlPlane, Protocol):
    """What faults of control-plane members need of a platform."""


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
    _hit: list[ProcessId] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if not self.processes:
            raise FaultError(f"{self.replica.name} has no process to hit; see its log {self.replica.log}")
        self._commands = {process: read_command(process.pid) for process in self.processes}

    @property
    def target(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment.name,
            "node": socket.gethostname(),
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
        self._hit = self.platform.send(self.replica, self.processes, self.signal)

    @abstractmethod
    def prove(self) -> list[str]:
        """See `Fault.prove`."""

    def _check_hit(self, wanted: Sequence[ProcessId]) -> None:
        missed = [self._name(process) for process in wanted if process not in self._hit]
        if missed:
            raise EvidenceMissing(
                f"{self.signal_name} did not reach {', '.join(missed)} of {self.replica.name}: gone before it was sent"
            )

    def _name(self, process: ProcessId) -> str:
        return f"pid {process.pid} ({_short(self._commands.get(process, ''))})"


@dataclass
class EndProcesses(ProcessFault):
    """Processes of a replica are ended by a signal; with `respawn` the replica is started again at once."""

    kind: ClassVar[str] = "Terminate Process"
    timeout: timedelta = timedelta(seconds=5)
    respawn: bool = False
    _ended: ReplicaExit | None = field(init=False, default=None)

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "respawn", "name": self.replica.key, "victim": self.replica.process.to_json()}

    def prove(self) -> list[str]:
        self._check_hit(self._must_be_hit)
        if not wait_until(lambda: not any(process.is_running for process in self.processes), self.timeout, 0.001):
            left = [self._name(process) for process in self.processes if process.is_running]
            raise EvidenceMissing(
                f"{', '.join(left)} of {self.replica.name} still runs {seconds_text(self.timeout.total_seconds())} "
                f"after {self.signal_name} (log: {self.replica.log})"
            )
        self.effective_s = monotonic()
        evidence = [self._death_of_leader()] if self.replica.process in self.processes else []
        others = [process for process in self.processes if process != self.replica.process]
        if others:
            after = seconds_text(monotonic() - self._sent_s)
            evidence.append(f"{', '.join(map(self._name, others))} gone within {after} of {self.signal_name}")
        if self.respawn:
            started = self.platform.respawn(self.deployment, self.replica)
            self.made_good_s = monotonic()
            self.compensation = f"{self.replica.name} was started again as pid {started.process.pid}"
            evidence.append(self.compensation)
        return evidence

    @property
    def _must_be_hit(self) -> Sequence[ProcessId]:
        return self.processes

    def _death_of_leader(self) -> str:
        ended = self.platform.wait_exit(self.replica, self.timeout)
        if ended is None:
            raise EvidenceMissing(f"{self.replica.name} is not reported as ended after {self.signal_name}")
        if self.signal == signal.SIGKILL and ended.signal != signal.SIGKILL:
            raise EvidenceMissing(f"{self.replica.name} ended otherwise than by SIGKILL: {ended.how}")
        if ended.at < self._sent_s:
            raise EvidenceMissing(f"{self.replica.name} had ended before {self.signal_name} was sent: {ended.how}")
        self._ended = ended
        self.effective_s = min(self.effective_s, ended.at)
        after = seconds_text(ended.at - self._sent_s)
        return f"{self._name(self.replica.process)}: {ended.how}, {after} after {self.signal_name}"

    def undo(self) -> str:
        replica = self.platform.respawn(self.deployment, self.replica)
        return f"{replica.name} runs as pid {replica.process.pid}"

    def verify(self) -> str:
        self.platform.wait_ready(self.deployment, self.deployment.settings.timeout)
        return "all replicas serve"

    @property
    def verification(self) -> Hashable:
        return "ready", self.deployment.name

    @property
    def is_over_when_undone(self) -> bool:
        return False


@dataclass
class KillReplica(EndProcesses):
    """A whole replica dies: SIGKILL to each process of its group, or SIGTERM to its leader for a graceful end."""

    kind: ClassVar[str] = "Kill Replica"
    _size: int = field(init=False, default=0)

    @property
    def _must_be_hit(self) -> Sequence[ProcessId]:
        return [self.replica.process]  # the others may come and go

    def inject(self) -> None:
        self._size = len(self.platform.processes(self.replica))
        super().inject()

    def prove(self) -> list[str]:
        evidence = super().prove()
        if self.respawn:
            return evidence
        if not wait_until(self._is_gone, self.timeout, 0.002):
            left = [f"pid {p.pid} ({_short(p.command)})" for p in self.platform.processes(self.replica)]
            raise EvidenceMissing(f"{self.replica.name} has processes left after {self.signal_name}: {', '.join(left)}")
        return [*evidence, f"no process of {self.replica.name} is left (it had {self._size})"]

    def _is_gone(self) -> bool:
        left = self.platform.processes(self.replica)
        if left and self.signal == signal.SIGKILL:  # whoever was forked while the group was being killed
            if self.platform.wait_exit(self.replica, timedelta(0)) != self._ended:  # its successor has the same mark
                raise EvidenceMissing(f"{self.replica.name} was started again before all of its processes were gone")
            self.platform.send(self.replica, left, self.signal)
        return not left


class KillWorker(KillReplica):
    """A whole replica of a worker service dies."""

    kind = "Kill Worker"


@dataclass
class StallProcesses(ProcessFault):
    """Processes are stopped by SIGSTOP: sockets stay open, nothing answers."""

    kind: ClassVar[str] = "Stall Process"
    lifetime: ClassVar[str] = "duration"
    signal: int = signal.SIGSTOP
    whole: bool = False
    """Whether `processes` are all of the replica: then there may be no others when it is stopped."""

    def __post_init__(self) -> None:
        super().__post_init__()
        stopped = [self._name(process) for process in self.processes if process.state == STOPPED]
        if stopped:
            raise FaultError(
                f"{', '.join(stopped)} of {self.replica.name} is stopped already (state T), so to stall it would prove "
                "nothing; let it go on first, or give the fault that stalls it more time with 'Renew Fault'"
            )

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "continue", "processes": [process.to_json() for process in self.processes]}

    def prove(self) -> list[str]:
        if not wait_until(lambda: all(process.state == STOPPED for process in self.processes), STALL_TIMEOUT, 0.001):
            states = [f"{self._name(process)} is in state {process.state}" for process in self.processes]
            raise EvidenceMissing(f"not all processes of {self.replica.name} are stopped (T): {', '.join(states)}")
        self.effective_s = monotonic()
        others = set(self.platform.processes(self.replica)) - set(self.processes) if self.whole else set()
        if others:
            raise EvidenceMissing(f"{self.replica.name} has started {[p.pid for p in others]} while it was stopped")
        after = seconds_text(self.effective_s - self._sent_s)
        return [f"{self._name(process)} is in state T, {after} after SIGSTOP" for process in self.processes]

    def undo(self) -> str:
        return undo(self.recipe)

    @property
    def moot(self) -> str:
        return "" if any(process.is_running for process in self.processes) else "its processes have ended"

    @property
    def moot_s(self) -> float | None:
        with suppress(DeploymentError):  # deleted, or lost with its supervisor
            for end in self.platform.ended(self.deployment):
                if end.replica.process == self.replica.process:
                    return end.exit.at
        return None


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
