"""Signals as effects: processes of a replica on this machine end, or stop and go on."""

import signal
from abc import abstractmethod
from collections.abc import Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.errors import DeploymentError, EvidenceMissing, FaultError
from DynamoFaultLibrary.platforms.base import Deployment, Observing, Replacing
from DynamoFaultLibrary.platforms.effects import Effect, End
from DynamoFaultLibrary.platforms.local.machine import leader_of
from DynamoFaultLibrary.platforms.local.undoers import local_recipe
from DynamoFaultLibrary.platforms.replicas import Incarnation, Replica, ReplicaExit
from DynamoFaultLibrary.processes import STOPPED, ProcessId

STALL_TIMEOUT = timedelta(seconds=2)


class Host(Observing, Replacing, Protocol):
    """What these effects need of the platform."""

    def processes(self, replica: Replica) -> list[ProcessId]:
        """Living processes of a replica, its leader first."""
        ...

    def send(self, replica: Replica, processes: Sequence[ProcessId], number: int) -> list[ProcessId]:
        """Send a signal to processes of a replica; returns those that were there to get it."""
        ...


@dataclass
class SignalEffect(Effect):
    """A signal to processes of one replica."""

    host: Host
    deployment: Deployment
    replica: Replica
    processes: Sequence[ProcessId]
    number: int
    _commands: dict[ProcessId, str] = field(init=False)
    _hit: list[ProcessId] = field(init=False, default_factory=list)

    def __post_init__(self) -> None:
        if not self.processes:
            raise FaultError(f"{self.replica.name} has no process to hit; see its log {self.replica.log}")
        self._commands = {process: process.command for process in self.processes}

    @property
    def leader(self) -> ProcessId:
        """The process that a replica lives and dies with."""
        return leader_of(self.replica)

    @property
    def facts(self) -> dict[str, Any]:
        processes = [{**process.to_json(), "command": self._commands[process]} for process in self.processes]
        return {"signal": self.signal_name, "processes": processes}

    @property
    def signal_name(self) -> str:
        """Such as SIGKILL."""
        return signal.Signals(self.number).name

    def apply(self) -> None:
        """Send it."""
        self.applied_s = monotonic()
        self._hit = self.host.send(self.replica, self.processes, self.number)

    @abstractmethod
    def prove(self) -> list[str]:
        """See `Effect.prove`."""

    def _check_hit(self, wanted: Sequence[ProcessId]) -> None:
        missed = [self._name(process) for process in wanted if process not in self._hit]
        if missed:
            raise EvidenceMissing(
                f"{self.signal_name} did not reach {', '.join(missed)} of {self.replica.name}: gone before it was sent"
            )

    def _name(self, process: ProcessId) -> str:
        return f"{process} ({_short(self._commands.get(process, ''))})"


@dataclass
class EndOfProcesses(SignalEffect):
    """Processes of a replica are ended by a signal; with `respawn` the replica is started again at once."""

    timeout: timedelta = timedelta(seconds=5)
    respawn: bool = False
    _ended: ReplicaExit | None = field(init=False, default=None)

    @property
    def recipe(self) -> dict[str, Any]:
        return local_recipe("respawn", name=self.replica.key, victim=self.leader.to_json())

    @property
    def ended(self) -> Sequence[Incarnation]:
        return [self.replica.incarnation]

    def prove(self) -> list[str]:
        self._check_hit(self._must_be_hit)
        if not wait_until(lambda: not any(process.is_running for process in self.processes), self.timeout, 0.001):
            left = [self._name(process) for process in self.processes if process.is_running]
            raise EvidenceMissing(
                f"{', '.join(left)} of {self.replica.name} still runs {seconds_text(self.timeout.total_seconds())} "
                f"after {self.signal_name} (log: {self.replica.log})"
            )
        self.effective_s = monotonic()
        evidence = [self._death_of_leader()] if self.leader in self.processes else []
        others = [process for process in self.processes if process != self.leader]
        if others:
            after = seconds_text(monotonic() - self.applied_s)
            evidence.append(f"{', '.join(map(self._name, others))} gone within {after} of {self.signal_name}")
        if self.respawn:
            started = self.host.respawn(self.deployment, self.replica)
            self.made_good_s = monotonic()
            self.compensation = f"{self.replica.name} was started again as {started.incarnation}"
            evidence.append(self.compensation)
        return evidence

    @property
    def _must_be_hit(self) -> Sequence[ProcessId]:
        return self.processes

    def _death_of_leader(self) -> str:
        ended = self.host.wait_exit(self.replica, self.timeout)
        if ended is None:
            raise EvidenceMissing(f"{self.replica.name} is not reported as ended after {self.signal_name}")
        if self.number == signal.SIGKILL and ended.signal != signal.SIGKILL:
            raise EvidenceMissing(f"{self.replica.name} ended otherwise than by SIGKILL: {ended.how}")
        if ended.at < self.applied_s:
            raise EvidenceMissing(f"{self.replica.name} had ended before {self.signal_name} was sent: {ended.how}")
        self._ended = ended
        self.effective_s = min(self.effective_s, ended.at)
        after = seconds_text(ended.at - self.applied_s)
        return f"{self._name(self.leader)}: {ended.how}, {after} after {self.signal_name}"

    def heal(self) -> str:
        replica = self.host.respawn(self.deployment, self.replica)
        return f"{replica.name} runs as {replica.incarnation}"

    def verify(self) -> str:
        self.host.wait_ready(self.deployment, self.deployment.settings.timeout)
        return "all replicas serve"

    @property
    def verification(self) -> Hashable:
        return "ready", self.deployment.name


