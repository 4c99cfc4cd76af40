"""Partitions that cannot be get one clear sentence each, and nothing is left of them."""

import pytest
from child import DATA, Run, Sandbox

from DynamoFaultLibrary.errors import Unsupported
from DynamoFaultLibrary.platforms.local.network import check_isolation

EXPECTED = {
    "A Service And Itself": ("a partition needs two sides, but source and target are both 'PositionWorker'",),
    "A Replica And Itself": ("a partition needs two sides, but source and target are both 'PositionWorker'",),
    "A Service Is Unknown": ("has no service 'NoSuchService'; it has", "PositionWorker"),
    "A Replica Is Unknown": ("service 'PositionWorker' has no running replica '7'; running are [0, 1]",),
    "A Side Is Missing": ("a partition of type CUSTOM needs both source and target",),
    "A Type Is Unknown": ("PartitionType does not have member 'EVERYTHING'", "'WORKER_NATS'"),
    "A Rate Is No Rate": ("rate must be a bandwidth such as '64 kbit' or '1.5 Mbit', not 'fast'",),
    "A Loss With Reject": ("they go with mode=drop, not with mode=reject",),
    "A Reset With A Direction": ("mode=reset cuts connections at both ends, so it has no direction",),
    "A Duration Of Nothing": ("duration must be above 0 s and at most 24 h, not 0 s",),
    "Nothing Is Partitioned": ("no network partition is in effect; active are []",),
    "Beyond The Blast Radius": ("on service 'etcd' is refused", "['Frontend', 'PositionWorker', 'nats']"),
    "One Worker Only": ("a partition needs two sides, but source and target are both PositionWorker-0",),
    "No Nats": ("has no NATS; deploy the graph with request_plane=nats or event_plane=nats",),
    "A Shared Network": ("share this machine's loopback", "deploy the graph with network=isolated"),
}


@pytest.fixture(scope="module")
def bad(tmp_path_factory: pytest.TempPathFactory) -> Run:
    try:
        check_isolation()
    except Unsupported as reason:
        pytest.skip(str(reason))
    return Sandbox(tmp_path_factory.mktemp("bad")).robot(DATA / "bad_partitions.robot")


@pytest.mark.parametrize("test", EXPECTED)
def test_the_message_says_what_was_wrong(bad: Run, test: str) -> None:
    outcome = bad.tests[test]
    assert outcome.status == "FAIL"
    missing = [part for part in EXPECTED[test] if part not in outcome.message]
    assert missing == [], outcome.message
    assert "Traceback" not in outcome.message


def test_every_bad_partition_is_judged(bad: Run) -> None:
    assert set(bad.tests) == set(EXPECTED)


def test_nothing_is_left(bad: Run) -> None:
    assert bad.sandbox.leftovers() == []
