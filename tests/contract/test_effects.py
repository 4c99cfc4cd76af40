"""What every platform must do to replicas, prove, heal and verify, held against each of `PLATFORMS`."""

import json
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
from contract_bench import ONE_EACH, PLATFORMS, Bench, complete

from DynamoFaultLibrary.clock import monotonic, wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError
from DynamoFaultLibrary.faults.injector import ActiveFault, Fault
from DynamoFaultLibrary.ledger import State, read_ledger
from DynamoFaultLibrary.ledger.undo import undo, undoer_of
from DynamoFaultLibrary.platforms.base import Deployment, Ending, Pausing, Replacing
from DynamoFaultLibrary.platforms.effects import Effect, End
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.running import Inspecting
from DynamoFaultLibrary.platforms.settings import DeploySettings

SHORT, SECOND, SECONDS = timedelta(milliseconds=300), timedelta(seconds=1), timedelta(seconds=10)
READY = timedelta(minutes=1)
"""Discovery keeps who has ended for 10 s."""
SKIPPED = 77
LEADER = "engines.position"
"""In the command line of the first process of each worker."""

Plan = Callable[[Bench, Deployment, Replica], Effect]
EFFECTS: dict[str, Plan] = {
    "end": lambda bench, graph, replica: bench.able(Ending).plan_end(graph, replica, End(stays_dead=True)),
    "graceful end": lambda bench, graph, replica: bench.able(Ending).plan_end(
        graph, replica, End(signal.SIGTERM, stays_dead=True, timeout=SECONDS)
    ),
    "end of a process": lambda bench, graph, replica: bench.able(Ending).plan_end(
        graph, replica, End(process_name=LEADER, stays_dead=True)
    ),
    "pause": lambda bench, graph, replica: bench.able(Pausing).plan_pause(graph, replica, None),
    "pause of a process": lambda bench, graph, replica: bench.able(Pausing).plan_pause(graph, replica, LEADER),
}
ENDS = [name for name in EFFECTS if "end" in name]
QUICK = ["end", "pause", "pause of a process"]
"""Those after which tests wait until the graph serves, beside `test_a_fault_goes_through_its_life`: Dynamo's discovery
keeps who has ended for 10 s."""

ROBOT = f"""
import os, signal, sys
from pathlib import Path

import pytest
from contract_bench import PLATFORMS, Bench
from test_effects import EFFECTS

from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.plugins import platform_module

(name, settings), results = PLATFORMS[sys.argv[1]], Path(sys.argv[2])
ledger = Ledger("killed", Owner.current())
bench = Bench(platform_module(name, "platform").open_platform(ledger), settings, ledger, results)
try:
    graph = bench.deploy()
    victim = bench.workers(graph)[0]
    effect = EFFECTS["pause"](bench, graph, victim)
except pytest.skip.Exception:
    bench.platform.close()
    os._exit({SKIPPED})
bench.injector.inject(Fault("pause", graph, [[victim]], effect))
os.kill(os.getpid(), signal.SIGKILL)
"""


@pytest.fixture(params=ONE_EACH)
def case(request: pytest.FixtureRequest) -> object:
    return PLATFORMS[request.param]


def stopped(bench: Bench, replica: Replica) -> set[bool]:
    return {process.is_stopped for process in bench.able(Inspecting).inspect(replica)}


@pytest.mark.parametrize("what", EFFECTS)
def test_a_fault_goes_through_its_life(bench: Bench, deployment: Deployment, victim: Replica, what: str) -> None:
    effect = EFFECTS[what](bench, deployment, victim)
    before = monotonic()
    active = bench.injector.inject(Fault(what, deployment, [[victim]], effect))
    assert active.entry.state is State.ACTIVE
    assert active.entry.evidence
    assert all(victim.name in line or str(victim.incarnation) in line for line in active.entry.evidence)
    assert before <= effect.applied_s <= effect.effective_s <= active.active_s
    assert active.entry.target["node"] == victim.node
    bench.injector.recover(active)
    assert active.entry.state is State.RECOVERED
    assert active.entry.detail
    again, _ = bench.workers(deployment)
    assert (again.incarnation == victim.incarnation) == (not effect.ended)
    assert complete(deployment) == "12 13 14"
    bench.able(Replacing).wait_ready(deployment, READY)


