"""The life of a fault: intent on disk, inject, prove, …, undo, verify."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from DynamoFaultLibrary.clock import monotonic, utc_now
from DynamoFaultLibrary.errors import DeploymentError, FaultError, LedgerError, RecoveryError
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.ledger import Entry, Ledger, State, read_ledger
from DynamoFaultLibrary.platforms.base import Guarding

DEFAULT_TTL = timedelta(minutes=10)


class Fault(ABC):
    """One failure to inject. Its constructor does nothing to the system."""

    kind: ClassVar[str]
    """Name of the keyword that injects it."""

    @property
    @abstractmethod
    def target(self) -> dict[str, Any]:
        """What it hits, for the ledger."""

    @property
    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """How to undo it, as data; see `DynamoFaultLibrary.ledger.undo`."""

    @abstractmethod
    def inject(self) -> None:
        """Make it happen."""

    @abstractmethod
    def prove(self) -> list[str]:
        """Return the evidence that it took effect.

        Raises:
            EvidenceMissing: there is none.
        """

    @abstractmethod
    def recover(self) -> str:
        """Undo it and verify that; harmless when there is nothing to undo. Returns what was done, for the log."""

    effective_s: float = 0.0
    """When it took effect, by its earliest evidence, on the monotonic clock; 0: not known, so its injection counts."""

    compensation: str = ""
    """Set by a fault that cannot be undone but was made good: it is irreversible, and nothing is left to do."""


@dataclass
class ActiveFault:
    """A fault in its life; its moments are on the monotonic clock. `active_s` is the end of its proof, 0: unproven."""

    fault: Fault
    entry: Entry
    injected_s: float
    active_s: float
    scope: str = ""
    """Full name of the test that it belongs to; empty: to its suite."""
    recovered_s: float | None = None

    def __str__(self) -> str:
        return f"{self.entry.kind} {self.entry.id} on {self._victim}"

    @property
    def effective_s(self) -> float:
        """When it took effect: the clock of recovery starts here, however long the proof took."""
        return self.fault.effective_s or self.injected_s

    @property
    def label(self) -> str:
        """What it is and what it hits, for pictures and tables."""
        return f"{self.entry.kind} on {self._victim}"

    @property
    def _victim(self) -> str:
        return str(self.entry.target.get("replica", self.entry.target))


@dataclass
class Injector:
    """Injects and recovers the faults of one run."""

    ledger: Ledger
    guard: Guarding
    radius: BlastRadius = field(default_factory=BlastRadius)
    faults: list[ActiveFault] = field(default_factory=list)
    on_recovered: Callable[[ActiveFault], None] = lambda fault: None

    @property
    def active(self) -> list[ActiveFault]:
        """Faults that are in effect, the last one first. Those that came off by themselves are not among them."""
        self._learn_what_came_off()
        return [fault for fault in reversed(self.faults) if fault.entry.state.is_open]

    def inject(self, fault: Fault, ttl: timedelta = DEFAULT_TTL, scope: str = "") -> ActiveFault:
        """Lead `fault` from intent to active. When it cannot be proven, it is undone before the error is raised.

        Raises:
            LedgerError: the intent is not on disk, so nothing was injected.
            EvidenceMissing: nothing proves that the fault took effect.
        """
        _check_ttl(ttl)
        self.radius.check(fault.kind, fault.target, [active.entry.id for active in self.active])
        entry = self.ledger.intend(fault.kind, fault.target, fault.recipe, expires_at=utc_now() + ttl)
        active = ActiveFault(fault, entry, injected_s=monotonic(), active_s=0.0, scope=scope)
        self.guard.guard(entry)
        self.faults.append(active)
        try:
            active.injected_s = monotonic()
            fault.inject()
            evidence = fault.prove()
            active.active_s = monotonic()
            if fault.compensation:
                self.ledger.mark(entry, State.IRREVERSIBLE, fault.compensation, evidence)
                self.guard.release(entry)
            else:
                self.ledger.mark(entry, State.ACTIVE, evidence=evidence)
        except BaseException as error:
            self._undo_unproven(active, error)
            raise
        return active

    def renew(self, active: ActiveFault, ttl: timedelta) -> None:
        """Let a fault stay for `ttl` from now.

        Raises:
            FaultError: it is not in effect any more, or `ttl` is not above 0.
        """
        _check_ttl(ttl)
        if active not in self.active:
            raise FaultError(f"{active} has come off already: {active.entry.detail}")
        self.ledger.renew(active.entry, utc_now() + ttl)
        self.guard.guard(active.entry)

    def recover(self, active: ActiveFault) -> None:
        """Undo a fault and verify the undo; a fault that is recovered already is left alone.

        Raises:
            RecoveryError: it is still in effect.
        """
        if not active.entry.state.is_open:
            return
        detail = active.fault.recover()
        self._close(active, detail)

    def recover_all(self, scope: str | None = None) -> list[str]:
        """Undo all active faults (of a scope), the last one first, and go on after failures; return what went wrong."""
        problems = []
        for active in self.active:
            if scope is not None and active.scope != scope:
                continue
            try:
                self.recover(active)
            except Exception as error:
                problems.append(f"{active} is not undone: {error}")
        return problems

    def forget(self, belongs: Callable[[ActiveFault], bool], why: str) -> None:
        """Close the faults whose target is gone: there is nothing left to undo."""
        for active in self.active:
            if belongs(active):
                self._close(active, why)

    def _learn_what_came_off(self) -> None:
        """The supervisor undoes a fault at its expiry; the ledger tells."""
        waiting = [active for active in self.faults if active.entry.state.is_open]
        if not waiting:
            return
        try:
            written = read_ledger(self.ledger.path).entries
        except LedgerError:
            return  # what cannot be read counts as in effect, so it is undone once more
        for active in waiting:
            entry = written.get(active.entry.id)
            if entry is not None and not entry.state.is_open:
                active.entry.state, active.entry.detail = entry.state, entry.detail
                active.recovered_s = monotonic()  # when it was noticed, at the latest
                self.on_recovered(active)

    def _close(self, active: ActiveFault, detail: str) -> None:
        active.recovered_s = monotonic()
        self.ledger.mark(active.entry, State.RECOVERED, detail)
        with suppress(DeploymentError):  # a guard that is dead undoes nothing any more
            self.guard.release(active.entry)
        self.on_recovered(active)

    def _undo_unproven(self, active: ActiveFault, error: BaseException) -> None:
        try:
            self.recover(active)
        except Exception as problem:
            raise RecoveryError(f"{error}; and it could not be undone: {problem}") from error


def _check_ttl(ttl: timedelta) -> None:
    if ttl <= timedelta(0):
        raise FaultError(f"the time to live of a fault must be above 0, not {ttl}")