@dataclass
class EndOfReplica(EndOfProcesses):
    """A whole replica dies: SIGKILL to each process of its group, or another signal to its leader."""

    _size: int = field(init=False, default=0)

    @property
    def _must_be_hit(self) -> Sequence[ProcessId]:
        return [self.leader]  # the others may come and go

    def apply(self) -> None:
        self._size = len(self.host.processes(self.replica))
        super().apply()

    def prove(self) -> list[str]:
        evidence = super().prove()
        if self.respawn:
            return evidence
        if not wait_until(self._is_gone, self.timeout, 0.002):
            left = [f"{p} ({_short(p.command)})" for p in self.host.processes(self.replica)]
            raise EvidenceMissing(f"{self.replica.name} has processes left after {self.signal_name}: {', '.join(left)}")
        return [*evidence, f"no process of {self.replica.name} is left (it had {self._size})"]

    def _is_gone(self) -> bool:
        left = self.host.processes(self.replica)
        if left and self.number == signal.SIGKILL:  # whoever was forked while the group was being killed
            if self.host.wait_exit(self.replica, timedelta(0)) != self._ended:  # its successor has the same mark
                raise EvidenceMissing(f"{self.replica.name} was started again before all of its processes were gone")
            self.host.send(self.replica, left, self.number)
        return not left


@dataclass
class Pause(SignalEffect):
    """Processes are stopped by SIGSTOP: sockets stay open, nothing answers."""

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
        return local_recipe("continue", processes=[process.to_json() for process in self.processes])

    def prove(self) -> list[str]:
        if not wait_until(lambda: all(process.state == STOPPED for process in self.processes), STALL_TIMEOUT, 0.001):
            states = [f"{self._name(process)} is in state {process.state}" for process in self.processes]
            raise EvidenceMissing(f"not all processes of {self.replica.name} are stopped (T): {', '.join(states)}")
        self.effective_s = monotonic()
        others = set(self.host.processes(self.replica)) - set(self.processes) if self.whole else set()
        if others:
            raise EvidenceMissing(f"{self.replica.name} has started {[p.pid for p in others]} while it was stopped")
        after = seconds_text(self.effective_s - self.applied_s)
        return [f"{self._name(process)} is in state T, {after} after SIGSTOP" for process in self.processes]

    @property
    def moot(self) -> str:
        return "" if any(process.is_running for process in self.processes) else "its processes have ended"

    @property
    def moot_s(self) -> float | None:
        with suppress(DeploymentError):  # deleted, or lost with its supervisor
            for end in self.host.ended(self.deployment):
                if end.replica.incarnation == self.replica.incarnation:
                    return end.exit.at
        return None


def plan_end(host: Host, deployment: Deployment, replica: Replica, end: End) -> EndOfProcesses:
    """Plan the end of a replica, or of processes of it."""
    kind: type[EndOfProcesses] = EndOfProcesses
    if end.process_name is not None:
        processes = matching(host, replica, end.process_name)
    else:
        kind = EndOfReplica
        processes = host.processes(replica) if end.number == signal.SIGKILL else [leader_of(replica)]
    respawn = not end.stays_dead
    return kind(host, deployment, replica, processes, end.number, timeout=end.timeout, respawn=respawn)


def plan_pause(host: Host, deployment: Deployment, replica: Replica, process_name: str | None) -> Pause:
    """Plan a pause of a replica, or of processes of it."""
    processes = matching(host, replica, process_name)
    return Pause(host, deployment, replica, processes, signal.SIGSTOP, whole=process_name is None)


def matching(host: Host, replica: Replica, name: str | None) -> list[ProcessId]:
    """Processes of a replica whose command line contains `name`; all of them, if there are any, without a name.

    Raises:
        FaultError: nothing matches the name; the message lists what runs.
    """
    commands = {process: process.command for process in host.processes(replica)}
    found = [process for process, command in commands.items() if name is None or name in command]
    if not found and name is not None:
        raise FaultError(f"no process of {replica.name} matches '{name}'; running are {list(commands.values())}")
    return found


def _short(command: str) -> str:
    """What tells a process from others: the module that Python runs, else the program."""
    words = command.split()
    if "-m" in words[:-1]:
        return words[words.index("-m") + 1]
    return words[0].rpartition("/")[2] if words else "?"
