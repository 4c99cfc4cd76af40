"""Several graphs at once: which one a keyword means, and what is kept apart."""

import itertools
import json
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from datetime import timedelta
from html import unescape
from pathlib import Path
from typing import Any

import pytest
from robot import result, running

sys.path.insert(0, str(Path(__file__).parent / "testdata"))

from FakeDynamo import GRAPH, FakeDynamo, FakeFault

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import (
    DeploymentError,
    EvidenceMissing,
    FaultError,
    FaultLibraryError,
    LedgerError,
    LoadError,
    RecoveryError,
    Unanswered,
)
from DynamoFaultLibrary.faults.network import PartitionType
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.keywords.observation import DEPLOYMENT, begin_observation, observe, observe_all
from DynamoFaultLibrary.keywords.story import save_log_slices, tell_test
from DynamoFaultLibrary.ledger import Ledger, State
from DynamoFaultLibrary.load.records import read_records
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import Partition, PartitionMode
from DynamoFaultLibrary.platforms.local.log_file import LocalLog
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.replicas import Replica, ReplicaExit
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.processes import ProcessId
from DynamoFaultLibrary.reports.timeline import EventKind

SIDES = {"partition_type": PartitionType.CUSTOM}
MINUTE = timedelta(minutes=1)


@pytest.fixture
def dynamo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDynamo]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    made = FakeDynamo()
    yield made
    made.close()


@pytest.fixture
def two(dynamo: FakeDynamo) -> FakeDynamo:
    for alias in ("blue", "green"):
        add(dynamo, alias)
    return dynamo


def add(dynamo: FakeDynamo, alias: str | None) -> Deployment:
    url = f"http://127.0.0.1:{dynamo.server.server_address[1]}"
    graph = Manifest.load(find_graph(GRAPH)).graph()
    name = f"fake-{len(dynamo.context.deployments) + 1}"
    made = Deployment(name, graph, DeploySettings(), dynamo.place / name, url, "m", ["etcd", "nats"])
    dynamo.context.add_deployment(made, alias)
    observe(dynamo.context, made, DEPLOYMENT)
    return made


def meant(dynamo: FakeDynamo, **arguments: Any) -> str:
    """Name of the deployment that a keyword sees."""
    seen = []

    def look(*_: Any, **__: Any) -> Any:
        seen.append(dynamo.context.deployment.name)
        raise FaultError("seen")

    dynamo.context.platform.__dict__["processes"] = look
    with pytest.raises(FaultError, match="seen"):
        dynamo.run_keyword("kill_worker", ["VllmWorker", 0], arguments)
    return seen[0]


def test_the_last_graph_is_the_default(two: FakeDynamo) -> None:
    assert meant(two) == "fake-2"
    assert meant(two, graph="blue") == "fake-1"
    assert meant(two) == "fake-2"


def test_an_unknown_alias_is_refused_with_those_that_there_are(two: FakeDynamo) -> None:
    with pytest.raises(DeploymentError, match=r"no graph 'red' is deployed; there are \['blue', 'green'\]"):
        two.run_keyword("kill_worker", ["VllmWorker"], {"graph": "red"})


def test_a_graph_without_alias_has_its_own_name_numbered_when_it_is_taken(dynamo: FakeDynamo) -> None:
    for _ in range(3):
        add(dynamo, None)
    assert list(dynamo.context.graphs) == ["mocker-vllm-agg", "mocker-vllm-agg-2", "mocker-vllm-agg-3"]


def test_an_alias_is_used_once(two: FakeDynamo) -> None:
    with pytest.raises(DeploymentError, match="alias 'blue' is taken by a graph that is deployed"):
        two.context.new_alias("blue", "any")
    two.context.remove_deployment(two.context.graphs["blue"])
    assert two.context.new_alias("blue", "any") == "blue"


def test_a_request_knows_its_graph(two: FakeDynamo, monkeypatch: pytest.MonkeyPatch) -> None:
    request = two.run_keyword("start_request", [], {"max_tokens": 2, "graph": "blue"})
    two.run_keyword("wait_for_request", [request])
    monkeypatch.setattr(type(request), "has_ended_before", lambda *_: False)  # an ended one is refused before
    two.context.platform.__dict__["logs"] = lambda deployment, service: pytest.fail(deployment.name)
    with pytest.raises(DeploymentError, match="went to blue, not to graph 'green'"):
        two.run_keyword("kill_worker", ["VllmWorker"], {"serving": request, "graph": "green"})
    with pytest.raises(pytest.fail.Exception, match="fake-1"):
        two.run_keyword("kill_worker", ["VllmWorker"], {"serving": request})


def test_a_load_knows_its_graph_and_sees_the_faults_that_hit_it(two: FakeDynamo) -> None:
    two.run_keyword("start_load", ["l"], {"request_count": 8, "output_tokens": 2, "graph": "blue"})
    two.run_keyword("wait_for_load_completion", ["l"])
    assert (two.place / "fake-1" / "load" / "l" / "requests.jsonl").exists()
    two.context.injector.inject(FakeFault("fake-2"))
    with pytest.raises(FaultError, match="no fault has been injected into graph 'blue' in this test"):
        two.run_keyword("get_request_count", [], {"load": "l", "part": "before"})
    mine = two.context.injector.inject(FakeFault("fake-1"))
    two.context.injector.inject(FakeFault("fake-2"))
    assert two.run_keyword("get_request_count", [], {"load": "l", "part": "before"}) == 8
    with two.context.chosen(two.context.graphs["blue"]):
        assert two.context.fault() is mine