@pytest.mark.parametrize("what", EFFECTS)
def test_nothing_is_proven_that_was_not_applied(
    bench: Bench, deployment: Deployment, victim: Replica, what: str
) -> None:
    effect = EFFECTS[what](bench, deployment, victim)
    effect.apply = lambda: None  # type: ignore[method-assign]  # sabotage
    with pytest.raises(EvidenceMissing):
        bench.injector.inject(Fault(what, deployment, [[victim]], effect))
    assert bench.injector.active == []
    assert complete(deployment) == "12 13 14"


@pytest.mark.parametrize("what", EFFECTS)
def test_what_has_ended_before_is_hit_by_nothing(
    bench: Bench, deployment: Deployment, victim: Replica, what: str
) -> None:
    late = EFFECTS[what](bench, deployment, victim)
    first = bench.injector.inject(Fault("end", deployment, [[victim]], EFFECTS["end"](bench, deployment, victim)))
    with pytest.raises(EvidenceMissing):
        bench.injector.inject(Fault(what, deployment, [[victim]], late))
    assert bench.injector.active == ([] if what in ENDS else [first])  # an end is undone as the first one is


@pytest.mark.parametrize("what", ["end", "pause"])
def test_the_next_life_of_a_replica_is_not_hit(
    bench: Bench, deployment: Deployment, victim: Replica, what: str
) -> None:
    """What was planned for one life is applied to that one, whoever has its name now."""
    late = EFFECTS[what](bench, deployment, victim)
    again = bench.able(Replacing).respawn(deployment, victim)
    with pytest.raises(EvidenceMissing):
        bench.injector.inject(Fault(what, deployment, [[victim]], late))
    assert bench.workers(deployment)[0] == again
    assert stopped(bench, again) == {False}


@pytest.mark.parametrize("what", EFFECTS)
def test_healing_twice_does_no_harm(bench: Bench, deployment: Deployment, victim: Replica, what: str) -> None:
    effect = EFFECTS[what](bench, deployment, victim)
    effect.apply()
    effect.prove()
    for _ in range(2):
        assert effect.heal()
        if what in QUICK:
            effect.verify()
    workers = bench.workers(deployment)
    assert len(workers) == 2
    effect.close()
    effect.close()
    assert bench.workers(deployment) == workers


@pytest.mark.parametrize("what", EFFECTS)
def test_a_recipe_is_enough_to_undo_it(bench: Bench, deployment: Deployment, victim: Replica, what: str) -> None:
    """By anybody, who knows nothing but the ledger; what goes with its deployment need not be undone elsewhere."""
    effect = EFFECTS[what](bench, deployment, victim)
    recipe = json.loads(json.dumps(effect.recipe))
    assert recipe["platform"] == bench.platform.name
    assert undoer_of(recipe).goes_with_deployment == bool(effect.ended)
    if effect.ended:
        return
    effect.apply()
    effect.prove()
    program = f"from DynamoFaultLibrary.ledger.undo import undo; print(undo({recipe!r}))"
    for _ in range(2):
        done = subprocess.run([sys.executable, "-c", program], check=True, capture_output=True, text=True)
        assert done.stdout.strip()
    assert complete(deployment) == "12 13 14"
    assert undo(recipe)
    with pytest.raises(EvidenceMissing):
        effect.prove()


@pytest.mark.parametrize("what", EFFECTS)
def test_a_guarded_fault_comes_off_at_its_expiry(
    bench: Bench, deployment: Deployment, victim: Replica, what: str
) -> None:
    effect = EFFECTS[what](bench, deployment, victim)
    active = bench.injector.inject(Fault(what, deployment, [[victim]], effect))
    bench.injector.renew(active, SHORT)
    assert wait_until(lambda: not bench.injector.active, 15.0)
    assert active.entry.detail.startswith("its time was over")
    if what in QUICK:
        bench.able(Replacing).wait_ready(deployment, READY)
    assert len(bench.workers(deployment)) == 2


