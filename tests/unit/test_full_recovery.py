"""Full recovery, on loads that are simulated with fixed seeds."""

import heapq
from collections.abc import Callable

import numpy as np
import pytest

from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.recovery import FullRecovery, aftermaths, full_recovery
from DynamoFaultLibrary.load.table import OUTCOMES, Floats, Table
from DynamoFaultLibrary.load.windows import FaultWindow

NONE = float("nan")
FAULT_S = 15.0
FAULT = FaultWindow("kill on Worker-0", FAULT_S, FAULT_S, None)
Random = np.random.Generator
Latency = Callable[[Random, float], float]


def table(starts: Floats, ends: Floats, outcome: Floats | None = None, scheduled: Floats | None = None) -> Table:
    count = len(starts)
    due = starts if scheduled is None else scheduled
    good = np.full(count, OUTCOMES.index(Outcome.OK), dtype=float)
    columns = [
        starts,
        ends,
        ends - due,
        *(np.full(count, NONE) for _ in range(3)),
        *(np.zeros(count) for _ in range(4)),
    ]
    columns += [np.full(count, 200.0), good if outcome is None else outcome]
    columns += [np.full(count, NONE) if scheduled is None else scheduled, np.full(count, NONE), np.full(count, NONE)]
    return Table.from_rows(np.column_stack(columns).tolist())


def clients(
    count: int, total_s: float, latency: Latency, seed: int = 1, ramp_s: float = 0.0, think_s: float = 0.0
) -> Table:
    """Clients that send one request after the other, until `total_s`; then what is in flight ends."""
    chance = np.random.default_rng(seed)
    starts, ends = [], []
    for number in range(count):
        moment = ramp_s * number / count
        while moment < total_s:
            starts.append(moment)
            moment += max(0.001, latency(chance, moment))
            ends.append(moment)
            moment += think_s
    return table(np.array(starts), np.array(ends))


def schedule(rate: float, total_s: float, service: Latency, seed: int, servers: int = 1000, left: int = 0) -> Table:
    """Requests that come at random (Poisson) to servers with one queue, of which only `left` are left by the fault."""
    chance = np.random.default_rng(seed)
    due = np.cumsum(chance.exponential(1 / rate, int(rate * total_s)))
    free, ends = [0.0] * servers, []
    for moment in due.tolist():
        if left and moment >= FAULT_S and len(free) > left:
            free = sorted(free)[:left]
        end = max(heapq.heappop(free), moment) + max(0.001, service(chance, moment))
        heapq.heappush(free, end)
        ends.append(end)
    return table(due + 1e-5, np.array(ends), scheduled=due)


def even(mean: float, deviation: float = 0.02) -> Latency:
    return lambda chance, moment: chance.normal(mean, deviation)


def memoryless(mean: float) -> Latency:
    return lambda chance, moment: chance.exponential(mean)


def slower(mean: float, share: float) -> Latency:
    """So much of the throughput is left after the fault."""
    return lambda chance, moment: chance.normal(mean if moment < FAULT_S else mean / share, mean / 20)


def judge(load: Table, **options: float) -> FullRecovery:
    return full_recovery(load, FAULT, **options)


STEADY: dict[str, Callable[[int], Table]] = {
    "one client": lambda seed: clients(1, 60, even(0.2), seed),
    "eight clients": lambda seed: clients(8, 60, even(0.4, 0.1), seed),
    "200 clients in step": lambda seed: clients(200, 40, even(0.9, 0.001), seed),
    "eight clients, slow answers": lambda seed: clients(8, 60, even(2.0), seed),
    "latencies without memory": lambda seed: clients(8, 60, memoryless(0.4), seed),
    "4/s at random": lambda seed: schedule(4, 60, even(0.1), seed),
    "20/s at random": lambda seed: schedule(20, 60, even(0.1), seed),
    "20/s at random, latencies without memory": lambda seed: schedule(20, 60, memoryless(0.3), seed),
    "100/s at random": lambda seed: schedule(100, 40, even(0.3), seed),
}