def test_a_fault_without_a_part_that_uses_it_is_refused(two: FakeDynamo) -> None:
    """Seen in use, row 13: it was ignored."""
    two.run_keyword("start_load", [], {"request_count": 4, "output_tokens": 2})
    two.run_keyword("wait_for_load_completion", [])
    with pytest.raises(FaultError, match="no fault 'nonsense-id' in this test or its suite; there are none"):
        two.run_keyword("get_success_rate", [], {"fault": "nonsense-id"})
    known = two.context.injector.inject(FakeFault("fake-2")).entry.id
    with pytest.raises(LoadError, match=r"fault=.* says nothing without part=before, part=during or part=after"):
        two.run_keyword("get_success_rate", [], {"fault": known})


@pytest.mark.parametrize("sides", [("VllmWorker", "Frontend"), ("Frontend", "VllmWorker")])
def test_the_side_that_serves_is_the_one_that_is_cut_off(
    sides: tuple[str, str], two: FakeDynamo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Seen in use, row 11: with the worker as source, every worker was cut off."""
    cuts: list[Partition] = []

    def plan(deployment: Deployment, partition: Partition) -> None:
        cuts.append(partition)
        raise FaultError("planned")

    two.context.platform.__dict__["plan_cut"] = plan
    request = two.run_keyword("start_request", [], {"max_tokens": 2})
    serving = two.context.platform.replicas(two.context.deployment, "VllmWorker")[1]
    monkeypatch.setattr("DynamoFaultLibrary.faults.target.Chooser.serving", lambda *_: serving)
    with pytest.raises(FaultError, match="planned"):
        two.run_keyword("partition_network", [], {**SIDES, "source": sides[0], "target": sides[1], "serving": request})
    ends = {replica.name for replica in [*cuts[0].sources, *cuts[0].targets]}
    assert ends == {"Frontend-0", "VllmWorker-1"}


def test_a_request_is_served_by_a_worker(two: FakeDynamo) -> None:
    request = two.run_keyword("start_request", [], {"max_tokens": 2})
    sides = {**SIDES, "source": "Frontend", "target": "nats", "serving": request}
    with pytest.raises(FaultError, match=r"serving needs one side that serves .* none of \['Frontend', 'nats'\]"):
        two.run_keyword("partition_network", [], sides)


@pytest.mark.parametrize(
    ("kind", "sides", "message"),
    [
        ("FRONTEND_WORKER", {"source": "VllmWorker"}, r"source .* must be the frontend \(Frontend\), not 'VllmWorker'"),
        ("FRONTEND_WORKER", {"target": "nats"}, r"target .* must be a worker service \(VllmWorker\), not 'nats'"),
        ("WORKER_NATS", {"target": "VllmWorker"}, r"target .* must be the NATS server \(nats\), not 'VllmWorker'"),
        ("WORKER_WORKER", {"source": "Frontend"}, r"source .* must be a worker service \(VllmWorker\), not 'Frontend'"),
        (
            "WORKER_WORKER",
            {"source": "VllmWorker", "target": "VllmWorker"},
            "needs two sides, but source and target are both 'VllmWorker'",
        ),
    ],
)
def test_the_sides_of_a_partition_fit_its_type(kind: str, sides: dict[str, str], message: str, two: FakeDynamo) -> None:
    """``FRONTEND_WORKER`` between worker and worker cut the workers off from each other, and passed."""
    with pytest.raises(FaultError, match=message):
        two.run_keyword("partition_network", [PartitionType[kind]], sides)


@pytest.mark.parametrize(
    ("name", "given", "options", "message"),
    [
        ("kill_worker", ["VllmWorker"], {"respawn": True, "ttl": MINUTE}, "ttl has no effect with respawn=True"),
        ("kill_replica", ["Frontend"], {"respawn": True, "ttl": MINUTE}, "ttl has no effect with respawn=True"),
        (
            "terminate_process",
            ["VllmWorker", "python"],
            {"respawn": True, "ttl": MINUTE},
            "ttl has no effect with respawn=True",
        ),
        (
            "partition_network",
            [PartitionType.FRONTEND_WORKER],
            {"mode": PartitionMode.RESET, "duration": MINUTE},
            "duration has no effect with mode=reset",
        ),
        ("toggle_cuda_faults", [False], {"replica": 0, "xid": 48}, "replica and xid would have no effect"),
    ],
)
def test_an_argument_without_effect_is_refused(
    name: str, given: list[Any], options: dict[str, Any], message: str, two: FakeDynamo
) -> None:
    with pytest.raises(FaultError, match=message):
        two.run_keyword(name, given, options)


def test_cuda_faults_that_are_toggled_on_have_an_id(two: FakeDynamo) -> None:
    """It returned nothing, so nobody could name the fault."""
    two.context.platform.__dict__["plan_cuda"] = lambda *_: FakeFault("fake-2")
    found = two.run_keyword("toggle_cuda_faults", [True, "VllmWorker"])
    assert found == two.context.injector.faults[-1].entry.id


def test_names_of_phases_are_compared_without_case(two: FakeDynamo) -> None:
    """A phase ``During`` stood beside the part ``during``, and each showed other figures."""
    for name in ("During", "AFTER", "Before", "All"):
        with pytest.raises(LoadError, match=f"'{name}' is the name of a part already"):
            two.context.begin_phase(name)
    two.context.begin_phase("Calm")
    with pytest.raises(LoadError, match="phase 'calm' has already been started"):
        two.context.begin_phase("calm")


def test_a_load_may_have_any_letters(two: FakeDynamo) -> None:
    """Seen in use, row 32: its requests failed before they were sent."""
    name = "lásť 図"
    two.run_keyword("start_load", [name], {"request_count": 4, "output_tokens": 2})
    two.run_keyword("wait_for_load_completion", [name])
    assert two.run_keyword("get_request_count", [], {"load": name}) == 4
    assert (two.place / "fake-2" / "load" / name / "load.json").exists()


@pytest.mark.parametrize("name", ["../../escape", "a/b", "", "..", ".hidden", "a\nb", "n" * 121])
def test_a_load_is_called_what_a_folder_can_be(name: str, two: FakeDynamo) -> None:
    """Seen in use, row 31: they were written elsewhere, or accepted."""
    with pytest.raises(FaultLibraryError, match=r"load .*(is not a name: expected|must not be empty)"):
        two.run_keyword("start_load", [name], {"request_count": 1})  # refused before anything starts
    assert not two.context.loads


def test_a_load_that_ended_with_its_test_says_so(two: FakeDynamo) -> None:
    two.context.begin_test("S.First")
    two.run_keyword("start_load", [], {"concurrency": 1})
    two.context.end_test()
    two.context.begin_test("S.Second")
    with pytest.raises(
        LoadError, match=r"load 'default' has ended with test 'S\.First', which had started it; there are none"
    ):
        two.run_keyword("get_request_count", [])


def test_a_load_that_has_ended_says_so_when_more_is_awaited(two: FakeDynamo) -> None:
    """Seen in use: ``the sending process 18805 is gone (closed)``."""
    two.run_keyword("start_load", [], {"request_count": 4, "output_tokens": 2})
    two.run_keyword("wait_for_load_completion", [])
    with pytest.raises(LoadError, match=r"load 'default' has ended \(completed\), so no more requests come"):
        two.run_keyword("wait_for_load_requests", [1])


def test_a_request_that_failed_fails_its_keyword_unless_it_may(two: FakeDynamo) -> None:
    """Seen in use, row 18: it passed."""
    url = two.context.deployment.url
    two.context.deployment.url = "http://127.0.0.1:9"
    with pytest.raises(AssertionError, match=r"request 'request-\d+' .* should have succeeded, but was connection"):
        two.run_keyword("send_completion", [])
    assert two.run_keyword("send_chat_completion", [], {"allow_failure": True}).outcome == "connection"
    two.context.deployment.url = url
    assert two.run_keyword("send_completion", []).is_ok


def test_all_graphs_are_deleted_though_one_cannot_be(two: FakeDynamo) -> None:
    deleted = []

    def delete(deployment: Deployment) -> None:
        if deployment.name == "fake-2":
            raise DeploymentError("it does not go")
        deleted.append(deployment.name)

    two.context.platform.__dict__["delete"] = delete
    with pytest.raises(DeploymentError, match=r"^graph 'green' is left: it does not go$"):
        two.run_keyword("delete_all_graphs", [])
    assert deleted == ["fake-1"]
    assert list(two.context.graphs) == ["green"]


def test_a_graph_is_deleted_though_its_last_metrics_cannot_be_written(two: FakeDynamo) -> None:
    """A full disk, or results that were moved away: it stayed up, with a raw error of Python."""
    deleted: list[Deployment] = []
    two.context.platform.__dict__["delete"] = deleted.append
    assert not (two.place / "fake-2").exists()
    two.run_keyword("delete_graph", [])
    assert [each.name for each in deleted] == ["fake-2"]
    assert list(two.context.graphs) == ["blue"]


def test_the_last_metrics_of_those_that_answer_are_kept(two: FakeDynamo) -> None:
    """One that hangs was waited for 10 s, and its neighbours were not asked."""
    limits: list[float] = []

    def metrics(deployment: Deployment, *services: str, timeout_s: float = 10.0) -> tuple[dict[str, str], list[str]]:
        limits.append(timeout_s)
        return {f"{service}-1": "up 1\n" for service in services}, ["VllmWorker-0 hangs"]

    two.context.platform.__dict__.update(metrics=metrics, delete=lambda deployment: None)
    for service in ("Frontend", "VllmWorker"):
        (two.place / "fake-2" / service).mkdir(parents=True)
    two.run_keyword("delete_graph", [])
    assert limits == [1.0]
    kept = {path.name: path.read_text() for path in (two.place / "fake-2").rglob("*.metrics")}
    assert kept == {"Frontend-1.metrics": "up 1\n", "VllmWorker-1.metrics": "up 1\n"}


def test_a_frontend_that_hangs_does_not_hold_up_a_test(two: FakeDynamo) -> None:
    limits: list[float] = []

    def metrics(deployment: Deployment, *services: str, timeout_s: float = 10.0) -> tuple[dict[str, str], list[str]]:
        limits.append(timeout_s)
        return {}, ["it hangs"]

    two.context.platform.__dict__["metrics"] = metrics
    observe_all(two.context)
    assert limits == [1.0, 1.0]


def test_a_graph_that_was_deleted_is_gone_though_the_ledger_cannot_be_told(
    two: FakeDynamo, monkeypatch: pytest.MonkeyPatch
) -> None:
    two.context.platform.__dict__["delete"] = lambda deployment: None
    two.context.injector.inject(FakeFault("fake-2"))

    def full(*_: Any, **__: Any) -> None:
        raise LedgerError("the disk is full")

    with monkeypatch.context() as patch:
        patch.setattr(two.context.ledger, "mark", full)
        with pytest.raises(DeploymentError, match=r"^graph 'green' is deleted: the disk is full$"):
            two.run_keyword("delete_all_graphs", [])
    assert not two.context.graphs
    assert not two.context.injector.active


def test_a_full_disk_does_not_keep_a_test_from_ending(
    two: FakeDynamo, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The next test began with the requests and loads of the one before."""
    two.context.begin_test("S.T")
    two.context.log_starts = {"blue": dict.fromkeys(two.context.log_starts["blue"], 0)}
    two.context.injector.inject(FakeFault("fake-1"), scope="S.T")
    two.run_keyword("start_request", [], {"max_tokens": 2})

    def full(path: Path, data: bytes) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "write_bytes", full)
    two.end_test(running.TestCase("T"), result.TestCase("T", parent=result.TestSuite("S")))
    assert two.context.test == ""
    assert two.context.requests == []
    assert "faults.json' cannot be written: No space left on device" in caplog.text
    assert "the logs of this test cannot be copied to" in caplog.text


