"""Logs whose text arrives late: no check takes what it has not seen yet for what was not logged."""

import sys
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

sys.path.insert(0, str(Path(__file__).parent / "testdata"))

from FakeDynamo import FakeDynamo

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.faults.target import Chooser
from DynamoFaultLibrary.keywords.checks import MigrationKind
from DynamoFaultLibrary.keywords.observation import observe_all
from DynamoFaultLibrary.keywords.serving import served_by
from DynamoFaultLibrary.keywords.story import save_log_slices
from DynamoFaultLibrary.load.client import Load, Request
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Replica, ReplicaExit
from tests.replicas import LateLog, make_replica

RECREATED, FAILED = "Stream disconnected, recreating stream", "Cannot recreate stream"
UUID = "12345678-1234-1234-1234-000000000001"
METRIC = "dynamo_frontend_model_migration_total"
MINUTE = timedelta(minutes=1)


@pytest.fixture
def logs() -> dict[str, list[LateLog]]:
    """By service."""
    return {
        "Frontend": [LateLog("Frontend-0")],
        "VllmWorker": [LateLog("VllmWorker-0"), LateLog("VllmWorker-1")],
    }


@pytest.fixture
def dynamo(logs: dict[str, list[LateLog]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeDynamo]:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    monkeypatch.chdir(tmp_path)
    made = FakeDynamo(deployed=True)

    def replicas(deployment: Deployment, service: str) -> list[Replica]:
        return [make_replica(service, index, log=log) for index, log in enumerate(logs.get(service, []))]

    made.context.platform.__dict__["logs"] = lambda deployment, service: logs.get(service, [])
    made.context.platform.__dict__["replicas"] = replicas
    made.context.begin_test("S.T")
    observe_all(made.context)
    yield made
    made.close()


@pytest.fixture
def frontend(logs: dict[str, list[LateLog]], dynamo: FakeDynamo) -> LateLog:
    return logs["Frontend"][0]


def test_a_line_that_arrives_late_was_logged_all_the_same(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.write("panic: no more blocks")
    with pytest.raises(AssertionError, match="a line matches 'panic' in the log of Frontend: panic: no more blocks"):
        dynamo.run_keyword("service_log_should_not_contain", ["Frontend", "panic"])


@pytest.mark.parametrize("name", ["service_log_should_not_contain", "service_log_should_contain"])
def test_a_log_that_does_not_arrive_says_nothing(name: str, dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.is_cut_off = True
    with pytest.raises(DeploymentError, match=r"^log 'late:Frontend-0' has not arrived$"):
        dynamo.run_keyword(name, ["Frontend", "panic"])


def test_logs_that_could_not_be_listed_when_the_test_began_say_nothing(
    dynamo: FakeDynamo, frontend: LateLog, logs: dict[str, list[LateLog]]
) -> None:
    """What earlier tests had logged passed for what this one did."""
    frontend.write("panic: no more blocks")

    def refuse(deployment: Deployment, service: str) -> list[LateLog]:
        raise DeploymentError("the cluster does not answer")

    platform = dynamo.context.platform.__dict__
    platform["logs"] = refuse
    dynamo.context.begin_test("S.U")
    platform["logs"] = lambda deployment, service: logs.get(service, [])
    with pytest.raises(DeploymentError, match="where log 'late:Frontend-0' ended when this test began is not known"):
        dynamo.run_keyword("service_log_should_contain", ["Frontend", "panic"])


def test_what_is_there_needs_nothing_more(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.write("ready")
    frontend.flush()
    frontend.is_cut_off = True
    dynamo.run_keyword("service_log_should_contain", ["Frontend", "ready"])


def test_a_line_that_arrives_late_is_found_before_it_is_missed(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.write("ready")
    dynamo.run_keyword("service_log_should_contain", ["Frontend", "ready"])


def test_the_last_words_of_a_replica_are_found(dynamo: FakeDynamo, frontend: LateLog) -> None:
    """It has ended, so nothing more comes from it: what it had logged comes late all the same."""
    end = EndedReplica(make_replica("Frontend"), ReplicaExit("exit status 1", monotonic(), None))
    dynamo.context.platform.__dict__.update(ended=lambda deployment: [end], replicas=lambda deployment, service: [])
    frontend.write("lost the lease")
    dynamo.run_keyword("service_log_should_contain", ["Frontend", "lost the lease"], {"timeout": MINUTE})


def test_a_line_of_the_test_before_is_none_of_this_one(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.write("panic")
    dynamo.context.begin_test("S.U")
    dynamo.run_keyword("service_log_should_not_contain", ["Frontend", "panic"])
    with pytest.raises(AssertionError, match="no line matches 'panic'"):
        dynamo.run_keyword("service_log_should_contain", ["Frontend", "panic"])


def test_a_log_that_could_not_be_marked_tells_only_the_whole(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.write("panic")
    frontend.is_cut_off = True
    dynamo.context.begin_test("S.U")
    frontend.is_cut_off = False
    for name in ("service_log_should_not_contain", "service_log_should_contain"):
        with pytest.raises(DeploymentError, match="ended when this test began is not known"):
            dynamo.run_keyword(name, ["Frontend", "panic"])
    dynamo.run_keyword("service_log_should_contain", ["Frontend", "panic"], {"whole": True})


def test_a_failed_migration_is_counted_though_its_line_arrives_late(dynamo: FakeDynamo, frontend: LateLog) -> None:
    """The metric counts attempts alone, and as many were in the log: it was taken for completed."""
    text = f'# TYPE {METRIC} counter\n{METRIC}{{migration_type="ongoing_request"}} 1\n'
    dynamo.context.platform.__dict__["metrics"] = lambda *_, **__: ({"Frontend-0": text}, [])
    frontend.write(RECREATED)
    frontend.flush()
    frontend.write(FAILED)
    assert dynamo.run_keyword("get_migrations", []) == 0
    assert dynamo.run_keyword("get_migrations", [], {"kind": MigrationKind.FAILED}) == 1


def test_migrations_are_not_told_by_half_a_log(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.is_cut_off = True
    with pytest.raises(DeploymentError, match="has not arrived"):
        dynamo.run_keyword("get_migrations", [])


def test_a_cancellation_that_is_logged_late_is_found(
    dynamo: FakeDynamo, frontend: LateLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = Record("request-1", "", 0, Endpoint.CHAT, True, 900, outcome=Outcome.CANCELLED)
    monkeypatch.setattr(Request, "wait", lambda request, timeout: record)
    request = dynamo.run_keyword("start_request", [], {"max_tokens": 2})
    limit = {"timeout": timedelta(seconds=0.05)}
    with pytest.raises(AssertionError, match=r"has not logged that .* was cancelled: late:Frontend-0$"):
        dynamo.run_keyword("request_should_have_been_cancelled", [request], limit)
    frontend.write(f'request completed error_type=cancelled x_request_id="{request.id}"')
    dynamo.run_keyword("request_should_have_been_cancelled", [request], limit)


def test_a_request_counts_for_its_last_replica_though_that_one_tells_it_late(
    dynamo: FakeDynamo, logs: dict[str, list[LateLog]], tmp_path: Path
) -> None:
    first, last = logs["VllmWorker"]
    first.write(f"2026-01-01T00:00:01Z x request received request_id={UUID}")
    first.flush()
    last.write(f"2026-01-01T00:00:02Z x request received request_id={UUID}")
    record = Record("r", "l", 0, Endpoint.CHAT, True, 8, outcome=Outcome.OK, response_id=f"cmpl-{UUID}")
    table = Table.of([record])
    load: Any = SimpleNamespace(
        plan=SimpleNamespace(name="l"),
        folder=SimpleNamespace(path=tmp_path),
        deployment="fake-1",
        scope="S.T",
        served=None,
        is_running=True,
        table=lambda: table,
    )
    served = served_by(dynamo.context, cast("Load", load))
    assert (served.by(table, 0).sum(), served.by(table, 1).sum()) == (0, 1)
    last.is_cut_off = True
    with pytest.raises(DeploymentError, match="'late:VllmWorker-1' has not arrived"):
        served_by(dynamo.context, cast("Load", load))


def test_the_replica_that_received_a_request_last_is_hit_though_it_tells_so_late(
    dynamo: FakeDynamo, frontend: LateLog, logs: dict[str, list[LateLog]]
) -> None:
    """The one that it had migrated away from would have been killed."""
    first, last = logs["VllmWorker"]
    frontend.write(f'2026-01-01T00:00:00Z f request received request_id={UUID} x_request_id="request-1"')
    first.write(f"2026-01-01T00:00:01Z w request received request_id={UUID}")
    frontend.flush()
    first.flush()
    last.write(f"2026-01-01T00:00:02Z w request received request_id={UUID}")
    context = dynamo.context
    found = Chooser(context.platform, context.deployment, context.random).serving("VllmWorker", "request-1")
    assert found.name == "VllmWorker-1"


def test_what_a_test_has_logged_is_kept_with_it(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.write("late words")
    (file,) = save_log_slices(dynamo.context, "S.T")
    assert (file.name, file.read_text()) == ("Frontend-0.log", "late words\n")


def test_what_has_arrived_of_a_log_is_kept_at_least(dynamo: FakeDynamo, frontend: LateLog) -> None:
    frontend.write("early words")
    frontend.flush()
    frontend.write("late words")
    frontend.is_cut_off = True
    (file,) = save_log_slices(dynamo.context, "S.T")
    assert file.read_text() == "early words\n"


def test_a_platform_says_how_often_it_is_looked_at(
    dynamo: FakeDynamo, frontend: LateLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the beginning, twice at the end of the time, and once more when all has arrived."""
    looks: list[int] = []
    since = frontend.since
    monkeypatch.setattr(frontend, "since", lambda mark=0: looks.append(mark) or since(mark))
    dynamo.context.platform.poll_s = 60.0
    with pytest.raises(AssertionError, match="no line matches 'ready'"):
        dynamo.run_keyword("service_log_should_contain", ["Frontend", "ready"], {"timeout": timedelta(seconds=0.3)})
    assert len(looks) <= 4


def test_logs_are_shown_with_rejections_and_prove_none(dynamo: FakeDynamo, logs: dict[str, list[LateLog]]) -> None:
    """One that was missing failed the check with a raw error of Python."""
    shown: list[str] = []
    dynamo.run_keyword("start_load", [], {"request_count": 2, "output_tokens": 2})
    dynamo.run_keyword("wait_for_load_completion", [])
    worker, other = logs["VllmWorker"]
    worker.write("Service temporarily overloaded")
    other.is_cut_off = True
    component = dynamo.keywords["load_should_have_been_rejected"].__self__
    component.info = shown.append
    with pytest.raises(AssertionError, match="0 responses with status 503 or 529, at least 1 expected"):
        dynamo.run_keyword("load_should_have_been_rejected", [])
    assert shown == ["rejection in a log: Service temporarily overloaded"]