@pytest.mark.parametrize("name", STEADY)
def test_a_load_that_goes_on_as_before_keeps_its_service_level(name: str) -> None:
    found = [judge(STEADY[name](seed)) for seed in range(30)]
    missed = [each.reason for each in found if each.seconds is None]
    assert len(missed) <= 1, missed
    assert sum(each.seconds == 0 for each in found) >= 24, [each.seconds for each in found]


@pytest.mark.parametrize("count", [1, 2, 8, 200])
def test_a_worker_that_is_not_replaced_is_not_recovered_from(count: int) -> None:
    """A load that fell to a fraction was recovered after 0.006 s (row 6)."""
    for seed in range(5):
        found = judge(clients(count, 30, slower(0.4, 0.55), seed))
        assert found.seconds is None
        assert found.reason.endswith("% of the throughput at the end")
        assert abs(int(found.reason.split()[2]) - 55) <= 4


@pytest.mark.parametrize("rate", [20, 100])
def test_a_queue_that_grows_is_not_recovered_from(rate: float) -> None:
    for seed in range(5):
        found = judge(schedule(rate, 40, memoryless(6 / rate), seed, servers=8, left=4))
        assert found.reason.startswith("not reached: ")


def test_an_outage_that_ends_is_recovered_from_when_it_has_ended() -> None:
    def stalled(chance: Random, moment: float) -> float:
        usual = float(chance.normal(0.4, 0.02))
        return usual + 3.0 if FAULT_S - 0.4 <= moment < FAULT_S else usual

    found = judge(clients(8, 40, stalled))
    assert found.seconds == pytest.approx(3.2, abs=0.2)  # the answers that hung end from 3.0 s to 3.4 s


def test_a_second_loss_moves_the_recovery_behind_it() -> None:
    def twice(chance: Random, moment: float) -> float:
        return 0.4 if not (20 <= moment < 30) else 0.8

    assert judge(clients(8, 60, twice)).seconds == pytest.approx(15, abs=1)


def test_latency_alone_can_keep_a_load_from_full_recovery() -> None:
    found = judge(schedule(50, 40, lambda chance, moment: 0.1 if moment < FAULT_S else 0.2, 3))
    assert found.reason == "not reached: p95 latency 0.200 s at the end, 0.100 s before the fault"


def test_a_load_that_drains_has_not_lost_throughput() -> None:
    load = clients(8, 25, even(2.0))
    assert float(load.ended[-1]) > 26
    assert judge(load).seconds == 0


def test_requests_that_hang_are_no_drain() -> None:
    """All clients wait for a dead server; nothing starts, and nothing is good."""
    hang = clients(8, 60, lambda chance, moment: 0.4 if moment < FAULT_S else 40.0)
    bad = np.where(hang.ended > FAULT_S + 30, OUTCOMES.index(Outcome.TIMEOUT), OUTCOMES.index(Outcome.OK)).astype(float)
    assert judge(table(hang.started, hang.ended, bad)).reason == "not reached: 0 % of the throughput at the end"


def test_a_ramp_does_not_thin_the_baseline() -> None:
    load = clients(8, 40, lambda chance, moment: 0.4 if moment < FAULT_S else 0.5, ramp_s=12)
    level = judge(load, ramp_s=12).level
    assert level is not None
    assert level.throughput == pytest.approx(20, rel=0.03)
    assert judge(load, ramp_s=12).reason.startswith("not reached: ")
    assert judge(load).seconds is not None  # without the ramp the baseline would be too low to see the loss


THINKING = [(8, 0.1, 0.002, 4.0), (8, 0.1, 0.002, 2.0), (4, 0.2, 0.01, 1.0), (16, 0.5, 0.1, 4.0)]


@pytest.mark.parametrize(("count", "mean", "deviation", "think_s"), THINKING)
def test_clients_that_pause_in_step_have_the_throughput_of_their_rhythm(
    count: int, mean: float, deviation: float, think_s: float
) -> None:
    """Their answers came in bursts, some more in one stretch than in another: a loss where there was none."""
    for seed in range(10):
        found = judge(clients(count, 60, even(mean, deviation), seed, think_s=think_s), think_s=think_s)
        assert found.level is not None
        assert found.level.throughput == pytest.approx(count / (mean + think_s), rel=0.03)
        assert found.seconds == 0


