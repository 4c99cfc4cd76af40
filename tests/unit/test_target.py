import random
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path

import pytest

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults import target
from DynamoFaultLibrary.faults.target import Chooser
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import shipped_graphs
from DynamoFaultLibrary.platforms.base import Deployment, Plan, Remark
from DynamoFaultLibrary.platforms.local.log_file import LocalLog
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Replica, ReplicaExit
from DynamoFaultLibrary.platforms.settings import DeploySettings
from tests.replicas import make_replica

OURS = "11111111-2222-3333-4444-555555555555"
OTHER = "99999999-2222-3333-4444-555555555555"


@dataclass
class Machine:
    """A platform of replicas that are given, with real logs and processes."""

    directory: Path
    poll_s: float = 0.005
    running: list[Replica] = field(default_factory=list)
    gone: list[EndedReplica] = field(default_factory=list)

    def add(self, index: int, log: str = "") -> Replica:
        path = self.directory / f"Worker-{index}.log"
        path.write_text(log)
        replica = make_replica("Worker", index, log=LocalLog(path))
        self.running.append(replica)
        return replica

    def frontend_log(self, *lines: str) -> Path:
        path = self.directory / "Frontend-0.log"
        path.write_text("".join(f"{line}\n" for line in lines))
        return path

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        return self.gone

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        return [replica for replica in self.running if replica.service == service]

    def logs(self, deployment: Deployment, service: str) -> list[Log]:
        return [LocalLog(self.directory / f"{service}-0.log")]

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        raise NotImplementedError


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(target, "SERVING_TIMEOUT", timedelta(seconds=0.05))


def chooser(machine: Machine, seed: int = 0) -> Chooser:
    graph = Manifest.load(shipped_graphs() / "position-agg.yaml").graph()
    deployment = Deployment("agg-1", graph, DeploySettings(), machine.directory, "http://127.0.0.1:1")
    return Chooser(machine, deployment, random.Random(seed))  # noqa: S311  # repeatable choices, not secrets


def received(at: str, request: str, ours: str = "", who: str = "frontend") -> str:
    named = f' x_request_id="{ours}"' if ours else ""
    return f"2026-01-01T00:00:{at}Z DEBUG {who}: request received request_id={request} method=generate{named}"


def test_a_replica_is_chosen_by_its_index(machine: Machine) -> None:
    replicas = [machine.add(index) for index in (0, 1, 3)]
    assert chooser(machine).by_index("Worker", 3) is replicas[2]
    assert chooser(machine).by_index("Worker", "1") is replicas[1]


def test_an_index_that_does_not_run_is_an_error_with_those_that_do(machine: Machine) -> None:
    machine.add(0)
    machine.add(2)
    with pytest.raises(FaultError) as raised:
        chooser(machine).by_index("Worker", 1)
    assert str(raised.value) == "service 'Worker' has no running replica 1; running are [0, 2], or 'random'"


@pytest.mark.parametrize("wanted", [0, "random"])
def test_a_service_without_replicas_is_an_error(machine: Machine, wanted: int | str) -> None:
    with pytest.raises(FaultError) as raised:
        chooser(machine).by_index("Worker", wanted)
    assert str(raised.value) == "service 'Worker' of deployment 'agg-1' has no running replica"


def test_a_service_whose_replicas_have_ended_says_how(machine: Machine) -> None:
    """It said that none runs, and not why."""
    for index in (0, 1):
        killed = ReplicaExit("killed by SIGKILL", 1.0, 9)
        machine.gone.append(EndedReplica(make_replica("Worker", index), killed))
    machine.gone.append(EndedReplica(make_replica("Other"), killed))
    chosen = replace(chooser(machine), why_gone=lambda name: "a fault has ended it" if name == "Worker-1" else "")
    with pytest.raises(FaultError, match=r"replica; Worker-0 was killed by SIGKILL; a fault has ended it$"):
        chosen.by_index("Worker", "random")


