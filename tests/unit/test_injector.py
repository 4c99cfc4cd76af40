from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, ClassVar

import pytest

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import (
    DeploymentError,
    EvidenceMissing,
    FaultError,
    LedgerError,
    RecoveryError,
)
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.faults.injector import DEFAULT_TTL, ActiveFault, Injector
from DynamoFaultLibrary.ledger import Entry, Ledger, Owner, State, read_ledger
from DynamoFaultLibrary.platforms.effects import Effect
from DynamoFaultLibrary.processes import ProcessId
from DynamoFaultLibrary.times import duration_text


@dataclass
class Guard:
    """Holds what a supervisor would undo, and when."""

    expiries: dict[str, datetime | None] = field(default_factory=dict)
    is_gone: bool = False

    def guard(self, entry: Entry) -> None:
        if self.is_gone:
            raise DeploymentError("the supervisor did not answer 'guard'")
        self.expiries[entry.id] = entry.expires_at

    def release(self, entry: Entry) -> None:
        del self.expiries[entry.id]

    @property
    def guarded(self) -> list[str]:
        return list(self.expiries)


@dataclass
class Flag(Effect):
    """A fault, and its effect, that can be seen: a directory that is there while it is in effect."""

    path: Path
    on_inject: Callable[[], None] = lambda: None
    on_prove: Callable[[], None] = lambda: None
    on_recover: Callable[[], None] = lambda: None
    on_verify: Callable[[], None] = lambda: None
    waits_for: Hashable = None
    over: str = ""
    over_when_undone: bool = True
    undo_recipe: dict[str, Any] = field(default_factory=dict)
    recoveries: int = 0
    let_goes: int = 0

    gone_with_deployment: bool = False

    kind: ClassVar[str] = "Raise Flag"
    lifetime: ClassVar[str] = "ttl"

    @property
    def effect(self) -> Effect:
        return self

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def goes_with_deployment(self) -> bool:
        return self.gone_with_deployment

    @property
    def is_over_when_healed(self) -> bool:
        return self.over_when_undone

    @property
    def target(self) -> dict[str, Any]:
        return {"replica": self.path.name}

    @property
    def recipe(self) -> dict[str, Any]:
        return self.undo_recipe or {"action": "remove", "path": str(self.path)}

    @property
    def verification(self) -> Hashable:
        return self.waits_for or super().verification

    @property
    def moot(self) -> str:
        return self.over

    def apply(self) -> None:
        self.on_inject()
        self.path.mkdir()

    def prove(self) -> list[str]:
        self.on_prove()
        return [f"{self.path.name} is up"]

    def undo(self) -> str:
        return self.heal()

    def heal(self) -> str:
        self.recoveries += 1
        self.on_recover()
        if self.path.exists():
            self.path.rmdir()
        return f"{self.path.name} is down"

    def verify(self) -> str:
        self.on_verify()
        return ""

    def close(self) -> None:
        self.let_goes += 1


def failing(error: BaseException) -> Callable[[], None]:
    def fail() -> None:
        raise error

    return fail


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
def injector(ledger: Ledger, guard: Guard) -> Injector:
    return Injector(ledger, guard)


def states(injector: Injector) -> list[str]:
    return [entry.state.value for entry in read_ledger(injector.ledger.path).entries.values()]


def test_a_fault_leads_from_intent_to_active_with_its_evidence(injector: Injector, tmp_path: Path) -> None:
    before = monotonic()
    active = injector.inject(Flag(tmp_path / "flag"))
    assert (tmp_path / "flag").exists()
    (entry,) = read_ledger(injector.ledger.path).entries.values()
    assert entry == active.entry
    assert (entry.state, entry.kind, entry.evidence) == (State.ACTIVE, "Raise Flag", ["flag is up"])
    assert entry.target == {"replica": "flag"}
    assert entry.undo == {"action": "remove", "path": str(tmp_path / "flag")}
    assert entry.is_fault
    assert before <= active.injected_s <= active.active_s <= monotonic()
    assert active.recovered_s is None


