"""Bad input gets one clear sentence, and nothing is left running."""

import pytest
from child import DATA, Run, Sandbox

EXPECTED = {
    "Graph File Is Missing": ("no graph file 'no-such-graph.yaml'", "shipped are", "position-agg.yaml"),
    "Graph File Is Not Yaml": ("not_yaml.yaml' is not YAML",),
    "Graph File Holds No Graph": ("must hold a DynamoGraphDeployment", "it is a Pod"),
    "Service Is Unknown": ("has no service 'VllmWorker'", "['Frontend', 'PositionWorker']"),
    "Replicas Are Zero": ("replicas must be 1 or more, not 0",),
    "Replicas Are Negative": ("replicas must be 1 or more, not -1",),
    "Port Is Taken": ("is taken by another process",),
    "Worker Dies At Start": ("PositionWorker-", "exit status 2", "unrecognized arguments: --no-such-option"),
    "Interpreter Is Missing": ("interpreter '/no/such/python' for Dynamo does not exist",),
    "Timeout Is Reached": ("was not ready within 0.05 s; last seen:",),
    "Etcd Members Are Two": ("etcd_members must be 1, 3 or 5, not 2",),
    # (row 14)
    "Etcd Members Are Of No Etcd": ("etcd_members=3 has no effect without discovery=etcd",),
    "Image Is For A Cluster": (
        "image=dynamo:1 has no effect on platform 'local': only platforms that run containers take it",
    ),
    # (row 38)
    "Port Is Beyond All": ("http_port must be from 1 to 65535, not 70000",),
    "Timeout Is Nothing": ("timeout must be above 0, not 0 s",),
    "Graph Is Misspelled": ("did you mean position-agg.yaml",),
    # (row 1)
    "Router Modes Are Two": ("router_mode=random and frontend_args say different things", "--router-mode=kv"),
    # (row 2)
    "Frontend Is A Script That Runs Another": ("'--router-mode' cannot be set on service 'Frontend'", "script"),
    # (row 19)
    "Log Hides Who Serves": ("the log of 'Frontend' does not tell which requests", "DYN_LOG=error"),
    "Log Hides Migrations": ("the log of 'Frontend' does not tell of migrations", "DYN_LOG=error"),
    "No Graph Is Deployed": ("no graph is deployed; call 'Deploy Graph' first",),
    "Process Name Matches Nothing": ("no process of PositionWorker-0 matches 'VLLM::EngineCore'", "running are"),
    "Replica Is Unknown": ("service 'PositionWorker' has no running replica '7'; running are [0, 1]",),
    "Fault Service Is Unknown": ("has no service 'NoSuchService'", "PositionWorker"),
    "Signal Is Unknown": ("'SIGFOO' is not a signal",),
    "Signal Does Not End A Process": ("SIGSTOP does not end a process; use 'Stall Process'",),
    "Nothing Is Stalled": ("no process of service 'PositionWorker' is stalled",),
    "Load Is Unknown": ("no load 'none' was started",),
    "Load Has Two Ends": ("exactly one of request_count, requests_per_client and duration",),
    "Log Is Of No Service": ("has no service 'NoSuchService'",),
    "Log Is Empty": ("Frontend-0.log' is empty",),
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return Sandbox(tmp_path_factory.mktemp("bad")).robot(DATA / "bad_input.robot")


@pytest.mark.parametrize("test", EXPECTED)
def test_the_message_says_what_was_wrong(bad: Run, test: str) -> None:
    outcome = bad.tests[test]
    assert outcome.status == "FAIL"
    missing = [part for part in EXPECTED[test] if part not in outcome.message]
    assert missing == [], outcome.message
    assert "Traceback" not in outcome.message


def test_every_bad_input_is_judged(bad: Run) -> None:
    assert set(bad.tests) == set(EXPECTED)


def test_nothing_is_left_running(bad: Run) -> None:
    assert bad.sandbox.leftovers() == []


def test_gpu_suites_are_skipped_with_the_reason(sandbox: Sandbox) -> None:
    run = sandbox.robot(DATA / "needs_gpu.robot")
    outcome = run.tests["Needs Two GPUs"]
    if outcome.status == "PASS":
        pytest.skip("this machine has two GPUs and vllm")
    assert outcome.status == "SKIP"
    assert "needs 2 NVIDIA GPUs, this machine has" in outcome.message
