"""What waits and checks say when replicas have ended and nobody starts them again."""

import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

sys.path.insert(0, str(Path(__file__).parent / "testdata"))

from FakeDynamo import FakeDynamo, FakeFault

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import FaultLibraryError, LoadError, NothingComes, Unready
from DynamoFaultLibrary.platforms.replicas import EndedReplica, ReplicaExit
from DynamoFaultLibrary.processes import ProcessId
from tests.replicas import make_replica

HOUR = timedelta(hours=1)
"""Nobody waits for so long: a test that does would be ended by its runner."""


class Respawned(FakeFault):
    """A fault whose undo starts the replica again."""

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "respawn"}

    @property
    def ended(self) -> list[ProcessId]:
        return [ProcessId(2, 2)]


@pytest.fixture
def dynamo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDynamo]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    made = FakeDynamo(deployed=True)
    made.context.begin_test("S.T")
    yield made
    made.close()


@pytest.fixture
def end(dynamo: FakeDynamo) -> Callable[..., EndedReplica]:
    """Has a replica of a service end: the first one, and none is left, or one more than those that run."""

    def ended(service: str, *, others_run: bool = False) -> EndedReplica:
        platform = dynamo.context.platform
        before = platform.replicas
        (first, *_) = before(dynamo.context.deployment, service)
        index = 9 if others_run else 0
        gone = make_replica(service, index, ProcessId(2, 2), first.log)
        end = EndedReplica(gone, ReplicaExit("killed by SIGKILL", monotonic(), 9))
        platform.__dict__["ended"] = lambda deployment: [end]
        if not others_run:
            platform.__dict__["replicas"] = lambda of, name: [] if name == service else before(of, name)
        return end

    return ended


def test_good_requests_are_not_awaited_from_a_frontend_that_has_ended(
    dynamo: FakeDynamo, end: Callable[..., EndedReplica]
) -> None:
    """The whole time-out was waited for, and the death was told at its end."""
    dynamo.run_keyword("start_load", [], {"concurrency": 1, "duration": HOUR, "output_tokens": 2})
    end("Frontend")
    with pytest.raises(
        NothingComes,
        match="waited for 1000000 good requests of load 'default', but no replica of 'Frontend' runs any more, and "
        "nobody starts one: Frontend-0 was killed by SIGKILL",
    ):
        dynamo.run_keyword("wait_for_load_requests", [1_000_000], {"timeout": HOUR})


def test_a_death_is_told_once(dynamo: FakeDynamo, end: Callable[..., EndedReplica]) -> None:
    """A wait that ended at once for it named it, and the library named it again behind that."""
    end("Frontend")
    for wait in (
        lambda: dynamo.run_keyword("wait_until_graph_is_ready", [], {"timeout": HOUR}),
        lambda: dynamo.run_keyword("start_load", [], {"concurrency": 1, "start_timeout": HOUR}),
    ):
        dynamo.server.shutdown()
        with pytest.raises(FaultLibraryError) as raised:
            wait()
        message = str(raised.value)
        assert message.count("Frontend-0 was killed by SIGKILL; nobody here ordered that (log: ") == 1, message
        assert message.count("Frontend-0 was") == 1, message
        assert " ago" in message


def test_a_death_that_a_failure_does_not_name_is_told_beside_it(
    dynamo: FakeDynamo, end: Callable[..., EndedReplica]
) -> None:
    end("VllmWorker", others_run=True)
    with pytest.raises(FaultLibraryError, match=r"no load 'none'.*; VllmWorker-9 was killed by SIGKILL; nobody here"):
        dynamo.run_keyword("get_request_count", [], {"load": "none"})


def test_a_graph_without_a_frontend_is_not_awaited(dynamo: FakeDynamo, end: Callable[..., EndedReplica]) -> None:
    """One that had ended before the wait was no news to the platform: the whole time-out was waited for."""
    waited = []
    dynamo.context.platform.__dict__["wait_ready"] = lambda deployment, timeout: waited.append(timeout)
    end("Frontend")
    with pytest.raises(Unready, match="cannot become ready: no replica of 'Frontend' runs any more, and nobody starts"):
        dynamo.run_keyword("wait_until_graph_is_ready", [], {"timeout": HOUR})
    assert not waited


