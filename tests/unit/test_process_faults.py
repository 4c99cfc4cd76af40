import signal
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, cast

import pytest

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.local.ends import EndOfProcesses, EndOfReplica, Pause, matching, plan_pause
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Replica, ReplicaExit
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.processes import ProcessId, read_command
from tests.replicas import make_replica

GONE = ProcessId(2**22 - 1, 1)
OTHER = ProcessId(2**22 - 2, 1)
SOON = timedelta(milliseconds=50)


@dataclass
class Machine:
    """A platform on which signals reach whom we say."""

    reached: list[ProcessId]
    left: list[ProcessId] = field(default_factory=list)
    exit: ReplicaExit | None = None
    gone: list[EndedReplica] = field(default_factory=list)

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        return self.gone

    def processes(self, replica: Replica) -> list[ProcessId]:
        return self.left

    def send(self, replica: Replica, processes: Sequence[ProcessId], number: int) -> list[ProcessId]:
        return [process for process in processes if process in self.reached]

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        return self.exit


def replica_of(leader: ProcessId) -> Replica:
    return make_replica("Worker", 0, leader)


def fault(kind: type[Any], machine: Machine, leader: ProcessId = GONE, **options: Any) -> Any:
    deployment = cast("Deployment", type("D", (), {"name": "d"})())
    arguments: dict[str, Any] = {"number": signal.SIGKILL, "processes": [leader], **options}
    return kind(machine, deployment, replica_of(leader), **arguments)


def test_a_signal_that_reached_nobody_is_no_fault() -> None:
    killed = fault(EndOfReplica, Machine(reached=[]), timeout=SOON)
    killed.apply()
    with pytest.raises(EvidenceMissing, match=r"SIGKILL did not reach pid 4194303 .* gone before it was sent"):
        killed.prove()


def test_a_stall_is_over_when_its_process_ended(sleeper: Any) -> None:
    machine = Machine(reached=[sleeper.identity])
    stalled = fault(Pause, machine, sleeper.identity, number=signal.SIGSTOP)
    assert stalled.moot_s is None
    machine.gone = [EndedReplica(replica_of(sleeper.identity), ReplicaExit("killed by SIGKILL", 12.5, signal.SIGKILL))]
    assert stalled.moot_s == 12.5


def test_a_death_before_the_signal_is_no_fault() -> None:
    machine = Machine(reached=[GONE], exit=ReplicaExit("killed by SIGKILL", monotonic() - 5, signal.SIGKILL))
    killed = fault(EndOfReplica, machine, timeout=SOON)
    killed.apply()
    with pytest.raises(EvidenceMissing, match="had ended before SIGKILL was sent: killed by SIGKILL"):
        killed.prove()


def test_a_death_of_another_cause_is_no_kill() -> None:
    machine = Machine(reached=[GONE], exit=ReplicaExit("exit status 0", monotonic() + 1, None))
    killed = fault(EndOfReplica, machine, timeout=SOON)
    killed.apply()
    with pytest.raises(EvidenceMissing, match="ended otherwise than by SIGKILL: exit status 0"):
        killed.prove()


def test_a_survivor_of_the_group_is_named() -> None:
    survivor = ProcessId.current()
    ended = ReplicaExit("killed by SIGKILL", monotonic() + 1, signal.SIGKILL)
    killed = fault(EndOfReplica, Machine(reached=[GONE], left=[survivor], exit=ended), timeout=SOON)
    killed.apply()
    with pytest.raises(EvidenceMissing, match=rf"has processes left after SIGKILL: pid {survivor.pid}"):
        killed.prove()


def test_each_process_that_was_named_must_be_reached() -> None:
    other = ProcessId(2**22 - 2, 1)
    terminated = fault(EndOfProcesses, Machine(reached=[GONE]), processes=[GONE, other], timeout=SOON)
    terminated.apply()
    with pytest.raises(EvidenceMissing, match=f"did not reach pid {other.pid}"):
        terminated.prove()


def test_a_replica_without_a_process_cannot_be_hit() -> None:
    with pytest.raises(FaultError, match="Worker-0 has no process to hit"):
        fault(EndOfReplica, Machine(reached=[]), processes=[])


def test_a_running_process_is_not_stalled() -> None:
    me = ProcessId.current()
    stalled = fault(Pause, Machine(reached=[me]), me, number=signal.SIGSTOP)
    stalled.apply()
    with pytest.raises(EvidenceMissing, match=rf"not all processes of Worker-0 are stopped \(T\): pid {me.pid}"):
        stalled.prove()


def test_the_recipe_names_the_very_process_that_was_hit() -> None:
    assert fault(EndOfReplica, Machine(reached=[])).recipe == {
        "platform": "local",
        "action": "respawn",
        "name": "d/Worker-0",
        "victim": {"pid": GONE.pid, "started": 1},
    }


def test_a_process_that_is_stopped_already_is_not_stalled_again(sleeper: Any, eventually: Any) -> None:
    """The shorter of two stalls let the process go on while the other was listed as active (row 9)."""
    sleeper.identity.send(signal.SIGSTOP)
    eventually(lambda: sleeper.identity.state == "T")
    with pytest.raises(FaultError, match=rf"pid {sleeper.pid} \(sleep\) of Worker-0 is stopped already \(state T\)"):
        fault(Pause, Machine(reached=[]), sleeper.identity, number=signal.SIGSTOP)