@pytest.mark.parametrize("now_s", [None, 50.0])
def test_clients_that_pause_do_not_hide_a_loss(now_s: float | None) -> None:
    half = clients(8, 60, slower(1.0, 0.3), think_s=1.0)
    seen = half if now_s is None else half.where(half.ended < now_s)
    found = judge(seen, think_s=1.0, now_s=now_s)
    assert found.reason.endswith("% of the throughput at the end")
    assert int(found.reason.split()[2]) == pytest.approx(2 / (1 + 1 / 0.3) * 100, abs=4)
    steady = clients(8, 60, even(1.0), think_s=1.0)
    seen = steady if now_s is None else steady.where(steady.ended < now_s)
    assert judge(seen, think_s=1.0, now_s=now_s).seconds == 0


def test_answers_in_step_have_the_throughput_of_their_rhythm() -> None:
    level = judge(clients(200, 40, even(2.0, 0.001))).level
    assert level is not None
    assert level.throughput == pytest.approx(100, rel=0.02)


def test_without_enough_answers_there_is_no_baseline() -> None:
    found = judge(clients(1, 40, even(2.0)))
    assert found == FullRecovery(None, None, "no baseline: 7 good answers before the fault, 20 are needed")
    found = judge(clients(8, 40, even(2.0), ramp_s=14.9), ramp_s=14.9)
    assert found.reason.startswith("no baseline: ")
    assert "before the fault and after the ramp, 20 are needed" in found.reason


@pytest.mark.parametrize(("total_s", "recorded"), [(17.1, "2.2"), (10, "0.0")])
def test_too_little_after_the_fault_is_not_known(total_s: float, recorded: str) -> None:
    reason = judge(clients(8, total_s, even(0.3, 0.001))).reason
    assert reason.startswith("not known: only ")
    assert reason.endswith("s were recorded after the fault, 5.0 s are needed")
    assert abs(float(reason.split()[3]) - float(recorded)) < 0.4


def test_of_nothing_nothing_is_known() -> None:
    empty = table(np.empty(0), np.empty(0))
    assert judge(empty).reason == "no baseline: no request has ended"
    assert aftermaths(empty, [FAULT])[0].ended == 0


def test_of_a_load_that_runs_the_present_counts() -> None:
    """What hangs is in no record yet: it is missing, and so it counts as nothing."""
    load = clients(8, 15.0, even(0.4))
    done = load.where(load.ended < FAULT_S)
    found = judge(done, now_s=40.0)
    assert found.reason == "not reached: 0 % of the throughput at the end"
    assert found.present == "it has 0 % of its throughput"
    assert judge(done, now_s=16.0).present == "only 0.5 s after the fault can be judged, 5.0 s are needed"


def test_a_load_that_runs_well_again_holds_its_level() -> None:
    load = clients(8, 60, even(0.4))
    running = load.where(load.ended < 30)
    assert judge(running, now_s=30.0).seconds == 0


def test_a_longer_hold_looks_at_longer_stretches() -> None:
    load = clients(8, 30, even(0.4))
    assert judge(load, hold_s=10).seconds == 0
    assert judge(load, hold_s=20).reason.startswith("not known: only 14.")


def test_clocks_start_when_the_fault_took_effect() -> None:
    load = clients(8, 60, lambda chance, moment: 0.4 if not FAULT_S <= moment < 25 else 4.0)
    late = full_recovery(load, FaultWindow("graceful", FAULT_S, FAULT_S + 2, None))
    at_once = judge(load)
    assert at_once.seconds is not None
    assert late.seconds == pytest.approx(at_once.seconds - 2, abs=0.1)


