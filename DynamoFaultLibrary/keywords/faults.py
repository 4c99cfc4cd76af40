"""Keywords that inject faults and take them off."""

import signal
from dataclasses import replace
from datetime import timedelta

from robot.api.deco import keyword
from robot.utils import DotDict  # type: ignore[import-untyped]  # Robot types only its API

from DynamoFaultLibrary.clock import monotonic, utc_now, utc_text, wait_until
from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults.injector import ActiveFault, Fault
from DynamoFaultLibrary.faults.signals import ending_signal
from DynamoFaultLibrary.faults.target import RANDOM
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.injecting import InjectingComponent
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.platforms.base import Ending, Pausing, require
from DynamoFaultLibrary.platforms.effects import End
from DynamoFaultLibrary.times import check_fault_time, duration_text

ReplicaChoice = int | str
STALL = "Stall Process"


class FaultKeywords(InjectingComponent):
    """Kill Replica, Terminate Process, Stall Process, their undoing and their times."""

    @keyword(tags=["Fault"])
    @on_graph
    def kill_replica(
        self,
        service: str,
        replica: ReplicaChoice = RANDOM,
        *,
        serving: Request | None = None,
        graceful: bool = False,
        respawn: bool | None = None,
        timeout: timedelta = timedelta(seconds=30),
        ttl: timedelta | None = None,
    ) -> str:
        """Kills one replica of a service: all processes of its group, at once. Returns the id of the fault.

        | *Argument* | *Meaning* |
        | ``service`` | Any service of the graph, such as ``Frontend`` or ``VllmDecodeWorker`` |
        | ``replica`` | Index or name of the replica, or ``random`` (repeatable by the library's ``seed``) |
        | ``serving`` | A request: the replica that serves it is killed, whatever ``replica`` says |
        | ``graceful`` | SIGTERM to the leader instead of SIGKILL to all: it may finish what it serves |
        | ``respawn`` | ``True``: start the replica again at once, as a cluster would. ``False``: it stays dead until the fault comes off. Default: what the platform does; ``local`` leaves it dead |
        | ``timeout`` | By when the replica must have ended |
        | ``ttl`` | After this time the fault comes off by itself, see `Faults`. Not with ``respawn`` |

        Evidence: the system reports SIGKILL as the cause of the leader's death (or, with ``graceful``, its end), and
        no process of the replica is left. Undo: the replica is started again and serves. With ``respawn`` the fault
        is irreversible but made good.

        The second positional argument is a replica; that of `Terminate Process` and `Stall Process` is the name of a
        process.

        Example:
        | `Kill Replica` | Frontend | 0 | respawn=True |
        """  # noqa: E501  # a table's row is a line
        return self._end("Kill Replica", service, replica, serving, _killed(graceful, timeout), respawn, ttl)

    @keyword(tags=["Fault"])
    @on_graph
    def kill_worker(
        self,
        service: str | None = None,
        replica: ReplicaChoice = RANDOM,
        *,
        serving: Request | None = None,
        graceful: bool = False,
        respawn: bool | None = None,
        timeout: timedelta = timedelta(seconds=30),
        ttl: timedelta | None = None,
    ) -> str:
        """Kills one replica of a worker service: all processes of its group, at once. Returns the id of the fault.

        ``service`` may be left out where the graph has one kind of worker. A frontend is refused: `Kill Replica` kills
        it. The other arguments, evidence and undo are those of `Kill Replica`.

        Example:
        | `Kill Worker` | PositionWorker | 0 |
        | `Kill Worker` | serving=${request} | graceful=True |
        """
        end = _killed(graceful, timeout)
        return self._end("Kill Worker", self._worker(service), replica, serving, end, respawn, ttl)

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
        respawn: bool | None = None,
        timeout: timedelta = timedelta(seconds=30),
        ttl: timedelta | None = None,
    ) -> str:
        """Ends processes inside a replica by name: those whose command line contains ``process_name``.

        ``signal_name`` is any signal that ends a process: ``SIGKILL``, ``SIGINT``, ``SIGTERM`` … The other arguments
        are as in `Kill Replica`. Returns the id of the fault.

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
        end = End(ending_signal(signal_name), process_name, timeout=timeout)
        return self._end("Terminate Process", service, replica, serving, end, respawn, ttl)

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

        Without ``process_name`` all processes of the replica are stopped, else those whose command line contains it.
        After ``duration`` they go on by themselves, see `Faults`; `Resume Process` does it earlier. ``replica`` and
        ``serving`` are as in `Kill Replica`.

        Evidence: each process is in state T. A process that is stopped already is refused, since that would prove
        nothing. Undo: SIGCONT; verified: none is in state T. A stall ends, too, when its processes do.

        Example:
        | `Stall Process` | PositionWorker | replica=0 | duration=5 s |
        """
        chosen, deployment = self.choose(service, replica, serving), self.context.deployment
        effect = require(self.context.platform, Pausing).plan_pause(deployment, chosen, process_name)
        fault = Fault(STALL, deployment, [[chosen]], effect, "duration")
        return self.inject(fault, duration, serving, f"SIGSTOP to {chosen.name}")

    @keyword(tags=["Recovery"])
    @on_graph
    def resume_process(self, service: str) -> None:
        """Lets all stalled processes of a service go on, and verifies that none is stopped.

        Fails when none of this service was stalled.
        """
        stalled = [
            active
            for active in self.active_here()
            if active.entry.kind == STALL and active.entry.target["service"] == service
        ]
        if not stalled:
            raise FaultError(f"no process of service '{service}' is stalled; active are {self.active_names()}")
        self.recover_together(stalled)

    @keyword(tags=["Recovery"])
    def renew_fault(self, fault: str, ttl: timedelta) -> None:
        """Lets a fault stay in effect for ``ttl`` from now, instead of the time it was given before.

        Example:
        | `Renew Fault` | ${fault} | 20 min |
        """
        self.context.injector.renew(self.fault(fault), ttl)

    @keyword(tags=["Recovery"])
    def recover_fault(self, fault: str) -> None:
        """Undoes one fault and verifies that. A fault that has come off already is left alone.

        Example:
        | ${fault} = | `Kill Worker` | PositionWorker | 0 |
        | `Recover Fault` | ${fault} |
        """
        self.context.injector.recover(self.fault(fault))

    @keyword(tags=["Recovery"])
    def recover_all_faults(self) -> None:
        """Undoes all active faults, the last one first, then verifies that; fails if one is left or cannot be verified.

        Faults are verified together: a replica that was killed is not ready as long as another one is stalled.
        """
        self.recover_together(self.context.injector.active)

    @keyword(tags=["Wait"])
    def wait_until_fault_is_over(self, fault: str | None = None, timeout: timedelta = timedelta(minutes=1)) -> None:
        """Waits until a fault has come off: at its expiry, or undone by whomever. Default: the last one of this test.

        Fails when it is in effect still after ``timeout``. A replica that was killed has been started again then, but
        may not serve yet: `Wait Until Graph Is Ready`.

        Example:
        | ${fault} = | `Stall Process` | PositionWorker | replica=0 | duration=3 s |
        | `Wait Until Fault Is Over` | ${fault} | timeout=10 s |
        """
        check_fault_time("timeout", timeout)
        active = self._named_or_last(fault)

        def is_over() -> bool:
            self.context.injector.refresh()
            return active.recovered_s is not None

        if not wait_until(is_over, timeout):
            expires = active.entry.expires_at
            when = f"it comes off by itself at {utc_text(expires)}" if expires else "it does not come off by itself"
            then = "'Recover Fault' undoes it now"
            if expires and expires < utc_now():
                when = f"it was to come off by itself at {utc_text(expires)}"
                then = "'Recover Fault' tells why it does not"
            raise FaultError(f"{active} is still in effect after {duration_text(timeout)}; {when}, {then}")
        self.info(f"{active} came off: {active.entry.detail}")

    @keyword(tags=["Getter"])
    def get_fault(self, fault: str | None = None) -> DotDict:
        """Returns the facts of a fault, by default of the last one of this test or its suite.

        | *Key* | *Value* |
        | ``id``, ``kind``, ``label`` | Its id, the keyword that injected it, and both with what it hit |
        | ``target`` | What it hit: ``service``, ``replica``, ``processes`` and more, by kind |
        | ``state`` | ``active``, ``recovered`` or ``irreversible`` (made good at once) |
        | ``injected_at``, ``effective_at``, ``proven_at`` | Times in UTC: injection, earliest evidence, end of the proof |
        | ``came_off_at`` | Time in UTC at which it came off or was made good, whenever that was noticed; None before |
        | ``expires_at`` | Time in UTC at which it comes off by itself |
        | ``lasted`` | Time from ``effective_at`` to ``came_off_at``, or to now |
        | ``evidence``, ``detail`` | What proved it, and how it came off |

        Example:
        | ${fault} = | `Get Fault` |
        | `Should Be Equal` | ${fault.state} | recovered |
        | `Should Be True` | $fault.lasted.total_seconds() < 4 |
        """  # noqa: E501  # a table's row is one line
        active = self._named_or_last(fault)
        entry, end = active.entry, active.recovered_s
        return DotDict(
            id=entry.id,
            kind=entry.kind,
            label=active.label,
            target=DotDict(entry.target),
            state=entry.state.value,
            injected_at=_utc(active.injected_s),
            effective_at=_utc(active.effective_s) if active.active_s else None,
            proven_at=_utc(active.active_s) if active.active_s else None,
            came_off_at=_utc(end) if end is not None else None,
            expires_at=utc_text(entry.expires_at) if entry.expires_at else None,
            lasted=timedelta(seconds=(monotonic() if end is None else end) - active.effective_s),
            evidence=list(entry.evidence),
            detail=entry.detail,
        )

    def _named_or_last(self, fault: str | None) -> ActiveFault:
        return self.context.fault() if fault is None else self.fault(fault)

    @keyword(tags=["Getter"])
    def list_active_faults(self) -> list[str]:
        """Returns the ids of the faults that are in effect, the last one first."""
        return [active.entry.id for active in self.context.injector.active]

    @keyword(tags=["Check"])
    def no_fault_should_be_active(self) -> None:
        """Fails when a fault is in effect, and names it."""
        if self.context.injector.active:
            raise FaultError(f"no fault should be active, but there are {self.active_names()}")

    def _end(
        self,
        kind: str,
        service: str,
        replica: ReplicaChoice,
        serving: Request | None,
        end: End,
        respawn: bool | None,
        ttl: timedelta | None,
    ) -> str:
        check_fault_time("timeout", end.timeout)
        platform, deployment = self.context.platform, self.context.deployment
        at_once = platform.replaces_ended if respawn is None else respawn
        if at_once and ttl is not None:
            where = "with respawn=True" if respawn else f"on platform '{platform.name}' without respawn=False"
            raise FaultError(f"ttl has no effect {where}: the replica is started again at once, give one of them")
        chosen = self.choose(service, replica, serving)
        effect = require(platform, Ending).plan_end(deployment, chosen, replace(end, stays_dead=not at_once))
        fault = Fault(kind, deployment, [[chosen]], effect)
        return self.inject(fault, ttl, serving, f"{end.signal_name} to {chosen.name}")

    def _worker(self, named: str | None) -> str:
        """The worker service of that name, or the only one."""
        graph = self.context.deployment.graph
        workers = [service.name for service in graph.workers]
        if named is None:
            if len(workers) != 1:
                raise FaultError(f"graph '{graph.name}' has the worker services {workers}; name one as service")
            return workers[0]
        others = [*graph.services, *self.context.deployment.infrastructure]
        if named in others and named not in workers:
            raise FaultError(f"'{named}' is not a worker; 'Kill Replica    {named}' kills it. Workers are {workers}")
        return named


def _killed(graceful: bool, timeout: timedelta) -> End:
    return End(signal.SIGTERM if graceful else signal.SIGKILL, timeout=timeout)


def _utc(moment_s: float) -> str:
    """A moment of the monotonic clock in UTC."""
    return utc_text(utc_now() - timedelta(seconds=monotonic() - moment_s))