def test_a_load_sees_the_faults_on_its_graph_also_when_that_is_deleted(two: FakeDynamo) -> None:
    """Its parts were cut at a fault on the other graph."""
    two.run_keyword("start_load", ["l"], {"request_count": 8, "output_tokens": 2, "graph": "blue"})
    two.run_keyword("wait_for_load_completion", ["l"])
    mine = two.context.injector.inject(FakeFault("fake-1"))
    two.context.injector.inject(FakeFault("fake-2"))
    two.context.remove_deployment(two.context.graphs["blue"])
    assert two.context.fault_window("l").injected_s == mine.injected_s


def test_the_story_of_a_load_has_the_parts_of_the_faults_on_its_graph(two: FakeDynamo) -> None:
    """It was cut at faults on other graphs, unlike in getters."""
    two.context.begin_test("S.T")
    two.run_keyword("start_load", ["l"], {"concurrency": 1, "output_tokens": 2, "graph": "blue"})
    two.run_keyword("wait_for_load_requests", [5, "l"])
    two.context.injector.inject(FakeFault("fake-2"), scope="S.T")
    two.run_keyword("wait_for_load_requests", [5, "l"])
    two.run_keyword("stop_load", ["l"])
    assert "during" not in tell_test(two.context, "S.T", 0.0)
    two.context.injector.inject(FakeFault("fake-1"), scope="S.T").injected_s = two.context.loads["l"].table().started[5]
    assert "during" in tell_test(two.context, "S.T", 0.0)