def test_what_was_cut_off_when_the_load_was_given_up_is_no_loss() -> None:
    load = clients(8, 30, even(2.0))
    end = np.minimum(load.ended, 30.0)
    outcome = np.where(load.ended > 30, OUTCOMES.index(Outcome.CANCELLED), OUTCOMES.index(Outcome.OK)).astype(float)
    assert judge(table(load.started, end, outcome)).seconds == 0


def failing(load: Table, share: float, since: float = FAULT_S, until: float = 1e9, seed: int = 1) -> Table:
    """A load with failures beside its answers, as from clients that are refused and ask again at once."""
    chance = np.random.default_rng(seed)
    hit = load.ended[(load.ended >= since) & (load.ended < until)]
    failed = chance.choice(hit, int(len(hit) * share / (1 - share)))
    outcome = np.concatenate((load.outcome, np.full(len(failed), OUTCOMES.index(Outcome.HTTP_ERROR))))
    return table(np.concatenate((load.started, failed - 0.001)), np.concatenate((load.ended, failed)), outcome)


@pytest.mark.parametrize("share", [0.03, 0.29, 0.5])
def test_failures_beside_a_level_throughput_are_no_recovery(share: float) -> None:
    """Half of all requests got HTTP 500, but refused clients ask again at once: it was called recovered."""
    found = judge(failing(clients(8, 60, even(0.4)), share))
    assert found.reason.startswith("not reached: ")
    assert found.reason.endswith(" % of the requests fail at the end")
    assert int(found.reason.split()[2]) == pytest.approx(share * 100, abs=4)
    assert found.present.endswith(" % of its requests fail")


def test_recovery_comes_after_the_failures() -> None:
    assert judge(failing(clients(8, 60, even(0.4)), 0.3, until=25.0)).seconds == pytest.approx(10, abs=0.5)


def test_failures_as_before_the_fault_are_no_loss() -> None:
    found = [judge(failing(clients(8, 60, even(0.4), seed), 0.1, since=0.0, seed=seed)) for seed in range(30)]
    assert sum(each.seconds is None for each in found) <= 1, [each.reason for each in found]
    assert found[1].level is not None
    assert found[1].level.failures == pytest.approx(0.1, abs=0.04)
    load = failing(failing(clients(8, 60, even(0.4)), 0.1, since=0.0), 0.4)
    assert judge(load).reason.endswith(f", {found[1].level.failures * 100:.1f} % before the fault")


@pytest.mark.parametrize("stall_s", [1.0, 3.0, 4.02, 8.0])
@pytest.mark.parametrize("late_s", [0.0, 1.5])
@pytest.mark.parametrize("think_s", [0.0, 1.0])
@pytest.mark.parametrize("latency", [even(0.4), even(0.1), memoryless(0.4)], ids=["even", "short", "memoryless"])
def test_recovery_is_not_before_the_first_answer_after_an_outage(
    latency: Latency, think_s: float, late_s: float, stall_s: float
) -> None:
    """Stalled requests counted as throughput while they hung: 3.45 s for a stall of 4.02 s."""
    from_s, to_s = FAULT_S + late_s, FAULT_S + late_s + stall_s

    def stalled(chance: Random, moment: float) -> float:
        usual = float(latency(chance, moment))
        return usual if moment + usual < from_s or moment >= to_s else to_s - moment + usual

    late = 0
    for seed in range(5):
        load = clients(8, 60, stalled, seed, think_s=think_s)
        found = judge(load, think_s=think_s)
        assert found.seconds is not None, found.reason
        first = float(load.ended[load.ended >= to_s][0]) - FAULT_S
        before = load.ended[load.ended < FAULT_S]
        natural = 2 * float(np.diff(before).max()) + 12 * FAULT_S / len(before)
        assert found.seconds >= first - 1e-6 or stall_s < natural
        late += found.seconds > first + 2
    assert late <= 1


