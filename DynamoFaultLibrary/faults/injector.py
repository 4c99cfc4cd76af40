"""The life of a fault: intent on disk, inject, prove, …, undo, verify."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, ClassVar

from DynamoFaultLibrary.clock import monotonic, utc_now
from DynamoFaultLibrary.errors import (
    DeploymentError,
    EvidenceMissing,
    FaultError,
    LedgerError,
    RecoveryError,
    StateError,
)
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.ledger import Entry, Ledger, State
from DynamoFaultLibrary.platforms.base import Guarding
from DynamoFaultLibrary.times import check_fault_time

DEFAULT_TTL = timedelta(minutes=10)


class Fault(ABC):
    """One failure to inject. Its constructor does nothing to the system."""

    kind: ClassVar[str]
    """Name of the keyword that injects it."""

    lifetime: ClassVar[str] = "ttl"
    """Name of that keyword's argument that says after which time it comes off by itself."""

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
    def undo(self) -> str:
        """Take it off; harmless when there is nothing to take off. Returns what was done, for the log."""

    def verify(self) -> str:
        """See, once it is off, that what it hit works again. Returns what was seen, for the log."""
        return ""

    @property
    def verification(self) -> Hashable:
        """What `verify` waits for: of faults with the same one is enough. By default each fault has its own."""
        return id(self)

    @property
    def is_over_when_undone(self) -> bool:
        """Whether its undo ends it; else it is over once what it hit works again: what just starts serves nobody."""
        return True

    @property
    def moot(self) -> str:
        """Why it is not in effect any more though nobody has undone it; empty as long as it is."""
        return ""

    @property
    def moot_s(self) -> float | None:
        """When it became moot, on the monotonic clock; None: not known."""
        return None

    def let_go(self) -> None:  # noqa: B027  # most hold nothing
        """Close what this process holds of it: it has come off, whoever took it off."""

    effective_s: float = 0.0
    """When it took effect, by its earliest evidence, on the monotonic clock; 0: not known, so its injection counts."""

    compensation: str = ""
    """Set by a fault that cannot be undone but was made good: it is irreversible, and nothing is left to do."""

    made_good_s: float = 0.0
    """When it was made good, on the monotonic clock; 0: with the end of its proof."""