def test_the_story_of_a_load_knows_the_faults_that_getters_know(two: FakeDynamo) -> None:
    """A fault of the suite's setup was in the figures of getters, and not in log.html."""
    two.run_keyword("start_load", ["l"], {"concurrency": 1, "output_tokens": 2, "graph": "blue"})
    two.run_keyword("wait_for_load_requests", [50, "l"])
    two.context.injector.inject(FakeFault("fake-1"), scope="S.Other")
    two.run_keyword("wait_for_load_requests", [5, "l"])
    two.context.begin_test("S.T")
    began = monotonic()
    two.run_keyword("wait_for_load_requests", [5, "l"])
    two.run_keyword("start_phase", ["p"])
    assert "during" not in tell_test(two.context, "S.T", began)
    set_up = two.context.injector.inject(FakeFault("fake-1"))
    set_up.active_s = set_up.injected_s = began - 1e-3  # before this test
    two.run_keyword("wait_for_load_requests", [5, "l"])
    two.run_keyword("stop_load", ["l"])
    story = tell_test(two.context, "S.T", began)
    assert "during" in story
    assert story.count("Recovery time") == 1
    assert str(set_up) in story
    during = two.run_keyword("get_request_count", [], {"load": "l", "part": "during"})
    assert f">{during}</td>" in story