def test_the_intent_is_on_disk_before_anything_happens(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    seen: list[Any] = []
    fault = Flag(tmp_path / "flag", on_inject=lambda: seen.append((states(injector), guard.guarded)))
    active = injector.inject(fault)
    assert seen == [(["intent"], [active.entry.id])]


def test_without_a_ledger_nothing_is_injected(tmp_path: Path, guard: Guard) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    injector = Injector(Ledger("r", Owner(ProcessId.current()), blocker), guard)
    fault = Flag(tmp_path / "flag", on_inject=failing(AssertionError("it was injected")))
    with pytest.raises(LedgerError, match="without a ledger no fault is injected"):
        injector.inject(fault)
    assert not (tmp_path / "flag").exists()
    assert fault.recoveries == 0
    assert (injector.faults, guard.guarded) == ([], [])


def test_without_a_guard_nothing_is_injected(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    guard.is_gone = True
    with pytest.raises(DeploymentError, match="did not answer 'guard'"):
        injector.inject(Flag(tmp_path / "flag"))
    assert not (tmp_path / "flag").exists()
    assert injector.active == []


@pytest.mark.parametrize("ttl", [timedelta(0), timedelta(seconds=-1), timedelta(hours=24.1), timedelta.max])
def test_a_fault_needs_time_to_live(injector: Injector, tmp_path: Path, ttl: timedelta) -> None:
    with pytest.raises(FaultError, match=r"ttl must be above 0 s and at most 24 h, not"):
        injector.inject(Flag(tmp_path / "flag"), ttl)
    assert not injector.ledger.path.exists()
    assert not (tmp_path / "flag").exists()


@pytest.mark.parametrize("ttl", [None, timedelta(seconds=30)])
def test_the_expiry_of_a_fault_is_in_the_ledger(injector: Injector, tmp_path: Path, ttl: timedelta | None) -> None:
    fault = Flag(tmp_path / "flag")
    active = injector.inject(fault) if ttl is None else injector.inject(fault, ttl)
    expires = read_ledger(injector.ledger.path).entries[active.entry.id].expires_at
    assert expires is not None
    assert abs(expires - datetime.now(UTC) - (ttl or DEFAULT_TTL)) < timedelta(seconds=5)


def test_an_unproven_fault_is_undone_and_its_error_raised(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    fault = Flag(tmp_path / "flag", on_prove=failing(EvidenceMissing("nobody saw it")))
    with pytest.raises(EvidenceMissing, match="nobody saw it"):
        injector.inject(fault)
    assert not (tmp_path / "flag").exists()
    assert states(injector) == ["recovered"]
    assert (injector.active, guard.guarded) == ([], [])


@pytest.mark.parametrize("error", [OSError("no permission"), KeyboardInterrupt(), SystemExit(1)])
def test_a_fault_that_fails_on_its_way_is_undone(injector: Injector, tmp_path: Path, error: BaseException) -> None:
    fault = Flag(tmp_path / "flag", on_prove=failing(error))
    with pytest.raises(type(error)) as raised:
        injector.inject(fault)
    assert raised.value is error
    assert not (tmp_path / "flag").exists()
    assert states(injector) == ["recovered"]


def test_a_fault_that_cannot_be_injected_is_undone_too(injector: Injector, tmp_path: Path) -> None:
    fault = Flag(tmp_path / "flag", on_inject=failing(OSError("no permission")))
    with pytest.raises(OSError, match="no permission"):
        injector.inject(fault)
    assert fault.recoveries == 1
    assert states(injector) == ["recovered"]


def test_an_unproven_fault_that_stays_is_an_error_with_both_reasons(injector: Injector, tmp_path: Path) -> None:
    fault = Flag(
        tmp_path / "flag",
        on_prove=failing(EvidenceMissing("nobody saw it")),
        on_recover=failing(RecoveryError("it is stuck")),
    )
    with pytest.raises(RecoveryError) as raised:
        injector.inject(fault)
    assert str(raised.value) == "nobody saw it; and it could not be undone: it is stuck"
    assert isinstance(raised.value.__cause__, EvidenceMissing)
    assert states(injector) == ["intent"]
    assert [active.fault for active in injector.active] == [fault]


def test_a_fault_whose_proof_cannot_be_recorded_is_undone(injector: Injector, tmp_path: Path) -> None:
    def lose_ledger() -> None:
        injector.ledger.path.unlink()
        injector.ledger.path.mkdir()

    with pytest.raises((LedgerError, RecoveryError), match="cannot write ledger"):
        injector.inject(Flag(tmp_path / "flag", on_prove=lose_ledger))
    assert not (tmp_path / "flag").exists()


def test_a_recovered_fault_is_undone_and_recorded(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    active = injector.inject(Flag(tmp_path / "flag"))
    assert guard.guarded == [active.entry.id]
    injector.recover(active)
    assert not (tmp_path / "flag").exists()
    (entry,) = read_ledger(injector.ledger.path).entries.values()
    assert (entry.state, entry.detail, entry.evidence) == (State.RECOVERED, "flag is down", ["flag is up"])
    assert active.recovered_s is not None
    assert active.recovered_s >= active.active_s
    assert (guard.guarded, injector.active, injector.faults) == ([], [], [active])


def test_recovering_twice_undoes_once(injector: Injector, tmp_path: Path) -> None:
    fault = Flag(tmp_path / "flag")
    active = injector.inject(fault)
    injector.recover(active)
    when, lines = active.recovered_s, injector.ledger.path.read_bytes()
    injector.recover(active)
    assert fault.recoveries == 1
    assert (active.recovered_s, injector.ledger.path.read_bytes()) == (when, lines)


def test_a_fault_that_cannot_be_recovered_stays_active(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    active = injector.inject(Flag(tmp_path / "flag", on_recover=failing(RecoveryError("it is stuck"))))
    with pytest.raises(RecoveryError, match="it is stuck"):
        injector.recover(active)
    assert injector.active == [active]
    assert guard.guarded == [active.entry.id]
    assert states(injector) == ["active"]
    assert active.recovered_s is None


def test_whoever_wants_to_know_hears_of_each_recovery(ledger: Ledger, guard: Guard, tmp_path: Path) -> None:
    heard: list[ActiveFault] = []
    injector = Injector(ledger, guard, on_recovered=heard.append)
    active = injector.inject(Flag(tmp_path / "flag"))
    assert heard == []
    injector.recover(active)
    injector.recover(active)
    assert heard == [active]


def test_all_faults_are_recovered_the_last_one_first(injector: Injector, tmp_path: Path) -> None:
    order: list[str] = []
    for name in ("a", "b", "c"):
        injector.inject(Flag(tmp_path / name, on_recover=lambda name=name: order.append(name)))
    assert [str(active.fault.target["replica"]) for active in injector.active] == ["c", "b", "a"]
    assert injector.recover_all() == []
    assert order == ["c", "b", "a"]
    assert injector.active == []


def test_recovering_all_goes_on_after_a_failure_and_tells_of_it(injector: Injector, tmp_path: Path) -> None:
    first = injector.inject(Flag(tmp_path / "a"))
    stuck = injector.inject(Flag(tmp_path / "b", on_recover=failing(RecoveryError("it is stuck"))))
    last = injector.inject(Flag(tmp_path / "c"))
    assert injector.recover_all() == [f"Raise Flag {stuck.entry.id} on b is not undone: it is stuck"]
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "c").exists()
    assert [active.entry.state.value for active in (first, stuck, last)] == ["recovered", "active", "recovered"]


def test_recovering_all_of_nothing_is_no_problem(injector: Injector) -> None:
    assert injector.recover_all() == []


def test_a_fault_that_tells_no_evidence_is_none(injector: Injector, tmp_path: Path) -> None:
    """It was active with an empty list of evidence (a platform of another package)."""
    fault = Flag(tmp_path / "flag")
    fault.prove = list  # type: ignore[method-assign]
    with pytest.raises(EvidenceMissing, match="Raise Flag: nothing was told that proves that it took effect"):
        injector.inject(fault)
    assert (fault.recoveries, injector.active) == (1, [])


def test_a_fault_that_was_made_good_is_irreversible(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    fault = Flag(tmp_path / "flag")
    fault.on_prove = lambda: setattr(fault, "compensation", "another flag was raised")
    active = injector.inject(fault)
    (entry,) = read_ledger(injector.ledger.path).entries.values()
    assert (entry.state, entry.detail) == (State.IRREVERSIBLE, "another flag was raised")
    assert entry.evidence == ["flag is up"]
    assert (injector.active, guard.guarded) == ([], [])
    injector.recover(active)
    assert injector.recover_all() == []
    assert fault.recoveries == 0


def test_faults_that_went_with_their_target_are_closed_without_an_undo(injector: Injector, tmp_path: Path) -> None:
    gone, other = Flag(tmp_path / "gone", gone_with_deployment=True), Flag(tmp_path / "other")
    active = [injector.inject(gone), injector.inject(other)]
    injector.heal(lambda candidate: candidate.fault is gone)
    assert injector.forget(lambda candidate: candidate.fault is gone, "its deployment was deleted") == []
    assert (gone.recoveries, other.recoveries) == (0, 0)
    assert injector.active == [active[1]]
    entries = read_ledger(injector.ledger.path).entries
    assert entries[active[0].entry.id].state is State.RECOVERED
    assert entries[active[0].entry.id].detail == "its deployment was deleted"


def test_a_fault_comes_off_before_its_target_goes_but_is_not_verified(injector: Injector, tmp_path: Path) -> None:
    """It was closed with its deployment, whatever was left of it (what outlives the graph)."""
    seen: list[str] = []
    fault = Flag(tmp_path / "flag", on_verify=lambda: seen.append("verified"))
    active = injector.inject(fault)
    injector.heal(lambda _: True)
    assert (fault.recoveries, seen) == (1, [])
    assert (active.entry.state, active.entry.detail) == (State.RECOVERED, "flag is down")
    assert injector.forget(lambda _: True, "its deployment was deleted") == []


def test_a_fault_that_does_not_come_off_is_tried_again_when_its_target_is_gone(
    injector: Injector, tmp_path: Path
) -> None:
    stubborn = Flag(tmp_path / "stubborn", on_recover=failing(RecoveryError("it is still there")))
    active = injector.inject(stubborn)
    injector.heal(lambda _: True)
    assert injector.active == [active]
    (problem,) = injector.forget(lambda _: True, "its deployment was deleted")
    assert problem == f"{active} is not undone: it is still there"
    assert injector.active == [active]
    stubborn.on_recover = lambda: None
    assert injector.forget(lambda _: True, "its deployment was deleted") == []
    assert active.entry.detail == "its deployment was deleted; stubborn is down"


def came_off(injector: Injector, active: ActiveFault, came_off_s: float | None = None) -> None:
    """What a supervisor does when a fault's time is over, in another process."""
    active.fault.path.rmdir()  # type: ignore[attr-defined]
    theirs = read_ledger(injector.ledger.path).entries[active.entry.id]
    other = Ledger(injector.ledger.run, injector.ledger.owner, injector.ledger.state)
    other.mark(theirs, State.RECOVERED, "its time was over", came_off_s=came_off_s)


def test_a_fault_that_came_off_by_itself_is_not_active(ledger: Ledger, guard: Guard, tmp_path: Path) -> None:
    heard: list[ActiveFault] = []
    injector = Injector(ledger, guard, on_recovered=heard.append)
    expired, other = injector.inject(Flag(tmp_path / "a")), injector.inject(Flag(tmp_path / "b"))
    came_off(injector, expired)
    assert injector.active == [other]
    assert (expired.entry.state, expired.entry.detail) == (State.RECOVERED, "its time was over")
    assert expired.recovered_s is not None
    assert injector.recover_all() == []
    assert heard == [expired, other]


def test_a_renewed_fault_stays_longer(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    active = injector.inject(Flag(tmp_path / "flag"), timedelta(seconds=1))
    injector.renew(active, timedelta(hours=1))
    expires = read_ledger(injector.ledger.path).entries[active.entry.id].expires_at
    assert expires is not None
    assert timedelta(minutes=59) < expires - datetime.now(UTC) <= timedelta(hours=1)
    assert guard.expiries == {active.entry.id: expires}
    assert states(injector) == ["active"]


def test_a_fault_that_came_off_cannot_be_renewed(injector: Injector, tmp_path: Path) -> None:
    active = injector.inject(Flag(tmp_path / "flag"))
    came_off(injector, active)
    with pytest.raises(FaultError) as raised:
        injector.renew(active, timedelta(hours=1))
    assert str(raised.value) == f"Raise Flag {active.entry.id} on flag has come off already: its time was over"


def test_a_fault_that_comes_off_while_it_is_renewed_is_not_renewed(
    ledger: Ledger, guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its old expiry came between the ledger's line and the guard's new deadline: `Renew Fault` passed."""
    injector = Injector(ledger, guard)
    active = injector.inject(Flag(tmp_path / "flag"))
    known = guard.guard

    def slowly(entry: Entry) -> None:
        came_off(injector, active)
        known(entry)

    monkeypatch.setattr(guard, "guard", slowly)
    with pytest.raises(FaultError, match="has come off just now: its time was over"):
        injector.renew(active, timedelta(hours=1))
    assert guard.guarded == []


def test_all_faults_are_recovered_though_the_ledger_cannot_be_read(injector: Injector, tmp_path: Path) -> None:
    injector.inject(Flag(tmp_path / "a"))
    injector.inject(Flag(tmp_path / "b"))
    injector.ledger.path.unlink()
    injector.recover_all()
    assert not (tmp_path / "a").exists()
    assert not (tmp_path / "b").exists()


def test_a_fault_outside_of_the_blast_radius_is_refused(ledger: Ledger, guard: Guard, tmp_path: Path) -> None:
    injector = Injector(ledger, guard, BlastRadius(max_faults=1))
    first = injector.inject(Flag(tmp_path / "a"))
    with pytest.raises(FaultError) as raised:
        injector.inject(Flag(tmp_path / "b"))
    assert str(raised.value) == (
        f"'Raise Flag' is refused: 1 fault is active ({first.entry.id}), and the library's import allows 1 at once"
    )
    assert not (tmp_path / "b").exists()
    assert list(read_ledger(ledger.path).entries) == [first.entry.id]
    injector.recover(first)
    injector.inject(Flag(tmp_path / "b"))
    assert (tmp_path / "b").exists()


@pytest.mark.parametrize("what", ["service", "namespace", "node"])
def test_a_target_that_is_not_among_the_allowed_ones_is_refused(what: str) -> None:
    radius = BlastRadius(**{f"{what}s": ["a", "b"]})
    radius.check("Kill Worker", {what: "a"}, [])
    radius.check("Kill Worker", {"other": "c"}, ["x"] * 100)
    with pytest.raises(FaultError) as raised:
        radius.check("Kill Worker", {what: "c"}, [])
    assert str(raised.value) == (
        f"'Kill Worker' on {what} 'c' is refused: the library's import allows the {what}s ['a', 'b']"
    )


def test_an_empty_list_of_services_allows_none() -> None:
    with pytest.raises(FaultError, match=r"allows the services \[\]"):
        BlastRadius(services=[]).check("Kill Worker", {"service": "a"}, [])


def test_a_fault_is_named_by_kind_id_and_replica(injector: Injector, tmp_path: Path) -> None:
    active = injector.inject(Flag(tmp_path / "flag"))
    assert str(active) == f"Raise Flag {active.entry.id} on flag"
    assert active.entry.id.startswith("raise-flag-")


def test_a_fault_came_off_when_it_did_not_when_that_was_noticed(ledger: Ledger, guard: Guard, tmp_path: Path) -> None:
    """A stall of 3 s was told as one of 12 s (row 3)."""
    heard: list[ActiveFault] = []
    injector = Injector(ledger, guard, on_recovered=heard.append)
    active = injector.inject(Flag(tmp_path / "flag"))
    moment = monotonic() - 9
    came_off(injector, active, moment)
    injector.refresh()
    assert (active.recovered_s, heard) == (moment, [active])


def test_a_recovered_fault_came_off_with_its_undo_not_with_the_proof_of_that(
    injector: Injector, tmp_path: Path
) -> None:
    """How long it takes to see that packets pass again is not the fault's time (row 3)."""
    moments: list[float] = []
    fault = Flag(tmp_path / "flag", on_verify=lambda: moments.append(monotonic()))
    active = injector.inject(fault)
    injector.recover(active)
    assert active.recovered_s is not None
    assert active.recovered_s <= moments[0]


def test_the_clock_of_recovery_starts_with_the_earliest_evidence(injector: Injector, tmp_path: Path) -> None:
    """A proof that waits, such as for an election, hid the outage (row 6)."""
    fault = Flag(tmp_path / "flag", on_prove=lambda: setattr(fault, "effective_s", 7.0))
    active = injector.inject(fault)
    assert active.effective_s == 7.0 < active.active_s


def test_a_fault_that_ended_a_process_is_over_once_its_replica_serves(injector: Injector, tmp_path: Path) -> None:
    """What starts again serves nobody yet: requests that fail until then are not after the fault."""
    ready: list[float] = []
    flag = Flag(tmp_path / "flag", over_when_undone=False, on_verify=lambda: ready.append(monotonic()))
    active = injector.inject(flag)
    injector.recover(active)
    assert active.recovered_s is not None
    assert active.recovered_s >= ready[0]
    assert active.undone_s is not None
    assert active.undone_s <= ready[0]


def test_a_fault_that_comes_off_during_its_proof_is_not_active(ledger: Ledger, guard: Guard, tmp_path: Path) -> None:
    """The ledger went from recovered to active: reported as on, unguarded, and off (row 10)."""
    injector = Injector(ledger, guard)
    fault = Flag(tmp_path / "flag", on_prove=lambda: came_off(injector, injector.faults[-1]))
    with pytest.raises(EvidenceMissing) as raised:
        injector.inject(fault, timedelta(seconds=1))
    (active,) = injector.faults
    assert str(raised.value) == (
        f"Raise Flag {active.entry.id} on flag came off during its proof (its time was over); give it a longer ttl"
    )
    assert (injector.active, active.active_s, states(injector)) == ([], 0.0, ["recovered"])


@pytest.mark.parametrize("proof", [lambda: None, failing(KeyboardInterrupt())])
def test_a_fault_that_came_off_before_it_was_on_is_taken_off_again(
    injector: Injector, tmp_path: Path, proof: Callable[[], None]
) -> None:
    """The guard undid a stall of 1 ms before the signal was sent, and then the replica stood still for ever."""

    def expire() -> None:
        injector.ledger.mark(injector.faults[-1].entry, State.RECOVERED, "its time was over")

    fault = Flag(tmp_path / "flag", on_inject=expire, on_prove=proof)
    with pytest.raises((EvidenceMissing, KeyboardInterrupt)):
        injector.inject(fault, timedelta(seconds=1))
    assert (fault.path.exists(), fault.recoveries, injector.active) == (False, 1, [])


def test_a_proof_that_fails_since_its_fault_came_off_says_so(injector: Injector, tmp_path: Path) -> None:
    def prove() -> None:
        came_off(injector, injector.faults[-1])
        raise EvidenceMissing("nobody saw it")

    with pytest.raises(EvidenceMissing, match=r"nobody saw it; Raise Flag \S+ on flag came off during its proof"):
        injector.inject(Flag(tmp_path / "flag", on_prove=prove))


def test_all_are_undone_before_the_first_is_verified(injector: Injector, tmp_path: Path) -> None:
    """A killed replica was waited for while another one was stalled still: 60 s, in vain (row 24)."""
    stalled, killed = tmp_path / "stalled", tmp_path / "killed"

    def verify() -> None:
        if stalled.exists():
            raise RecoveryError("not ready within 60 s")

    injector.inject(Flag(stalled))
    injector.inject(Flag(killed, on_verify=verify))
    assert injector.recover_all() == []
    assert injector.active == []


def test_what_several_faults_wait_for_is_waited_for_once(injector: Injector, tmp_path: Path) -> None:
    """Each killed replica of a graph that does not come back cost a whole timeout (row 24)."""
    waited: list[str] = []

    def verify(name: str) -> None:
        waited.append(name)
        raise RecoveryError("not ready")

    for name in ("a", "b"):
        injector.inject(Flag(tmp_path / name, on_verify=lambda name=name: verify(name), waits_for="graph"))
    assert [problem.partition(" is not undone: ")[2] for problem in injector.recover_all()] == ["not ready"] * 2
    assert waited == ["b"]
    assert len(injector.active) == 2


def test_a_fault_that_does_not_work_again_names_those_that_may_be_why(injector: Injector, tmp_path: Path) -> None:
    other = injector.inject(Flag(tmp_path / "a"))
    active = injector.inject(Flag(tmp_path / "b", on_verify=failing(RecoveryError("not ready"))))
    with pytest.raises(RecoveryError) as raised:
        injector.recover(active)
    assert str(raised.value) == f"not ready; other faults are in effect: Raise Flag {other.entry.id} on a"


def test_faults_with_the_same_recipe_come_off_together(injector: Injector, tmp_path: Path) -> None:
    """Two faults that ended the same replica: one start makes both good."""
    recipe = {"action": "respawn", "name": "W-0", "victim": {}}
    first = injector.inject(Flag(tmp_path / "a", undo_recipe=recipe))
    second = injector.inject(Flag(tmp_path / "b", undo_recipe=recipe))
    third = injector.inject(Flag(tmp_path / "c"))
    injector.recover(first)
    assert injector.active == [third]
    assert second.entry.state is State.RECOVERED


def test_a_fault_ends_with_what_it_held(injector: Injector, tmp_path: Path) -> None:
    """A stall of a process that was killed since stayed active (kin of row 9)."""
    fault = Flag(tmp_path / "a")
    active = injector.inject(fault)
    kill = Flag(tmp_path / "b", on_prove=lambda: setattr(fault, "over", "its processes have ended"))
    other = injector.inject(kill)
    assert injector.active == [other]
    assert (active.entry.detail, active.recovered_s) == ("its processes have ended", other.effective_s)


@pytest.mark.parametrize("how", ["recovered", "expired", "irreversible", "forgotten", "unproven"])
def test_what_a_fault_holds_open_is_closed_however_it_ends(injector: Injector, tmp_path: Path, how: str) -> None:
    """Probes of partitions that had expired stayed open (row 26)."""
    fault = Flag(tmp_path / "flag")
    if how == "irreversible":
        fault.on_prove = lambda: setattr(fault, "compensation", "made good")
    if how == "unproven":
        fault.on_prove = failing(EvidenceMissing("nobody saw it"))
        with pytest.raises(EvidenceMissing):
            injector.inject(fault)
        assert fault.let_goes == 1
        return
    active = injector.inject(fault)
    if how == "recovered":
        injector.recover(active)
    elif how == "expired":
        came_off(injector, active)
        injector.refresh()
    elif how == "forgotten":
        injector.forget(lambda _: True, "its deployment was deleted")
    assert fault.let_goes == 1


def test_an_intent_that_nobody_guards_is_closed(injector: Injector, guard: Guard, tmp_path: Path) -> None:
    guard.is_gone = True
    with pytest.raises(DeploymentError):
        injector.inject(Flag(tmp_path / "flag"))
    assert states(injector) == ["recovered"]


def test_a_fault_belongs_to_its_suite_and_those_above(injector: Injector, tmp_path: Path) -> None:
    """The fault of a directory's setup came off after its first child suite (row 16)."""
    active = injector.inject(Flag(tmp_path / "flag"), suite="Suites.Load")
    assert active.belongs_to_suite("Suites.Load")
    assert active.belongs_to_suite("Suites")
    assert not active.belongs_to_suite("Suites.Load.Phases")
    assert not active.belongs_to_suite("Suites.Lo")


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(seconds=-5), "-5 s"),
        (timedelta(milliseconds=300), "0.3 s"),
        (timedelta(days=30, minutes=1), "30 d 1 min"),
        (timedelta(hours=1, seconds=1.5), "1 h 1.5 s"),
    ],
)
def test_a_time_is_written_as_people_write_it(value: timedelta, text: str) -> None:
    assert duration_text(value) == text


def test_faults_of_what_is_gone_are_closed_though_the_ledger_cannot_be_told(
    injector: Injector, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first one that could not be written left all others in effect, on a graph that was deleted."""
    for name in ("one", "two"):
        injector.inject(Flag(tmp_path / name))

    def full(*_: Any, **__: Any) -> None:
        raise LedgerError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(injector.ledger, "mark", full)
        assert injector.forget(lambda active: True, "its deployment was deleted") == ["the disk is full"] * 2
    assert [active.recovered_s is not None for active in injector.faults] == [True, True]


@dataclass
class Dated(Flag):
    """A flag that knows when it became moot."""

    over_s: float | None = None

    @property
    def moot_s(self) -> float | None:
        return self.over_s


def test_a_fault_is_over_when_it_became_moot_not_when_that_was_noticed(injector: Injector, tmp_path: Path) -> None:
    """A stall whose process died was dated when somebody looked."""
    dated, other = Dated(tmp_path / "dated"), Flag(tmp_path / "other")
    first, second = injector.inject(dated), injector.inject(other)
    dated.over_s = monotonic()
    dated.over = other.over = "its processes have ended"
    injector.refresh()
    assert first.recovered_s == dated.over_s
    assert first.entry.detail == "its processes have ended"
    assert second.entry.detail == "its processes have ended, as was noticed then"


def test_a_run_that_allows_no_fault_says_so(ledger: Ledger, guard: Guard, tmp_path: Path) -> None:
    """It said "0 faults are active (), and the library's import allows 0 at once"."""
    injector = Injector(ledger, guard, BlastRadius(max_faults=0))
    with pytest.raises(
        FaultError, match=r"'Raise Flag' is refused: the library's import allows no fault \(max_faults=0\)"
    ):
        injector.inject(Flag(tmp_path / "a"))