def test_recovery_is_not_while_one_of_two_workers_is_stalled() -> None:
    """Half of the clients hung for 3 s: full recovery was dated before their first answer."""
    chance = np.random.default_rng(3)
    starts, ends, first = [], [], 1e9
    for number in range(8):
        moment = 0.01 * number
        while moment < 60:
            end = moment + chance.normal(0.4, 0.02)
            if number % 2 and moment <= FAULT_S + 3 and end > FAULT_S:
                end = max(end, FAULT_S + 3 + chance.normal(0.4, 0.02))
                first = min(first, end)
            starts.append(moment)
            ends.append(end)
            moment = end
    found = judge(table(np.array(starts), np.array(ends)))
    assert found.seconds is not None
    assert found.seconds == pytest.approx(first - FAULT_S - 0.2, abs=0.25)  # answers count evenly over their time


def test_too_little_after_the_outage_is_not_known() -> None:
    def stalled(chance: Random, moment: float) -> float:
        usual = float(chance.exponential(1.0))
        return usual if moment + usual < 20 or moment >= 26 else 26 - moment + usual

    reasons = {judge(clients(8, total, stalled, seed)).reason for total in (28, 36) for seed in range(6)}
    assert any(reason.startswith("not known: only ") for reason in reasons), reasons


def after_two(first: float, second: float) -> Latency:
    """Clients' answers take 0.4 s; from 15 s on so much of the throughput is left, from 30 s on so much."""

    def latency(chance: Random, moment: float) -> float:
        left = 1.0 if moment < FAULT_S else first if moment < 30 else second
        return chance.normal(0.4, 0.02) / left

    return latency


SECOND = FaultWindow("stall on Worker-1", 30.0, 30.0, None)


def test_the_damage_of_a_fault_is_not_the_measure_of_the_next_one() -> None:
    """A load at 3/4 of its speed was "recovered" from a second fault: its baseline was the damage of the first."""
    load = clients(8, 60, after_two(0.5, 0.75))
    found = full_recovery(load, SECOND, others=[SECOND, FAULT])
    assert found.before == FAULT
    assert found.seconds is None
    assert found.reason.startswith("not reached: 7")
    assert found.whose == " (measured by the level before kill on Worker-0)"
    assert found.level is not None
    assert found.level.throughput == pytest.approx(20, rel=0.05)
    assert "before kill on Worker-0, from which the load was not seen to recover fully: " in found.describe()
    assert full_recovery(load, SECOND).seconds == 0  # what it was like


def test_a_fault_is_measured_from_before_it_when_the_load_had_recovered_from_the_first() -> None:
    """Then the baseline begins with that recovery: the outage between is not part of it."""

    def latency(chance: Random, moment: float) -> float:
        return 6.0 if FAULT_S - 0.5 <= moment < FAULT_S else chance.normal(0.4, 0.02)

    load = clients(8, 60, latency)
    found = full_recovery(load, SECOND, others=[FAULT])
    assert (found.before, found.seconds) == (None, 0)
    assert found.level is not None
    assert found.level.throughput == pytest.approx(20, rel=0.03)
    assert found.describe().startswith("the service level before the fault: 20.")
    alone = full_recovery(load, SECOND)
    assert alone.level is not None
    assert alone.level.throughput < 0.9 * found.level.throughput


def test_both_faults_are_over_when_the_level_of_before_the_first_is_back() -> None:
    load = clients(8, 60, after_two(0.5, 1.0))
    first, second = aftermaths(load, [SECOND, FAULT])
    assert (first.fault, second.fault) == (FAULT, SECOND)
    assert second.full.before == FAULT
    assert second.full.seconds is not None
    assert second.full.seconds < 1.5
    assert first.full.seconds == pytest.approx(15 + second.full.seconds, abs=1.0)


def after_loss(lost_s: float, second: float) -> Table:
    """A load that stands still for so long at 15 s, and from 30 s on has so much of its throughput."""

    def latency(chance: Random, moment: float) -> float:
        usual = float(chance.normal(0.4, 0.02))
        if moment < FAULT_S <= moment + usual:
            return FAULT_S + lost_s - moment + usual
        return usual if moment < 30 else usual / second

    return clients(8, 60, latency)