def test_a_fault_that_was_released_has_no_expiry_any_more(
    bench: Bench, deployment: Deployment, victim: Replica
) -> None:
    """Else it would take off the next one of the same recipe."""

    def pause(replica: Replica) -> ActiveFault:
        effect = EFFECTS["pause"](bench, deployment, replica)
        return bench.injector.inject(Fault("pause", deployment, [[replica]], effect))

    released = pause(victim)
    bench.injector.renew(released, SECOND)
    bench.injector.recover(released)
    kept, later = pause(victim), pause(bench.workers(deployment)[1])
    bench.injector.renew(later, SECOND)
    assert wait_until(lambda: later not in bench.injector.active, 15.0)
    assert bench.injector.active == [kept]
    assert stopped(bench, victim) == {True}
    bench.injector.recover(kept)


@pytest.mark.usefixtures("make_bench")  # says where its ledgers are, and sees that nothing is left
def test_a_fault_comes_off_when_robot_is_killed(case: tuple[str, DeploySettings], tmp_path: Path) -> None:
    """At any moment, so it is not robot who guards it."""
    name = next(name for name, each in PLATFORMS.items() if each == case)
    robot = [sys.executable, "-c", ROBOT, name, tmp_path / "results"]
    told = subprocess.run(robot, check=False, cwd=Path(__file__).parent, stderr=subprocess.PIPE, text=True)
    if told.returncode == SKIPPED:
        pytest.skip(f"{name} cannot pause here")
    assert (told.returncode, told.stderr) == (-signal.SIGKILL, "")
    path = tmp_path / "state" / "runs" / "killed.jsonl"
    assert wait_until(lambda: not read_ledger(path).open_entries, 15.0)
    (fault,) = [entry for entry in read_ledger(path).entries.values() if entry.is_fault]
    assert (fault.state, fault.evidence != []) == (State.RECOVERED, True)


@pytest.mark.parametrize("what", EFFECTS)
def test_a_platform_that_is_closed_takes_its_faults_with_it(
    bench: Bench, deployment: Deployment, victim: Replica, what: str
) -> None:
    active = bench.injector.inject(Fault(what, deployment, [[victim]], EFFECTS[what](bench, deployment, victim)))
    bench.platform.close()
    assert bench.ledger.entries()[active.entry.id].state is State.RECOVERED
    bench.platform.close()  # once more does no harm