def test_a_fault_on_one_graph_does_not_hide_the_beginning_of_another(two: FakeDynamo) -> None:
    """`Get Migrations` failed on a graph that no fault had hit, since its frontend was not asked."""
    two.context.injector.inject(FakeFault("fake-1"))
    observe_all(two.context)
    assert two.context.marks["fake-1"].metrics is None
    assert two.context.marks["fake-2"].metrics is not None


@pytest.mark.parametrize("name", ["../escape", "a/b", "n" * 121])
def test_a_graph_without_alias_has_a_name_that_a_folder_can_have(name: str, dynamo: FakeDynamo) -> None:
    """It was refused when the graph was up already, and nobody could delete it then (kin of row 31)."""
    with pytest.raises(FaultLibraryError, match=r"metadata\.name '.*' is not a name: expected"):
        dynamo.context.new_alias(None, name)


def test_a_replica_that_was_replaced_before_it_ended_did_not_exit_by_itself(two: FakeDynamo) -> None:
    """A worker that a fault killed and started again passed as soon as its successor had ended."""
    two.context.platform.__dict__["wait_exit"] = lambda *_: ReplicaExit("replaced by the supervisor", 1.0, None)
    two.context.platform.__dict__["replicas"] = lambda *_: []
    with pytest.raises(
        AssertionError, match="VllmWorker-0 did not exit by itself: it was started again, and has ended"
    ):
        two.run_keyword("service_should_exit_by_itself", ["VllmWorker", 0])


@pytest.mark.parametrize("name", ["wait_until_fault_is_over", "no_fault_should_be_active"])
def test_a_fault_that_stays_is_no_defect_of_the_system(name: str, two: FakeDynamo) -> None:
    """Both were failed assertions, which the tag robot:skip-on-failure excuses."""
    two.context.injector.inject(FakeFault("fake-1"))
    arguments = {"timeout": timedelta(milliseconds=20)} if name.startswith("wait") else {}
    with pytest.raises(FaultError, match="Fake Fault"):
        two.run_keyword(name, [], arguments)


def test_tokens_that_never_come_are_a_symptom_whenever_that_is_known(two: FakeDynamo) -> None:
    """Of a request whose end was known it was not excused, of any other it was."""
    request = two.run_keyword("start_request", [], {"max_tokens": 2})
    with pytest.raises(Unanswered, match="has ended before it had 9 tokens"):
        two.run_keyword("wait_for_tokens", [request, 9])
    two.run_keyword("wait_for_request", [request])
    with pytest.raises(Unanswered, match="has ended before it had 9 tokens"):
        two.run_keyword("wait_for_tokens", [request, 9])


def test_a_fault_comes_off_though_that_cannot_be_written_to_the_timeline(
    two: FakeDynamo, caplog: pytest.LogCaptureFixture
) -> None:
    """A full disk: with the event of one fault that came off, the undoing of all others ended."""
    faults = [two.context.injector.inject(FakeFault(name)) for name in ("fake-1", "fake-2")]
    Ledger(two.context.ledger.run, two.context.ledger.owner).mark(faults[0].entry, State.RECOVERED, "its time was over")
    two.context.timeline._path = two.place  # a directory takes no lines
    assert two.context.injector.recover_all() == []
    assert two.context.injector.active == []
    assert "Fake Fault came off: its time was over" in caplog.text


@dataclass
class Together(FakeFault):
    """Works again only when no other one is in effect."""

    kind = "Enable Cuda Faults"
    on: list[Any] = field(default_factory=list)

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "none", "which": id(self)}  # faults with one recipe come off by one deed

    def prove(self) -> list[str]:
        self.on.append(self)
        return ["on"]

    def undo(self) -> str:
        self.on[:] = [other for other in self.on if other is not self]
        return "off"

    def verify(self) -> str:
        if self.on:
            raise RecoveryError(f"{len(self.on)} others are on")
        return "works"


@pytest.mark.parametrize("keyword", ["disable_cuda_faults", "remove_cuda_shim", "recover_all_faults"])
def test_faults_that_one_keyword_takes_off_are_verified_together(keyword: str, two: FakeDynamo) -> None:
    """The first one was verified while the others were on, so the keyword failed (kin of row 24)."""
    on: list[Any] = []
    for _ in range(2):
        two.context.injector.inject(Together("fake-2", on))
    two.context.platform.__dict__["shim_cuda"] = lambda services: None
    two.context.platform.__dict__["awaits_cuda_change"] = lambda replica: False
    two.run_keyword(keyword, [])
    assert two.context.injector.active == []


def test_no_good_request_cannot_be_awaited(two: FakeDynamo) -> None:
    """It was waited for until the time was up."""
    two.run_keyword("start_load", [], {"concurrency": 1})
    with pytest.raises(FaultLibraryError, match="count must be above 0, not 0"):
        two.run_keyword("wait_for_load_requests", [0])