@pytest.mark.parametrize("second", [0.0125, 0.5])
def test_a_fault_that_was_recovered_from_stays_so_whatever_a_later_one_does(second: float) -> None:
    """It was judged to the end of the records, so the damage of the later one made it "not reached"."""
    first, later = aftermaths(after_loss(4.0, second), [FAULT, SECOND])
    assert first.full.seconds == pytest.approx(4.0, abs=0.5)
    assert (later.full.seconds, later.full.before) == (None, None)
    assert later.full.reason.endswith("% of the throughput at the end")
    alone = full_recovery(after_loss(4.0, second), FAULT, others=[SECOND, FAULT])
    assert alone == first.full


def test_a_fault_after_which_another_came_too_early_to_tell_is_not_known() -> None:
    soon = FaultWindow("stall on Worker-1", 18.0, 18.5, None)
    first, later = aftermaths(clients(8, 60, even(0.4)), [FAULT, soon])
    assert first.full.reason == (
        "not known: only 2.5 s were recorded after the fault and before stall on Worker-1, 5.0 s are needed"
    )
    assert (later.full.seconds, later.full.before) == (0, FAULT)
    assert first.full.until == soon


def test_a_fault_from_which_a_load_never_recovers_says_what_it_was_before_the_next_one() -> None:
    first, later = aftermaths(clients(8, 60, after_two(0.5, 0.25)), [FAULT, SECOND])
    assert first.full.reason == "not reached: 50 % of the throughput when stall on Worker-1 was injected"
    assert later.full.reason == "not reached: 25 % of the throughput at the end"
    slow = FaultWindow("stall on Worker-1", 40.0, 70.0, None)
    late, _ = aftermaths(after_loss(12.0, 1.0), [FAULT, slow])
    assert late.full.seconds == pytest.approx(12.0, abs=0.5)


def test_a_fault_after_the_end_of_a_load_says_nothing_of_the_one_before() -> None:
    after = FaultWindow("stall on Worker-1", 61.0, 61.0, None)
    load = clients(8, 60, after_two(1.0, 0.5))
    assert full_recovery(load, FAULT, others=[after]) == full_recovery(load, FAULT)


def test_of_a_load_that_runs_a_fault_is_judged_up_to_the_next_one() -> None:
    load = after_loss(4.0, 0.5)
    known = load.where(load.ended < 50)
    assert full_recovery(known, FAULT, now_s=50.0, others=[SECOND]).seconds == pytest.approx(4.0, abs=0.5)
    hung = load.where(load.ended < 30)
    assert full_recovery(hung, FAULT, now_s=50.0, others=[SECOND]).seconds == pytest.approx(4.0, abs=0.5)


def test_a_third_fault_is_measured_by_the_level_before_the_first_that_is_not_over() -> None:
    third = FaultWindow("kill on Worker-2", 40.0, 40.0, None)
    load = clients(8, 60, after_two(0.5, 0.5))
    assert [after.full.before for after in aftermaths(load, [FAULT, SECOND, third])] == [None, FAULT, FAULT]


def test_a_fault_that_came_too_early_to_tell_leaves_no_baseline_for_the_next() -> None:
    early = FaultWindow("kill on Worker-0", 0.5, 0.5, None)
    found = full_recovery(clients(8, 60, even(0.4)), SECOND, others=[early])
    assert found.level is None
    assert found.reason == (
        "no baseline: 8 good answers before kill on Worker-0, from which the load was not seen to recover fully, "
        "20 are needed"
    )


def test_a_load_that_began_after_a_fault_has_no_figures_of_it() -> None:
    """It had a recovery time, which counted from before its start."""
    before = FaultWindow("kill on Worker-0", -30.0, -30.0, None)
    load = clients(8, 60, even(0.4))
    after, later = aftermaths(load, [before, SECOND])
    assert after.began_after
    assert (after.recovery_s, after.last_error_s, after.lost) == (None, None, 0)
    assert after.full.reason == "no baseline: no request started before the fault"
    assert (later.full.before, later.full.seconds) == (None, 0), "what was before the load is no measure"
    assert not later.began_after