def test_a_recipe_outlives_its_platform(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    """A ledger is read on another day: what it is about is gone, and that is said."""
    recipe = EFFECTS["pause"](bench, deployment, victim).recipe
    bench.platform.close()
    assert "gone" in undo(json.loads(json.dumps(recipe)))


@pytest.mark.parametrize("what", ENDS)
def test_an_end_may_be_made_good_at_once(bench: Bench, deployment: Deployment, victim: Replica, what: str) -> None:
    name = None if what != "end of a process" else LEADER
    number = signal.SIGTERM if what == "graceful end" else signal.SIGKILL
    effect = bench.able(Ending).plan_end(deployment, victim, End(number, name, stays_dead=False, timeout=SECONDS))
    active = bench.injector.inject(Fault(what, deployment, [[victim]], effect))
    assert active.entry.state is State.IRREVERSIBLE
    assert active.entry.detail == effect.compensation != ""
    assert effect.effective_s <= effect.made_good_s <= monotonic()
    again, _ = bench.workers(deployment)
    assert again.incarnation != victim.incarnation
    assert bench.injector.active == []
    if what in QUICK:
        bench.able(Replacing).wait_ready(deployment, READY)


def test_what_becomes_of_the_dead_is_as_the_platform_says(
    bench: Bench, deployment: Deployment, victim: Replica
) -> None:
    effect = bench.able(Ending).plan_end(deployment, victim, End())
    bench.injector.inject(Fault("end", deployment, [[victim]], effect))
    assert bool(effect.compensation) is bench.platform.replaces_ended
    assert len(bench.workers(deployment)) == 1 + bench.platform.replaces_ended
    assert effect.ended == [victim.incarnation]


def test_a_killed_replica_is_seen_by_its_signal(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    bench.injector.inject(Fault("end", deployment, [[victim]], EFFECTS["end"](bench, deployment, victim)))
    ended = bench.platform.wait_exit(victim, SECONDS)
    assert ended is not None
    assert (ended.signal, ended.how) == (signal.SIGKILL, "killed by SIGKILL")
    assert [replica.index for replica in bench.workers(deployment)] == [1]
    assert [end.replica for end in bench.platform.ended(deployment)] == [victim]


def test_a_name_that_matches_nothing_is_told_with_what_runs(
    bench: Bench, deployment: Deployment, victim: Replica
) -> None:
    ending, pausing = bench.able(Ending), bench.able(Pausing)
    for plan in (
        lambda: ending.plan_end(deployment, victim, End(process_name="nobody")),
        lambda: pausing.plan_pause(deployment, victim, "nobody"),
    ):
        with pytest.raises(FaultError, match=rf"no process of {victim.name} matches 'nobody'; running are .*{LEADER}"):
            plan()


def test_who_is_stopped_is_seen_and_not_stopped_again(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    assert stopped(bench, victim) == {False}
    effect = EFFECTS["pause"](bench, deployment, victim)
    active = bench.injector.inject(Fault("pause", deployment, [[victim]], effect))
    assert stopped(bench, victim) == {True}
    with pytest.raises(FaultError, match=f"{victim.name} is stopped already"):
        EFFECTS["pause"](bench, deployment, victim)
    assert [replica.name for replica in bench.workers(deployment)] == ["PositionWorker-0", "PositionWorker-1"]
    texts, problems = bench.platform.metrics(deployment, victim.service, timeout_s=0.5)
    assert (set(texts), len(problems)) == ({"PositionWorker-1"}, 1)
    assert victim.name in problems[0]
    bench.injector.recover(active)
    assert stopped(bench, victim) == {False}


def test_a_pause_is_over_when_its_replica_is(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    pause = EFFECTS["pause"](bench, deployment, victim)
    assert (pause.moot, pause.moot_s) == ("", None)
    active = bench.injector.inject(Fault("pause", deployment, [[victim]], pause))
    end = bench.injector.inject(Fault("end", deployment, [[victim]], EFFECTS["end"](bench, deployment, victim)))
    assert bench.injector.active == [end]
    assert pause.moot == active.entry.detail != ""
    exit_ = bench.platform.wait_exit(victim, SECONDS)
    assert exit_ is not None
    assert pause.moot_s == exit_.at == active.recovered_s


def test_two_ends_of_one_replica_come_off_together(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    first = bench.injector.inject(Fault("end", deployment, [[victim]], EFFECTS["end"](bench, deployment, victim)))
    frontend = bench.frontend(deployment)
    second = bench.injector.inject(Fault("end", deployment, [[frontend]], EFFECTS["end"](bench, deployment, frontend)))
    assert first.fault.verification == second.fault.verification, "one look is enough to see that all serve again"
    assert bench.injector.recover_all() == []
    assert bench.platform.ended(deployment) == []


def test_what_goes_with_its_deployment_is_said(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    effects = {what: EFFECTS[what](bench, deployment, victim) for what in ("end", "pause")}
    bench.injector.inject(Fault("pause", deployment, [[victim]], effects["pause"]))
    bench.injector.heal(lambda fault: True)
    assert stopped(bench, victim) == {False}
    bench.injector.inject(Fault("end", deployment, [[victim]], effects["end"]))
    bench.injector.heal(lambda fault: True)
    assert len(bench.workers(deployment)) == 1, "nobody starts again what is about to be deleted"
    bench.platform.delete(deployment)
    assert bench.injector.forget(lambda fault: True, "its deployment was deleted") == []