def test_a_frontend_that_a_fault_of_ours_has_ended_is_awaited(
    dynamo: FakeDynamo, end: Callable[..., EndedReplica]
) -> None:
    waited = []
    dynamo.context.platform.__dict__["wait_ready"] = lambda deployment, timeout: waited.append(timeout)
    dynamo.context.injector.inject(Respawned("fake-1"), scope="S.T")
    end("Frontend")
    dynamo.run_keyword("wait_until_graph_is_ready", [], {"timeout": HOUR})
    assert waited == [HOUR]


def test_a_load_does_not_wait_for_a_frontend_that_has_ended(
    dynamo: FakeDynamo, end: Callable[..., EndedReplica]
) -> None:
    end("Frontend")
    dynamo.server.shutdown()  # it takes connections yet, and answers none
    with pytest.raises(NothingComes, match="waited for a good response to load 'default', but no replica of 'Fron"):
        dynamo.run_keyword("start_load", [], {"concurrency": 1, "start_timeout": HOUR})
    assert not dynamo.context.loads["default"].is_running


def test_recovery_is_not_awaited_from_a_frontend_that_has_ended(
    dynamo: FakeDynamo, end: Callable[..., EndedReplica]
) -> None:
    dynamo.run_keyword("start_load", [], {"concurrency": 1, "duration": HOUR, "output_tokens": 2})
    dynamo.run_keyword("wait_for_load_requests", [50])
    dynamo.context.injector.inject(FakeFault("fake-1"), scope="S.T")
    end("Frontend")
    with pytest.raises(AssertionError, match=r"has not recovered from Fake Fault.*, and cannot: no replica of 'Front"):
        dynamo.run_keyword("wait_until_recovered", [], {"timeout": HOUR, "hold": HOUR})


def test_recovery_is_not_awaited_where_the_next_fault_came_too_early_to_tell(dynamo: FakeDynamo) -> None:
    dynamo.run_keyword("start_load", [], {"concurrency": 1, "duration": HOUR, "output_tokens": 2})
    dynamo.run_keyword("wait_for_load_requests", [50])
    for _ in range(2):
        dynamo.context.injector.inject(FakeFault("fake-1"), scope="S.T")
    first = dynamo.context.faults[0].entry.id
    with pytest.raises(
        AssertionError, match=r"has not recovered from Fake Fault.*: not known: only \d\.\d s were recorded"
    ):
        dynamo.run_keyword("wait_until_recovered", [], {"timeout": HOUR, "fault": first})


def test_a_line_is_not_awaited_from_a_service_that_has_ended(
    dynamo: FakeDynamo, end: Callable[..., EndedReplica]
) -> None:
    end("VllmWorker")
    with pytest.raises(AssertionError, match=r"no line matches 'never' .*; no replica of 'VllmWorker' runs any more"):
        dynamo.run_keyword("service_log_should_contain", ["VllmWorker", "never"], {"timeout": HOUR})


def test_what_a_fault_of_ours_has_ended_may_come_back(dynamo: FakeDynamo, end: Callable[..., EndedReplica]) -> None:
    """Its undo starts the replica again, at the end of its time at the latest."""
    dynamo.context.injector.inject(Respawned("fake-1"), scope="S.T")
    end("Frontend")
    dynamo.run_keyword("start_load", [], {"concurrency": 1, "output_tokens": 2})
    dynamo.run_keyword("wait_for_load_requests", [1])


@pytest.mark.parametrize("others_run", [False, True])
def test_a_replica_that_ended_before_the_test_has_not_kept_running(
    others_run: bool, dynamo: FakeDynamo, end: Callable[..., EndedReplica]
) -> None:
    """`Service Should Not Have Restarted` passed: it looked at those alone that ran when the test began."""
    dynamo.run_keyword("service_should_not_have_restarted", ["VllmWorker"])
    end("VllmWorker", others_run=others_run)
    with pytest.raises(AssertionError, match=r"VllmWorker-\d (was killed by SIGKILL before|has ended since)"):
        dynamo.run_keyword("service_should_not_have_restarted", ["VllmWorker"])
    dynamo.run_keyword("service_should_not_have_restarted", ["Frontend"])


def test_a_load_of_a_graph_that_was_deleted_is_not_awaited(dynamo: FakeDynamo) -> None:
    dynamo.run_keyword("start_load", [], {"concurrency": 1, "duration": HOUR, "output_tokens": 2})
    dynamo.context.remove_deployment(dynamo.context.deployment)
    with pytest.raises(LoadError, match="but its graph is not deployed any more"):
        dynamo.run_keyword("wait_for_load_requests", [1_000_000], {"timeout": HOUR})
