"""The life of a fault: intent on disk, inject, prove, …, undo, verify."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

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
from DynamoFaultLibrary.platforms.base import Deployment, Guarding
from DynamoFaultLibrary.platforms.effects import Effect
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.times import check_fault_time

DEFAULT_TTL = timedelta(minutes=10)


@dataclass
class Fault:
    """One failure to inject, by the effect that a platform has planned for it. Its constructor does nothing."""

    kind: str
    """Name of the keyword that injects it."""
    deployment: Deployment
    sides: Sequence[Sequence[Replica]]
    """The replicas that it hits; those of a partition at either side."""
    effect: Effect
    lifetime: str = "ttl"
    """Name of that keyword's argument that says after which time it comes off by itself."""

    @property
    def target(self) -> dict[str, Any]:
        """What it hits, for the ledger."""
        hit = [replica for side in self.sides for replica in side]
        named = [
            ("node", [replica.node for replica in hit], False),
            ("namespace", [replica.namespace for replica in hit if replica.namespace is not None], False),
            ("service", [replica.service for replica in hit], len(self.sides) > 1),
        ]
        return {
            "deployment": self.deployment.name,
            **{key: value for what, values, many in named for key, value in _one_or_many(what, values, many)},
            "replica": " | ".join(", ".join(replica.name for replica in side) for side in self.sides),
            **self.effect.facts,
        }

    @property
    def victim(self) -> Replica:
        """The first replica that it hits; of a fault that hits one alone, that one."""
        return self.sides[0][0]

    def prove(self) -> list[str]:
        """Return the evidence that it took effect.

        Raises:
            EvidenceMissing: there is none.
        """
        return self.effect.prove()

    def undo(self) -> str:
        """Take it off; harmless when there is nothing to take off. Returns what was done, for the log."""
        return self.effect.heal()

    def verify(self) -> str:
        """See, once it is off, that what it hit works again. Returns what was seen, for the log."""
        return self.effect.verify()

    @property
    def verification(self) -> Hashable:
        """What `verify` waits for: of faults with the same one is enough."""
        return self.effect.verification


def _one_or_many(what: str, values: Sequence[str], is_list: bool) -> Iterator[tuple[str, Any]]:
    """The item of a target that names what is hit: ``service``, or ``services`` if there are several."""
    found = list(dict.fromkeys(values))
    if is_list or len(found) > 1:
        yield f"{what}s", found
    elif found:
        yield what, found[0]


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
        return self.fault.effect.effective_s or self.injected_s

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
        entry = self.ledger.intend(fault.kind, fault.target, fault.effect.recipe, expires_at=utc_now() + ttl)
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
            fault.effect.apply()
            evidence = fault.prove()
            if not evidence:
                raise EvidenceMissing(f"{fault.kind}: nothing was told that proves that it took effect")
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
            self._release(active)
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

    def heal(self, belongs: Callable[[ActiveFault], bool]) -> None:
        """Take off, the last one first, what would outlive its target. What fails stays: see `forget`."""
        lasting = [active for active in self.active if belongs(active) and not active.fault.effect.goes_with_deployment]
        self._take_off(lasting, verify=False)

    def forget(self, belongs: Callable[[ActiveFault], bool], why: str) -> list[str]:
        """Close the faults whose target is gone, once nothing is left of them; returns what went wrong."""
        problems = []
        for active in [each for each in self.active if belongs(each)]:
            try:
                done = "" if active.fault.effect.goes_with_deployment else f"; {active.fault.undo()}"
                self._close(active, f"{why}{done}")
            except LedgerError as error:
                problems.append(str(error))
                self._release(active)
                self._has_come_off(active)
            except Exception as error:
                problems.append(f"{active} is not undone: {error}")
        return problems

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
        moment, effect = monotonic(), active.fault.effect
        if effect.compensation:
            made_good = effect.made_good_s or moment
            self.ledger.mark(active.entry, State.IRREVERSIBLE, effect.compensation, evidence, came_off_s=made_good)
            active.undone_s = active.recovered_s = made_good
            self._release(active)
            effect.close()
        else:
            self.ledger.mark(active.entry, State.ACTIVE, evidence=evidence)
        active.active_s = moment

    def _undo_unproven(self, active: ActiveFault, error: BaseException) -> None:
        """Undo it. Raises nothing when that was all that there is to say."""
        self.refresh()
        came_off = active.recovered_s is not None
        try:
            if came_off:
                active.fault.undo()  # whoever took it off may have come before it was on
            else:
                self.recover(active)
        except Exception as problem:
            raise RecoveryError(f"{error}; and it could not be undone: {problem}") from error
        if came_off and isinstance(error, Exception):
            reason = "" if isinstance(error, LedgerError) else f"{error}; "
            raise EvidenceMissing(
                f"{reason}{active} came off during its proof ({active.entry.detail}); give it a longer "
                f"{active.fault.lifetime}"
            ) from error

    def _take_off(self, chosen: Sequence[ActiveFault], verify: bool = True) -> list[tuple[ActiveFault, Exception]]:
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
            result = self._verified(active.fault, seen) if verify else ""
            try:
                if isinstance(result, Exception):
                    raise result
                over_s = active.undone_s if active.fault.effect.is_over_when_healed else None
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
            if active.recovered_s is None and active.active_s and (why := active.fault.effect.moot):
                known = active.fault.effect.moot_s
                moment = came_off_s if known is None else max(known, active.effective_s)
                with suppress(LedgerError):  # then it stays open, and is undone once more
                    self._close(active, why if moment is not None else f"{why}, as was noticed then", moment)

    def _close(self, active: ActiveFault, detail: str, came_off_s: float | None = None) -> None:
        self.ledger.mark(active.entry, State.RECOVERED, detail, came_off_s=came_off_s)
        self._release(active)
        self._has_come_off(active)

    def _release(self, active: ActiveFault) -> None:
        with suppress(DeploymentError):  # a guard that is dead undoes nothing any more
            self.guard.release(active.entry)

    def _has_come_off(self, active: ActiveFault) -> None:
        came_off = active.entry.came_off_s
        active.recovered_s = monotonic() if came_off is None else came_off
        active.fault.effect.close()
        self.on_recovered(active)