@dataclass
class ActiveFault:
    """A fault in its life; its moments are on the monotonic clock. `active_s` is the end of its proof, 0: unproven."""

    fault: Fault
    entry: Entry
    injected_s: float
    active_s: float
    scope: str = ""
    """Full name of the test that it belongs to; empty: to its suite."""
    suite: str = ""
    """Full name of the suite that was running."""
    undone_s: float | None = None
    """When its undo took effect; what follows is verification."""
    recovered_s: float | None = None
    """When it came off, or was made good, whenever that was noticed; None as long as it is in effect."""

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

    def belongs_to_suite(self, suite: str) -> bool:
        """Whether it was injected in that suite or in one below it."""
        return self.suite == suite or self.suite.startswith(f"{suite}.")


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
        self.refresh()
        return [fault for fault in reversed(self.faults) if fault.recovered_s is None]

    def inject(self, fault: Fault, ttl: timedelta = DEFAULT_TTL, scope: str = "", suite: str = "") -> ActiveFault:
        """Lead `fault` from intent to active. When it cannot be proven, it is undone before the error is raised.

        Raises:
            LedgerError: the intent is not on disk, so nothing was injected.
            EvidenceMissing: nothing proves that the fault took effect, or it came off before that was proven.
        """
        check_fault_time(fault.lifetime, ttl)
        self.radius.check(fault.kind, fault.target, [active.entry.id for active in self.active])
        entry = self.ledger.intend(fault.kind, fault.target, fault.recipe, expires_at=utc_now() + ttl)
        active = ActiveFault(fault, entry, injected_s=monotonic(), active_s=0.0, scope=scope, suite=suite)
        try:
            self.guard.guard(entry)
        except BaseException:
            with suppress(LedgerError):
                self.ledger.mark(entry, State.RECOVERED, "nobody could guard it, so it was not injected")
            raise
        self.faults.append(active)
        try:
            active.injected_s = monotonic()
            fault.inject()
            evidence = fault.prove()
            self._has_been_proven(active, evidence)
        except BaseException as error:
            self._undo_unproven(active, error)
            raise
        self._close_moot(active.effective_s)
        return active

    def renew(self, active: ActiveFault, ttl: timedelta) -> None:
        """Let a fault stay for `ttl` from now.

        Raises:
            FaultError: it is not in effect any more, or `ttl` is too short or too long.
        """
        check_fault_time("ttl", ttl)
        if active not in self.active:
            raise FaultError(f"{active} has come off already: {active.entry.detail}")
        try:
            self.ledger.renew(active.entry, utc_now() + ttl)
        except StateError as error:
            raise FaultError(f"{active} has come off just now: {active.entry.detail}") from error
        self.guard.guard(active.entry)
        self.refresh()  # its old expiry may have come before the guard knew of the new one
        if active.recovered_s is not None:
            with suppress(DeploymentError):
                self.guard.release(active.entry)
            raise FaultError(f"{active} has come off just now: {active.entry.detail}")

    def recover(self, active: ActiveFault) -> None:
        """Undo a fault and verify the undo; a fault that is recovered already is left alone.

        Raises:
            RecoveryError: it is still in effect, or what it hit does not work again.
        """
        self.refresh()
        for failed, error in self._take_off([active]):
            if failed is active:
                others = [str(other) for other in self.active if other is not active]
                if others and active.undone_s is not None:
                    raise RecoveryError(f"{error}; other faults are in effect: {', '.join(others)}") from error
                raise error

    def recover_all(self, belongs: Callable[[ActiveFault], bool] = lambda fault: True) -> list[str]:
        """Undo all active faults (that belong), the last one first, then verify; return what went wrong."""
        failed = self._take_off([active for active in self.active if belongs(active)])
        return [f"{active} is not undone: {error}" for active, error in failed]

    def forget(self, belongs: Callable[[ActiveFault], bool], why: str) -> None:
        """Close the faults whose target is gone: there is nothing left to undo.

        Raises:
            LedgerError: the ledger cannot be told of all; here they are closed all the same.
        """
        unwritten: list[LedgerError] = []
        for active in [each for each in self.active if belongs(each)]:
            try:
                self._close(active, why)
            except LedgerError as error:
                unwritten.append(error)
                with suppress(DeploymentError):
                    self.guard.release(active.entry)
                self._has_come_off(active)
        if unwritten:
            raise unwritten[0]

    def refresh(self) -> None:
        """Learn what came off by itself: the supervisor undoes a fault at its expiry, and the ledger tells."""
        waiting = [active for active in self.faults if active.recovered_s is None]
        if not waiting:
            return
        with suppress(LedgerError):  # what cannot be read counts as in effect, so it is undone once more
            written = self.ledger.entries()
            for active in waiting:
                entry = written.get(active.entry.id)
                if entry is not None and not entry.state.is_open:
                    active.entry.follow(entry)
                    self._has_come_off(active)
        self._close_moot()

    def _has_been_proven(self, active: ActiveFault, evidence: list[str]) -> None:
        moment, fault = monotonic(), active.fault
        if fault.compensation:
            made_good = fault.made_good_s or moment
            self.ledger.mark(active.entry, State.IRREVERSIBLE, fault.compensation, evidence, came_off_s=made_good)
            active.undone_s = active.recovered_s = made_good
            with suppress(DeploymentError):
                self.guard.release(active.entry)
            fault.let_go()
        else:
            self.ledger.mark(active.entry, State.ACTIVE, evidence=evidence)
        active.active_s = moment

    def _undo_unproven(self, active: ActiveFault, error: BaseException) -> None:
        """Undo it. Raises nothing when that was all that there is to say."""
        self.refresh()
        if active.recovered_s is not None and isinstance(error, Exception):
            reason = "" if isinstance(error, LedgerError) else f"{error}; "
            raise EvidenceMissing(
                f"{reason}{active} came off during its proof ({active.entry.detail}); give it a longer "
                f"{active.fault.lifetime}"
            ) from error
        try:
            self.recover(active)
        except Exception as problem:
            raise RecoveryError(f"{error}; and it could not be undone: {problem}") from error

    def _take_off(self, chosen: Sequence[ActiveFault]) -> list[tuple[ActiveFault, Exception]]:
        """Undo all, then verify all: what one has hit may need another one off to work. Returns those that failed.

        Faults with the same recipe come off by the same deed, such as two that ended the same replica.
        """
        recipes = [active.entry.undo for active in chosen]
        failed: list[tuple[ActiveFault, Exception]] = []
        undone: list[tuple[ActiveFault, str]] = []
        for active in [each for each in reversed(self.faults) if each.recovered_s is None]:
            if active not in chosen and active.entry.undo not in recipes:
                continue
            try:
                done = active.fault.undo()
            except Exception as error:
                failed.append((active, error))
                continue
            active.undone_s = monotonic() if active.undone_s is None else active.undone_s
            undone.append((active, done))
        seen: dict[Hashable, str | Exception] = {}
        for active, done in undone:
            result = self._verified(active.fault, seen)
            try:
                if isinstance(result, Exception):
                    raise result
                over_s = active.undone_s if active.fault.is_over_when_undone else None
                self._close(active, "; ".join(filter(None, [done, result])), over_s)
            except Exception as error:
                failed.append((active, error))
        return failed

    @staticmethod
    def _verified(fault: Fault, seen: dict[Hashable, str | Exception]) -> str | Exception:
        key = fault.verification
        if key not in seen:
            try:
                seen[key] = fault.verify()
            except Exception as error:
                seen[key] = error
        return seen[key]

    def _close_moot(self, came_off_s: float | None = None) -> None:
        """Close what has become moot; `came_off_s` is by what, where the fault itself does not know it."""
        for active in self.faults:
            if active.recovered_s is None and active.active_s and (why := active.fault.moot):
                known = active.fault.moot_s
                moment = came_off_s if known is None else max(known, active.effective_s)
                with suppress(LedgerError):  # then it stays open, and is undone once more
                    self._close(active, why if moment is not None else f"{why}, as was noticed then", moment)

    def _close(self, active: ActiveFault, detail: str, came_off_s: float | None = None) -> None:
        self.ledger.mark(active.entry, State.RECOVERED, detail, came_off_s=came_off_s)
        with suppress(DeploymentError):  # a guard that is dead undoes nothing any more
            self.guard.release(active.entry)
        self._has_come_off(active)

    def _has_come_off(self, active: ActiveFault) -> None:
        came_off = active.entry.came_off_s
        active.recovered_s = monotonic() if came_off is None else came_off
        active.fault.let_go()
        self.on_recovered(active)
