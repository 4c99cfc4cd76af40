"""What all components share that inject faults: whom to hit, how a fault gets into log and timeline."""

from collections.abc import Sequence
from datetime import timedelta

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, RecoveryError
from DynamoFaultLibrary.faults.injector import ActiveFault, Fault
from DynamoFaultLibrary.faults.target import RANDOM, Chooser
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.component import Component
from DynamoFaultLibrary.keywords.context import id_of
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.keywords.story import save_faults
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.reports.timeline import EventKind


class InjectingComponent(Component):
    """A topic whose keywords inject faults."""

    def chooser(self) -> Chooser:
        """Picks replicas of the last deployment."""
        return Chooser(self.context.platform, self.context.deployment, self.context.random, self._why_gone)

    def choose(self, service: str, replica: int | str, serving: Request | None) -> Replica:
        """The replica that a fault is to hit: the one that serves a request, else the one of that index or name."""
        begin_observation(self.context)
        if serving is not None:
            return self.serving(service, serving)
        chosen = self.chooser().by_index(service, replica)
        if replica == RANDOM:
            self.info(f"{chosen.name} was chosen at random, seed {self.context.options.seed}")
        return chosen

    def _why_gone(self, name: str) -> str:
        """Of a replica that a fault has ended, by which."""
        ends = [active for active in self.active_here() if active.fault.effect.ended]
        return next((f"{active} has ended it" for active in ends if active.entry.target.get("replica") == name), "")

    def inject(self, fault: Fault, ttl: timedelta | None, serving: Request | None, text: str) -> str:
        """Inject a fault, note `text` and the evidence, and return its id. A fault must meet the request it is for."""
        life = self.context.options.fault_ttl if ttl is None else ttl
        if serving is not None and serving.has_ended_before(monotonic()):
            raise FaultError(f"{serving} has ended already, so {fault.kind} would not meet it; nothing was injected")
        suite = robot_context.suite_name()
        try:
            active = self.context.injector.inject(fault, life, self.context.test, suite)
        except EvidenceMissing:
            self.note(EventKind.FAULT, f"{fault.kind}, not proven: {text}", fault.effect.applied_s or None)
            raise
        if serving is not None and serving.has_ended_before(active.injected_s):
            self.context.injector.recover(active)
            raise EvidenceMissing(f"{serving} had ended before {fault.kind} hit its worker, so it met no fault")
        self.note(EventKind.FAULT, f"{fault.kind}: {text}", active.injected_s)
        for line in active.entry.evidence:
            self.note(EventKind.EVIDENCE, line, active.active_s)
        save_faults(self.context)  # whoever reads the results while the test runs finds the fault
        return active.entry.id

    def fault(self, fault: str) -> ActiveFault:
        """A fault of this run by its id.

        Raises:
            FaultError: there is none.
        """
        fault = id_of(fault)
        for active in self.context.faults:
            if active.entry.id == fault:
                return active
        known = [active.entry.id for active in self.context.faults]
        raise FaultError(f"no fault '{fault}' in this run; known are {known}")

    def recover_together(self, faults: Sequence[ActiveFault]) -> None:
        """Undo several faults, then verify them: what one has hit may need another one off to work.

        Raises:
            RecoveryError: some are still in effect, or what they hit does not work again.
        """
        problems = self.context.injector.recover_all(lambda active: any(active is fault for fault in faults))
        if problems:
            raise RecoveryError("; ".join(problems))

    def serving(self, service: str, request: Request) -> Replica:
        """The replica of `service` that serves `request`, which must not have ended."""
        if request.has_ended_before(monotonic()):
            raise FaultError(f"{request} has ended already, so no replica of '{service}' serves it")
        chosen = self.chooser().serving(service, request.id)
        self.info(f"{request} is served by {chosen.name}")
        return chosen

    def active_names(self) -> Sequence[str]:
        """Faults that are in effect, for people."""
        return [str(active) for active in self.context.injector.active]
