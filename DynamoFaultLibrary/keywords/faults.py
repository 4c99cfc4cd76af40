"""Keywords that inject faults and take them off."""

import signal
from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import FaultError, RecoveryError
from DynamoFaultLibrary.faults.process import (
    EndProcesses,
    KillReplica,
    ProcessFault,
    ProcessPlatform,
    StallProcesses,
    check_ending_signal,
)
from DynamoFaultLibrary.faults.target import RANDOM, matching_processes
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.injecting import InjectingComponent
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.platforms.base import Replica, require
from DynamoFaultLibrary.processes import signal_number

ReplicaChoice = int | str


class FaultKeywords(InjectingComponent):
    """Kill Worker, Terminate Process, Stall Process, and their undoing."""

    @keyword(tags=["Fault"])
    @on_graph
    def kill_worker(
        self,
        service: str,
        replica: ReplicaChoice = RANDOM,
        *,
        serving: Request | None = None,
        graceful: bool = False,
        respawn: bool = False,
        timeout: timedelta = timedelta(seconds=30),
        ttl: timedelta | None = None,
    ) -> str:
        """Kills one replica of a service: all processes of its group, at once. Returns the id of the fault.

        | *Argument* | *Meaning* |
        | ``service`` | Service of the graph, such as ``VllmDecodeWorker`` |
        | ``replica`` | Index of the replica, or ``random`` (repeatable by the library's ``seed``) |
        | ``serving`` | A request: the replica that serves it is killed, whatever ``replica`` says |
        | ``graceful`` | SIGTERM to the leader instead of SIGKILL to all: the worker may finish what it serves |
        | ``respawn`` | Start the replica again at once, as the cluster would |
        | ``timeout`` | By when the replica must have ended |
        | ``ttl`` | After this time the fault comes off by itself; default: the library's ``fault_ttl`` |

        Evidence: the system reports SIGKILL as the cause of the leader's death (or, with ``graceful``, its end), and
        nobody is left in its process group. Undo: the replica is started again and serves. With ``respawn`` the fault
        is irreversible but made good.

        Example:
        | `Kill Worker` | PositionWorker | 0 |
        | `Kill Worker` | PositionWorker | serving=${request} | graceful=True |
        """
        chosen = self._choose(service, replica, serving)
        platform = self._process_platform()
        processes = platform.processes(chosen)
        number = signal.SIGTERM if graceful else signal.SIGKILL
        fault = KillReplica(
            platform,
            self.context.deployment,
            chosen,
            [chosen.process] if graceful else processes,
            number,
            timeout=timeout,
            respawn=respawn,
        )
        return self._inject(fault, ttl, serving)

    @keyword(tags=["Fault"])
    @on_graph
    def terminate_process(
        self,
        service: str,
        process_name: str | None = None,
        signal_name: str = "SIGKILL",
        replica: ReplicaChoice = RANDOM,
        *,
        serving: Request | None = None,
        respawn: bool = False,
        timeout: timedelta = timedelta(seconds=30),
        ttl: timedelta | None = None,
    ) -> str:
        """Ends processes inside a replica by name: those whose command line contains ``process_name``.

        ``signal_name`` is any signal that ends a process: ``SIGKILL``, ``SIGINT``, ``SIGTERM`` … The other arguments
        are as in `Kill Worker`. Returns the id of the fault.

        Evidence: each process is gone by pid and start time; of the replica's leader also how it ended. A name that
        matches nothing, or a process that does not die in time, fails the keyword. Undo: the replica runs and serves.

        Robot Framework's own library Process has a keyword of this name; in a suite that imports both, this one wins.
        Write ``Process.Terminate Process`` for the other one.

        Example:
        | `Terminate Process` | VllmWorker | VLLM::EngineCore | SIGKILL | 0 |
        """
        if process_name is None:
            raise FaultError(
                f"process_name is missing: this keyword ends processes of a replica of service '{service}' by name; "
                "write 'Process.Terminate Process' to end what the library Process has started"
            )
        number = _signal(signal_name)
        check_ending_signal(number)
        chosen = self._choose(service, replica, serving)
        platform = self._process_platform()
        processes = matching_processes(platform, chosen, process_name)
        fault = EndProcesses(
            platform, self.context.deployment, chosen, processes, number, timeout=timeout, respawn=respawn
        )
        return self._inject(fault, ttl, serving)

    @keyword(tags=["Fault"])
    @on_graph
    def stall_process(
        self,
        service: str,
        process_name: str | None = None,
        replica: ReplicaChoice = RANDOM,
        *,
        serving: Request | None = None,
        duration: timedelta | None = None,
    ) -> str:
        """Stops processes of a replica with SIGSTOP: connections stay open, nothing answers. Returns the fault's id.

        Without ``process_name`` all processes of the replica are stopped. After ``duration`` (default: the library's
        ``fault_ttl``) they go on by themselves; `Resume Process` does it earlier.

        Evidence: each process is in state T. Undo: SIGCONT; verified: none is in state T.

        Example:
        | `Stall Process` | PositionWorker | replica=0 | duration=5 s |
        """
        chosen = self._choose(service, replica, serving)
        platform = self._process_platform()
        processes = matching_processes(platform, chosen, process_name)
        fault = StallProcesses(platform, self.context.deployment, chosen, processes, whole=process_name is None)
        return self._inject(fault, duration, serving)

    @keyword(tags=["Recovery"])
    @on_graph
    def resume_process(self, service: str) -> None:
        """Lets all stalled processes of a service go on, and verifies that none is stopped.

        Fails when none of this service was stalled.
        """
        stalled = [
            active
            for active in self.active_here()
            if active.entry.kind == StallProcesses.kind and active.entry.target["service"] == service
        ]
        if not stalled:
            raise FaultError(f"no process of service '{service}' is stalled; active are {self.active_names()}")
        for active in stalled:
            self.context.injector.recover(active)

    @keyword(tags=["Recovery"])
    def renew_fault(self, fault_id: str, ttl: timedelta) -> None:
        """Lets a fault stay in effect for ``ttl`` from now, instead of the time it was given before.

        Example:
        | `Renew Fault` | ${fault} | 20 min |
        """
        self.context.injector.renew(self.fault(fault_id), ttl)

    @keyword(tags=["Recovery"])
    def recover_fault(self, fault_id: str) -> None:
        """Undoes one fault and verifies that. A fault that has come off already is left alone.

        Example:
        | ${fault} = | `Kill Worker` | PositionWorker | 0 |
        | `Recover Fault` | ${fault} |
        """
        self.context.injector.recover(self.fault(fault_id))

    @keyword(tags=["Recovery"])
    def recover_all_faults(self) -> None:
        """Undoes all active faults, the last one first, goes on after failures, and fails if one is left."""
        problems = self.context.injector.recover_all()
        if problems:
            raise RecoveryError("; ".join(problems))

    @keyword(tags=["Getter"])
    def list_active_faults(self) -> list[str]:
        """Returns the ids of the faults that are in effect, the last one first."""
        return [active.entry.id for active in self.context.injector.active]

    @keyword(tags=["Check"])
    def no_fault_should_be_active(self) -> None:
        """Fails when a fault is in effect, and names it."""
        if self.context.injector.active:
            raise AssertionError(f"no fault should be active, but there are {self.active_names()}")

    def _choose(self, service: str, replica: ReplicaChoice, serving: Request | None) -> Replica:
        begin_observation(self.context)
        chooser = self.chooser()
        if serving is not None:
            chosen = chooser.serving(service, serving.id)
            self.info(f"{serving} is served by {chosen.name}")
            return chosen
        chosen = chooser.by_index(service, replica)
        if replica == RANDOM:
            self.info(f"{chosen.name} was chosen at random, seed {self.context.options.seed}")
        return chosen

    def _process_platform(self) -> ProcessPlatform:
        return require(self.context.platform, ProcessPlatform)  # type: ignore[type-abstract]  # a protocol is meant

    def _inject(self, fault: ProcessFault, ttl: timedelta | None, serving: Request | None) -> str:
        return self.inject(fault, ttl, serving, f"{fault.signal_name} to {fault.replica.name}")


def _signal(name: str) -> int:
    try:
        return signal_number(name)
    except ValueError as error:
        raise FaultError(str(error)) from None