def test_a_stall_ends_with_its_processes(sleeper: Any) -> None:
    """A stalled process that was killed stayed an active fault (kin of row 9)."""
    stalled = fault(Pause, Machine(reached=[]), sleeper.identity, number=signal.SIGSTOP)
    assert stalled.moot == ""
    sleeper.process.kill()
    sleeper.process.wait(5)
    assert stalled.moot == "its processes have ended"


def test_a_stall_takes_effect_when_its_processes_are_stopped(sleeper: Any) -> None:
    stalled = fault(Pause, Machine(reached=[sleeper.identity]), sleeper.identity, number=signal.SIGSTOP)
    stalled.apply()
    sleeper.identity.send(signal.SIGSTOP)
    sent = monotonic()
    stalled.prove()
    assert sent - 1 < stalled.effective_s <= monotonic()


def test_a_kill_takes_effect_when_its_replica_ends_not_when_that_is_proven() -> None:
    """A proof that waits, such as for an election, hid the outage (row 6)."""
    machine = Machine(reached=[GONE], exit=ReplicaExit("killed by SIGKILL", 0.0, signal.SIGKILL))
    killed = fault(EndOfReplica, machine, timeout=SOON)
    killed.apply()
    ended = monotonic()
    machine.exit = ReplicaExit("killed by SIGKILL", ended, signal.SIGKILL)
    killed.prove()
    assert killed.effective_s == ended


def test_whoever_is_left_of_a_group_is_killed_too() -> None:
    """Processes that were forked while the group was being killed."""
    sent: list[int] = []

    class Forking(Machine):
        def send(self, replica: Replica, processes: Sequence[ProcessId], number: int) -> list[ProcessId]:
            sent.extend(process.pid for process in processes)
            self.left = [] if OTHER in processes else [OTHER]
            return list(processes)

    ended = ReplicaExit("killed by SIGKILL", monotonic() + 1, signal.SIGKILL)
    killed = fault(EndOfReplica, Forking(reached=[GONE], exit=ended), timeout=SOON)
    killed.apply()
    assert killed.prove()[-1].startswith("no process of Worker-0 is left")
    assert sent == [GONE.pid, OTHER.pid]


def test_a_replica_that_is_started_again_during_the_proof_is_left_alone() -> None:
    """A fault that expired while it was proven: its replica's next life has the same mark, and was killed for good."""
    sent: list[int] = []

    class Respawned(Machine):
        def send(self, replica: Replica, processes: Sequence[ProcessId], number: int) -> list[ProcessId]:
            sent.extend(process.pid for process in processes)
            return list(processes)

        def processes(self, replica: Replica) -> list[ProcessId]:
            self.exit = ReplicaExit("replaced by the supervisor", monotonic(), None)
            return [OTHER]

    ended = ReplicaExit("killed by SIGKILL", monotonic() + 1, signal.SIGKILL)
    machine = Respawned(reached=[GONE])
    killed = fault(EndOfReplica, machine, timeout=SOON)
    killed.apply()
    machine.exit = ended
    with pytest.raises(EvidenceMissing, match="Worker-0 was started again before all of its processes were gone"):
        killed.prove()
    assert sent == [GONE.pid]


def test_a_leader_that_is_dead_but_not_reaped_has_no_command() -> None:
    """A replica whose leader had died just before: its pid was a raw `KeyError`."""
    killed = fault(EndOfReplica, Machine(reached=[OTHER]), processes=[OTHER], timeout=SOON)
    killed.apply()
    with pytest.raises(EvidenceMissing, match=rf"SIGKILL did not reach pid {GONE.pid} \(\?\) of Worker-0"):
        killed.prove()


def test_a_replica_has_the_time_to_serve_again_that_its_deployment_had() -> None:
    """Engines that take minutes to start were given 60 s (row 25)."""
    machine = Machine(reached=[GONE])
    waited: list[timedelta] = []
    machine.__dict__["wait_ready"] = lambda deployment, timeout: waited.append(timeout)
    killed = fault(EndOfReplica, machine)
    killed.deployment.settings = DeploySettings(timeout=timedelta(minutes=15))
    assert killed.verify() == "all replicas serve"
    assert waited == [timedelta(minutes=15)]


def test_processes_match_by_a_part_of_their_command_line(
    start: Callable[..., Any], eventually: Callable[[Callable[[], bool]], None]
) -> None:
    children = [start("/bin/sleep", "60"), start("/bin/sleep", "61")]
    machine = cast("Any", Machine(reached=[], left=[child.identity for child in children]))
    eventually(lambda: [read_command(child.pid) for child in children] == ["/bin/sleep 60", "/bin/sleep 61"])
    replica = replica_of(GONE)
    assert matching(machine, replica, "sleep 61") == [children[1].identity]
    assert matching(machine, replica, "sleep") == machine.left
    assert matching(machine, replica, None) == machine.left
    with pytest.raises(FaultError) as raised:
        matching(machine, replica, "EngineCore")
    assert str(raised.value) == (
        "no process of Worker-0 matches 'EngineCore'; running are ['/bin/sleep 60', '/bin/sleep 61']"
    )


def test_a_replica_without_processes_is_an_error() -> None:
    with pytest.raises(FaultError, match=r"no process of Worker-0 matches 'x'; running are \[\]"):
        matching(cast("Any", Machine(reached=[])), replica_of(GONE), "x")
    with pytest.raises(FaultError, match="Worker-0 has no process to hit; see its log"):  # it "matched 'None'"
        plan_pause(cast("Any", Machine(reached=[])), cast("Any", None), replica_of(GONE), None)