def test_a_load_that_nobody_has_waited_for_has_ended_all_the_same(two: FakeDynamo) -> None:
    """Time went on after its end, and was an outage: "not reached: 0 % of the throughput at the end"."""
    two.run_keyword("start_load", [], {"request_count": 4, "output_tokens": 2})
    load = two.context.loads["default"]
    load.sender.wait_for(lambda event: event["event"] == "finished", timedelta(seconds=30), "the end")
    assert load.is_running  # as far as its folder tells
    assert load.now_s is None


def test_the_story_of_a_load_has_the_faults_of_its_graph_only(two: FakeDynamo) -> None:
    """Seen beside each other: the picture of a load was cut at a fault of another graph."""
    two.context.begin_test("S.T")
    for alias in ("blue", "green"):
        two.run_keyword("start_load", [alias], {"concurrency": 1, "output_tokens": 2, "graph": alias})
    began = monotonic()
    two.context.injector.inject(FakeFault("fake-1"))
    for alias in ("blue", "green"):
        two.run_keyword("wait_for_load_requests", [5], {"load": alias})
        two.run_keyword("stop_load", [alias])
    story = unescape(tell_test(two.context, "S.T", began))
    before, green = story.split("load 'green': ")
    blue = before.partition("load 'blue': ")[2]
    assert ">during</th>" in blue
    assert ">during</th>" not in green


def answer_as(dynamo: FakeDynamo, deployment: Deployment, replica: int, load: str) -> None:
    """Write all answers of a load into the log of one worker."""
    records = read_records(dynamo.context.loads[load].sender.records)
    lines = [f"2026-01-01 request received request_id={record.response_id[5:]}\n" for record in records]
    log = deployment.results / f"VllmWorker-{replica}.log"
    log.parent.mkdir(parents=True, exist_ok=True)
    log.write_text("".join(lines), encoding="utf-8")


@pytest.fixture
def logged(two: FakeDynamo, monkeypatch: pytest.MonkeyPatch) -> FakeDynamo:
    """Each answer has an id of its own, and each graph its own logs."""
    numbers = itertools.count(1)
    answer = two.server.RequestHandlerClass.send

    def send(self: Any, data: bytes, kind: str) -> None:
        name = f"cmpl-12345678-1234-1234-1234-{next(numbers):012x}"
        answer(self, data.replace(b'"id": "a"', f'"id": "{name}"'.encode()), kind)

    monkeypatch.setattr(two.server.RequestHandlerClass, "send", send)

    def logs(deployment: Deployment, service: str) -> list[Log]:
        return [LocalLog(path) for path in sorted(deployment.results.glob(f"{service}-*.log"))]

    two.context.platform.__dict__["logs"] = logs
    return two


def test_who_served_a_load_is_read_off_the_logs_of_its_own_graph(logged: FakeDynamo) -> None:
    """The folder of its results said which graph was its own, and results may lie in those of another."""
    blue, green = logged.context.deployments
    green.results = blue.results / "green"
    for alias in ("blue", "green"):
        logged.run_keyword("start_load", [alias], {"request_count": 4, "output_tokens": 2, "graph": alias})
        load = logged.context.loads[alias]
        load.sender.wait_for(lambda event: event["event"] == "finished", timedelta(seconds=30), "the end")
    blue.results, green.results = green.results, blue.results
    answer_as(logged, blue, 0, "blue")
    answer_as(logged, green, 1, "green")
    assert logged.run_keyword("get_request_count", [], {"load": "blue", "replica": "VllmWorker-0"}) == 4
    assert logged.run_keyword("get_request_count", [], {"load": "green", "replica": "VllmWorker-1"}) == 4


def test_who_served_a_load_is_asked_again_when_it_has_ended(logged: FakeDynamo) -> None:
    """What was found while it ran was taken for all, so that its last answers were in no log."""
    green = logged.context.deployment
    logged.run_keyword("start_load", [], {"request_count": 4, "output_tokens": 2})
    load = logged.context.loads["default"]
    load.sender.wait_for(lambda event: event["event"] == "finished", timedelta(seconds=30), "the end")
    first = read_records(load.sender.records)[0].response_id
    Served.of(["VllmWorker-0"], {first.removeprefix("cmpl-"): ["VllmWorker-0"]}).save(load.folder.path, load.table())
    answer_as(logged, green, 1, "default")
    logged.run_keyword("wait_for_load_completion", [])
    assert logged.run_keyword("get_request_count", [], {"replica": "VllmWorker-1"}) == 4


def test_the_alias_of_a_graph_that_went_with_its_supervisor_is_free(two: FakeDynamo) -> None:
    """`Deploy Graph` said that it was taken, though the message of the loss had told to call it again."""
    two.context.platform.__dict__["is_lost"] = lambda deployment: deployment.name == "fake-1"
    with pytest.raises(FaultError, match="the fake platform deploys nothing"):
        two.run_keyword("deploy_graph", [GRAPH], {"alias": "blue"})
    assert list(two.context.graphs) == ["green"]


