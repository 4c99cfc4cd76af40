"""What every platform must do, held against each of `PLATFORMS` by nothing but the port."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta

import httpx
import pytest
from contract_bench import ONE_EACH, PLATFORMS, WORKER, Bench, complete, kill
from prometheus_client.parser import text_string_to_metric_families

from DynamoFaultLibrary.errors import DeploymentError, Unready
from DynamoFaultLibrary.platforms.base import Deployment, NodeHealth, Platform, Replacing
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import DeploySettings

MOMENT, SECONDS = timedelta(milliseconds=50), timedelta(seconds=10)
READY = timedelta(minutes=1)
"""Discovery keeps who has ended for 10 s."""


def test_a_ready_deployment_answers_and_a_deleted_one_is_gone(bench: Bench, deployment: Deployment) -> None:
    assert complete(deployment) == "12 13 14"
    assert not bench.platform.is_lost(deployment)
    bench.platform.delete(deployment)
    with pytest.raises(httpx.HTTPError):  # no connection; or a stranger's answer, from beyond this machine
        httpx.get(f"{deployment.url}/health", timeout=2).raise_for_status()
    for look in (bench.platform.ended, lambda gone: bench.platform.replicas(gone, WORKER)):
        with pytest.raises(DeploymentError, match=f"deployment '{deployment.name}' was deleted"):
            look(deployment)


def test_two_deployments_live_side_by_side(bench: Bench) -> None:
    first, second = bench.deploy(), bench.deploy()
    assert first.name != second.name
    assert first.url != second.url
    bench.platform.delete(first)
    assert complete(second) == "12 13 14"


def test_runs_that_share_a_home_do_not_share_names(
    make_bench: Callable[..., Bench], case: tuple[str, DeploySettings]
) -> None:
    """Names were made of pids, which two containers have in common (row 27)."""
    mine, other = make_bench(*case), make_bench(*case)
    kept, theirs = mine.deploy(), other.deploy()
    assert kept.name != theirs.name
    other.platform.close()
    assert complete(kept) == "12 13 14"


def test_a_plan_starts_nothing(bench: Bench, deployment: Deployment) -> None:
    plan = bench.platform.plan(deployment.graph, bench.settings)
    assert [process.name for process in plan.processes] == [process.name for process in deployment.plan.processes]
    assert {f"{WORKER}-0", f"{WORKER}-1", "Frontend-0"} == {process.name for process in plan.processes}
    assert plan.refusal == ""


def test_settings_that_have_no_effect_are_refused(bench: Bench, deployment: Deployment) -> None:
    others = {"interpreter": "/usr/bin/python3", "http_port": 20_000, "network": "shared"}
    refused = [name for name in others if not {name, f"{name}={others[name]}"} & bench.platform.settings]
    for name in refused:
        for attempt in (bench.platform.plan, lambda *those: bench.platform.deploy(*those, bench.results)):
            with pytest.raises(DeploymentError, match=f"{name}={others[name]} has no effect on platform"):
                attempt(deployment.graph, replace(bench.settings, **{name: others[name]}))  # type: ignore[arg-type]
    assert bench.platform.settings, "a platform that takes no setting is not seen to take one"


def test_replicas_are_told_apart(bench: Bench, deployment: Deployment) -> None:
    workers, (frontend,) = bench.workers(deployment), bench.platform.replicas(deployment, "Frontend")
    assert [(one.service, one.index, one.name) for one in workers] == [
        (WORKER, 0, f"{WORKER}-0"),
        (WORKER, 1, f"{WORKER}-1"),
    ]
    for what in ("key", "incarnation"):
        assert len({getattr(one, what) for one in [*workers, frontend]}) == 3
    assert all(str(one.incarnation) and one.node for one in workers)
    assert bench.workers(deployment) == workers, "nothing has changed"
    assert bench.platform.ended(deployment) == []


def test_replicas_are_on_nodes_of_the_platform(bench: Bench, deployment: Deployment) -> None:
    nodes = {node.name: node for node in bench.able(NodeHealth).nodes()}
    assert all(nodes[one.node].is_ready and nodes[one.node].is_schedulable for one in bench.workers(deployment))


@pytest.mark.parametrize("case", ONE_EACH, indirect=True)
def test_logs_grow_and_outlive_their_replicas(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    logs = {log.replica: log for log in bench.platform.logs(deployment, WORKER)}
    assert set(logs) == {f"{WORKER}-0", f"{WORKER}-1"}
    assert victim.log == logs[victim.name]
    log, before = victim.log, victim.log.mark()
    assert len(log.since()) == before > 0
    log.flush()
    kill(bench.platform, deployment, victim)
    again = bench.able(Replacing).respawn(deployment, victim)
    bench.able(Replacing).wait_ready(deployment, READY)
    again.log.flush()
    assert again.log == log
    assert len(log.since(before)) == log.mark() - before > 0
    assert log.since() == log.since()[:before] + log.since(before)


def test_metrics_are_told_by_replica(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    texts, problems = bench.platform.metrics(deployment, WORKER, "Frontend")
    assert set(texts) == {f"{WORKER}-0", f"{WORKER}-1", "Frontend-0"}
    assert all(any(family.samples for family in text_string_to_metric_families(text)) for text in texts.values())
    assert problems == []
    kill(bench.platform, deployment, victim)
    assert set(bench.platform.metrics(deployment, WORKER)[0]) == {f"{WORKER}-1"}


def test_an_unknown_service_is_named_with_those_that_exist(platform: Platform, deployment: Deployment) -> None:
    looks = [platform.replicas, platform.logs, platform.metrics]
    for look in looks:
        with pytest.raises(DeploymentError, match=r"no service 'Nobody'; it has \[.*\]") as error:
            look(deployment, "Nobody")
        assert all(f"'{service}'" in str(error.value) for service in deployment.graph.services)


def test_waiting_for_the_end_of_a_living_replica_gives_up(platform: Platform, victim: Replica) -> None:
    assert platform.wait_exit(victim, MOMENT) is None


def test_an_end_is_told_as_long_as_nothing_follows_it(bench: Bench, deployment: Deployment) -> None:
    platform, frontend = bench.platform, bench.frontend(deployment)
    kill(bench.platform, deployment, frontend)
    (ended,) = platform.ended(deployment)
    assert ended.replica == frontend
    assert ended.exit == platform.wait_exit(frontend, MOMENT)
    assert (ended.exit.signal, str(ended)) == (9, "Frontend-0 was killed by SIGKILL")
    assert platform.replicas(deployment, "Frontend") == []
    replacing = bench.able(Replacing)
    with pytest.raises(Unready, match=r"was not ready within 0\.2 s; .*; Frontend-0 was killed by SIGKILL, .* ago"):
        replacing.wait_ready(deployment, timedelta(seconds=0.2))
    replacing.respawn(deployment, frontend)
    assert platform.ended(deployment) == []
    replacing.wait_ready(deployment, READY)
    assert complete(deployment) == "12 13 14"


@pytest.mark.parametrize("case", ONE_EACH, indirect=True)
def test_respawning_ends_what_is_left_and_starts_once(bench: Bench, deployment: Deployment, victim: Replica) -> None:
    replacing = bench.able(Replacing)
    again = replacing.respawn(deployment, victim)
    assert again.incarnation != victim.incarnation
    assert replace(again, incarnation=victim.incarnation) == victim
    assert bench.platform.wait_exit(victim, SECONDS) is not None
    assert replacing.respawn(deployment, victim) == again
    replacing.wait_ready(deployment, READY)
    assert bench.workers(deployment)[0] == again
    assert bench.platform.ended(deployment) == []


def test_a_deployment_that_does_not_come_up_leaves_nothing(bench: Bench, deployment: Deployment) -> None:
    graph = deployment.graph
    with pytest.raises(DeploymentError, match=r"not ready within|had not|before the graph was ready") as error:
        bench.platform.deploy(graph, replace(bench.settings, timeout=timedelta(microseconds=1)), bench.results)
    assert not isinstance(error.value, Unready), "it never was ready, so this is no symptom"
    assert complete(deployment) == "12 13 14"


def test_platforms_are_called_as_they_are_asked_for(bench: Bench, case: tuple[str, DeploySettings]) -> None:
    assert bench.platform.name == case[0]
    assert isinstance(bench.platform.replaces_ended, bool)
    assert bench.platform.poll_s > 0
    assert {"local", "memory"} <= {name for name, _ in PLATFORMS.values()}
    assert json.dumps(sorted(bench.platform.settings))