def test_a_service_that_this_machine_cannot_start_is_told_with_the_reason(machine: Machine) -> None:
    chosen = chooser(machine)
    chosen.deployment.plan = Plan(missing=[Remark("Planner", "the service", "it needs Kubernetes")])
    with pytest.raises(FaultError, match=r"no running replica; not on this machine: the service: it needs Kubernetes$"):
        chosen.by_index("Planner", 0)


def test_a_random_choice_is_repeated_by_its_seed(machine: Machine) -> None:
    replicas = [machine.add(index) for index in range(10)]

    def choices(seed: int) -> list[int]:
        same = chooser(machine, seed)
        return [same.by_index("Worker", "random").index for _ in range(20)]

    assert choices(7) == choices(7)
    assert choices(7) != choices(8)
    assert set(choices(7)) <= {replica.index for replica in replicas}
    assert len(set(choices(7))) > 1


def test_the_serving_replica_is_the_one_that_received_the_request(machine: Machine) -> None:
    machine.frontend_log(received("01", OTHER, "their-request"), received("02", OURS, "our-request"))
    machine.add(0, received("03", OTHER, who="worker") + "\n")
    worker = machine.add(1, "starting\n" + received("04", OURS, who="worker") + "\n")
    assert chooser(machine).serving("Worker", "our-request") is worker


def test_after_a_migration_the_last_receiver_serves(machine: Machine) -> None:
    machine.frontend_log(received("01", OURS, "our-request"))
    last = machine.add(0, received("05", OURS) + "\n")
    machine.add(1, received("02", OURS) + "\n")
    assert chooser(machine).serving("Worker", "our-request") is last


def test_a_replica_that_received_the_request_twice_counts_by_the_last_time(machine: Machine) -> None:
    machine.frontend_log(received("01", OURS, "our-request"))
    last = machine.add(0, received("02", OURS) + "\n" + received("09", OURS) + "\n")
    machine.add(1, received("05", OURS) + "\n")
    assert chooser(machine).serving("Worker", "our-request") is last


@pytest.mark.usefixtures("impatient")
def test_a_longer_id_that_begins_alike_is_another_request(machine: Machine) -> None:
    machine.frontend_log(received("01", OURS, "request-10"))
    machine.add(0, received("02", OURS) + "\n")
    with pytest.raises(FaultError, match="'request-1'"):
        chooser(machine).serving("Worker", "request-1")


@pytest.mark.usefixtures("impatient")
def test_an_id_is_no_pattern(machine: Machine) -> None:
    machine.frontend_log(received("01", OURS, "abc"))
    machine.add(0, received("02", OURS) + "\n")
    with pytest.raises(FaultError, match="has received request"):
        chooser(machine).serving("Worker", "a.c")


@pytest.mark.usefixtures("impatient")
@pytest.mark.parametrize("at_frontend", [True, False])
def test_a_request_that_nobody_received_is_an_error_with_the_log(machine: Machine, at_frontend: bool) -> None:
    log = machine.frontend_log(*([received("01", OURS, "our-request")] if at_frontend else []))
    machine.add(0)
    with pytest.raises(FaultError) as raised:
        chooser(machine).serving("Worker", "our-request")
    message = str(raised.value)
    assert message.startswith("no running replica of 'Worker' has received request 'our-request' within 0.05 s; see ")
    assert str(log) in message


def test_a_request_that_is_not_there_yet_is_waited_for(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.frontend_log(received("01", OURS, "our-request"))
    worker = machine.add(0)
    looks: list[int] = []
    replicas = machine.replicas

    def at_the_third_look(deployment: Deployment, service: str) -> list[Replica]:
        looks.append(1)
        if len(looks) == 3:
            Path(str(worker.log)).write_text(received("02", OURS) + "\n")
        return replicas(deployment, service)

    monkeypatch.setattr(machine, "replicas", at_the_third_look)
    assert chooser(machine).serving("Worker", "our-request") is worker
    assert len(looks) == 3