def test_among_workers_the_one_that_serves_is_cut_off_from_the_others(
    two: FakeDynamo, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It stood at both sides, so ``WORKER_WORKER`` with ``serving`` was refused for want of two."""
    cuts: list[Partition] = []

    def plan(deployment: Deployment, partition: Partition) -> None:
        cuts.append(partition)
        raise FaultError("planned")

    two.context.platform.__dict__["plan_cut"] = plan
    request = two.run_keyword("start_request", [], {"max_tokens": 2})
    workers = two.context.platform.replicas(two.context.deployment, "VllmWorker")
    monkeypatch.setattr("DynamoFaultLibrary.faults.target.Chooser.serving", lambda *_: workers[1])
    with pytest.raises(FaultError, match="planned"):
        two.run_keyword("partition_network", [PartitionType.WORKER_WORKER], {"serving": request})
    assert (cuts[0].sources, cuts[0].targets) == ([workers[1]], [workers[0], *workers[2:]])


def test_a_fault_that_was_not_proven_is_on_the_timeline_all_the_same(two: FakeDynamo) -> None:
    """Only its end was: it said that something came off which had never been there."""
    fault = FakeFault("fake-2")
    fault.prove = list  # type: ignore[method-assign]
    with pytest.raises(EvidenceMissing):
        two.keywords["kill_worker"].__self__.inject(fault, None, None, "SIGKILL to VllmWorker-0")
    events = [event for event in two.context.timeline.events if event.kind is EventKind.FAULT]
    assert [event.text for event in events] == ["Fake Fault, not proven: SIGKILL to VllmWorker-0"]


def test_a_negative_time_is_told_as_one(two: FakeDynamo) -> None:
    """``-1 s`` was told to be 0 s or more, and 0 to be above 0."""
    with pytest.raises(FaultLibraryError, match=r"timeout must not be negative, but is -1 s"):
        two.run_keyword("kill_worker", ["VllmWorker", 0], {"timeout": timedelta(seconds=-1)})


def test_what_is_no_partition_is_not_healed(two: FakeDynamo) -> None:
    """`Heal Network Partition` let a stalled etcd member go on."""
    fault = two.context.injector.inject(FakeFault("fake-2")).entry.id
    with pytest.raises(FaultError, match=rf"Fake Fault {fault} on Frontend-0 is no network partition; 'Recover Fault'"):
        two.run_keyword("heal_network_partition", [fault])
    assert two.run_keyword("list_active_faults", []) == [fault]


def test_a_fault_that_did_not_come_off_in_time_is_told(two: FakeDynamo) -> None:
    """It was said to come off at a moment that was past."""
    fault = two.context.injector.inject(FakeFault("fake-2"), ttl=timedelta(milliseconds=1)).entry.id
    with pytest.raises(FaultError, match=r"it was to come off by itself at .*, 'Recover Fault' tells why it does not"):
        two.run_keyword("wait_until_fault_is_over", [fault], {"timeout": timedelta(milliseconds=20)})


@dataclass
class Killed(FakeFault):
    """Has ended a worker."""

    victim: str = ""

    @property
    def target(self) -> dict[str, Any]:
        return {**super().target, "service": "VllmWorker", "replica": self.victim}

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "respawn", "name": self.victim}

    @property
    def ended(self) -> list[str]:
        return [self.victim]


def test_a_replica_that_a_fault_has_ended_is_told(two: FakeDynamo) -> None:
    """It said "no running replica '0'; running are [1]" only, as if there had never been one."""
    known = two.context.platform.replicas

    def replicas(deployment: Deployment, service: str) -> list[Replica]:
        return [each for each in known(deployment, service) if each.name != "VllmWorker-0"]

    two.context.platform.__dict__["replicas"] = replicas
    two.context.injector.inject(Killed("fake-2", "VllmWorker-0"))
    for wanted in (0, "VllmWorker-0"):
        with pytest.raises(FaultError, match=r"no running replica .*; Fake Fault \S+ on VllmWorker-0 has ended it"):
            two.run_keyword("kill_worker", ["VllmWorker", wanted])


def test_a_fault_is_named_by_its_facts_too(two: FakeDynamo) -> None:
    """Robot Framework makes a text of them, and the failure showed all of it."""
    two.context.injector.inject(FakeFault("fake-1"))
    facts = str(two.run_keyword("get_fault", []))
    assert two.run_keyword("get_fault", [facts])["state"] == "active"
    two.run_keyword("recover_fault", [facts])
    assert two.context.fault(facts).recovered_s is not None


def test_a_fault_says_nothing_of_a_load_on_another_graph(two: FakeDynamo) -> None:
    """By its id it cut the load all the same."""
    two.run_keyword("start_load", ["l"], {"request_count": 8, "output_tokens": 2, "graph": "blue"})
    two.run_keyword("wait_for_load_completion", ["l"])
    other = two.context.injector.inject(FakeFault("fake-2")).entry.id
    with pytest.raises(LoadError, match="hit another graph than that of load 'l', so it says nothing of that load"):
        two.run_keyword("get_request_count", [], {"load": "l", "part": "before", "fault": other})


def test_links_to_logs_of_two_graphs_say_which(two: FakeDynamo) -> None:
    """Both were called ``Frontend-0.log``, and one was written over the other."""
    two.context.begin_test("S.T")
    for alias, deployment in two.context.graphs.items():
        log = deployment.results / "Frontend" / "Frontend-0.log"
        log.parent.mkdir(parents=True)
        log.write_text(deployment.name)
        two.context.log_starts[alias] = {LocalLog(log): 0}
    two.run_keyword("start_request", [], {"max_tokens": 2})
    story = tell_test(two.context, "S.T", 0.0)
    assert ">blue/Frontend-0.log<" in story
    assert ">green/Frontend-0.log<" in story
    slices = {path.parent.name: path.read_text() for path in Path("results").rglob("Frontend-0.log")}
    assert (slices["blue"], slices["green"]) == ("fake-1", "fake-2")


def test_logs_of_two_graphs_of_one_name_in_one_test_are_both_kept(logged: FakeDynamo) -> None:
    """A graph that was deleted and deployed again wrote over what the first one had logged."""
    context = logged.context
    green = context.graphs["green"]
    for deployment in context.deployments:
        context.remove_deployment(deployment)
    context.begin_test("S.T")
    for text in ("first", "second"):
        made = replace(green, name=text, results=logged.place / text)
        made.results.mkdir()
        (made.results / "Frontend-0.log").write_text(text)
        context.add_deployment(made, "green")
        context.remove_deployment(made)
    slices = {path.parent.name: path.read_text() for path in save_log_slices(context, "S.T")}
    assert slices == {"green": "first", "green-2": "second"}


def test_a_graph_of_an_earlier_test_does_not_say_where_logs_are_kept(logged: FakeDynamo) -> None:
    """After the first suite of a run, logs lay in a folder more, called after the one graph."""
    context = logged.context
    blue = context.graphs["blue"]
    blue.results.mkdir(parents=True)
    log = blue.results / "Frontend-0.log"
    log.write_text("early\n")
    context.remove_deployment(context.graphs["green"])
    context.begin_test("S.T")
    log.write_text("early\nlate\n")
    (file,) = save_log_slices(context, "S.T")
    assert (file.parent.name, file.read_text()) == ("s.t", "late\n")


@pytest.mark.parametrize(
    ("left", "said"), [([1], r"was restarted since .* \(it was pid 1, it is pid 7;"), ([], "has ended")]
)
def test_a_replica_that_is_another_process_says_which(left: list[int], said: str, two: FakeDynamo) -> None:
    """ "is not the process 11173 any more that it was" read like a puzzle."""
    known = two.context.platform.replicas

    def replicas(deployment: Deployment, service: str) -> list[Replica]:
        return [replace(each, incarnation=ProcessId(7, 7)) for each in known(deployment, service) if left]

    two.context.platform.__dict__["replicas"] = replicas
    with pytest.raises(AssertionError, match=said):
        two.run_keyword("service_should_not_have_restarted", ["VllmWorker"])


def test_a_graph_that_could_not_be_seen_when_the_test_began_can_be_hit_all_the_same(two: FakeDynamo) -> None:
    """What compares with the beginning of the test fails then; a fault does not need it."""
    two.context.marks.clear()
    begin_observation(two.context)
    with pytest.raises(DeploymentError, match="could not be seen when this test began"):
        two.run_keyword("service_should_not_have_restarted", ["VllmWorker"])


def test_a_service_under_the_cuda_shim_is_one_of_any_graph(two: FakeDynamo) -> None:
    """Only the graph that was deployed last was looked at, though the shim is for all."""
    shimmed: list[Any] = []
    two.context.platform.__dict__["shim_cuda"] = shimmed.append
    two.context.platform.__dict__["awaits_cuda_change"] = lambda replica: False
    first, last = two.context.deployments
    last.graph.services["Another"] = last.graph.services.pop("VllmWorker")
    assert "VllmWorker" in first.graph.services
    two.run_keyword("set_up_cuda_shim", [["VllmWorker", "Another"]])
    assert shimmed == [["VllmWorker", "Another"]]
    with pytest.raises(
        FaultError, match=r"services names 'Nobody', which no deployed graph has: 'blue' has .*; 'green' has .*Another"
    ):
        two.run_keyword("set_up_cuda_shim", [["Nobody"]])


def test_the_export_of_a_load_tells_of_the_faults_that_it_met(two: FakeDynamo) -> None:
    """Whoever reads aiperf's files alone learned nothing of them."""
    two.context.begin_test("S.T")
    two.run_keyword("start_load", ["l"], {"concurrency": 1, "output_tokens": 2, "graph": "blue"})
    two.run_keyword("wait_for_load_requests", [5, "l"])
    for graph in ("fake-1", "fake-2"):
        two.context.injector.inject(FakeFault(graph), scope="S.T")
    two.run_keyword("wait_for_load_requests", [5, "l"])
    export = two.context.loads["l"].folder.path / "profile_export_aiperf.json"
    two.end_test(running.TestCase("T"), result.TestCase("T", parent=result.TestSuite("S")))
    (fault,) = json.loads(export.read_text())["dynamo_fault_faults"]
    assert fault["fault"].startswith("Fake Fault")
    assert fault["recovery_s"] > 0
    assert fault["ended_s"] >= fault["effective_s"]
