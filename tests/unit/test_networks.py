import errno
import os
import socket
from collections.abc import Iterator
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from replicas import make_replica

from DynamoFaultLibrary.errors import DeploymentError, FaultError, RecoveryError, Unsupported
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.faults.network import PartitionType, default_sides
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.keywords.network import bytes_per_second
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.net.filter import PacketFilter, Rule, Verdict
from DynamoFaultLibrary.net.namespace import HeldNamespace, create_namespace, inside
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import Direction, Partition, PartitionMode
from DynamoFaultLibrary.platforms.local.network import (
    POOL,
    SharedNetwork,
    _permitted,
    check_isolation,
    choose_subnet,
    leased_subnet,
)
from DynamoFaultLibrary.platforms.local.partition import plan_cut
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.processes import ProcessId

EVERYWHERE = IPv4Network("0.0.0.0/0")
SUBNETS = list(POOL.subnets(new_prefix=24))


@pytest.fixture
def namespace() -> Iterator[int]:
    try:
        check_isolation()
    except (Unsupported, DeploymentError) as reason:
        pytest.skip(str(reason))
    descriptor = create_namespace()
    yield descriptor
    os.close(descriptor)


@pytest.fixture
def packets(namespace: int) -> Iterator[PacketFilter]:
    with inside(namespace):
        found = PacketFilter()
    yield found
    found.close()


# Addresses


def test_each_subnet_is_offered_once_and_the_search_goes_round() -> None:
    offered = list(choose_subnet([], start=len(SUBNETS) - 2))
    assert offered == [SUBNETS[-2], SUBNETS[-1], *SUBNETS[:-2]]


@pytest.mark.parametrize("taken", ["10.201.0.0/24", "10.201.0.7/32", "10.201.0.0/17", "10.200.0.0/14"])
def test_a_subnet_that_this_machine_has_a_route_to_is_not_offered(taken: str) -> None:
    other = IPv4Network(taken)
    offered = list(choose_subnet([other], start=0))
    assert [subnet for subnet in offered if subnet.overlaps(other)] == []
    assert len(offered) == sum(not subnet.overlaps(other) for subnet in SUBNETS)


def test_two_leases_never_hold_the_same_subnet() -> None:
    with leased_subnet([]) as first:
        with leased_subnet([]) as second:
            assert first != second
        with leased_subnet([]) as third:
            assert third == second


def test_a_full_pool_is_an_error_that_says_where_to_look() -> None:
    with pytest.raises(DeploymentError, match="ip route"), leased_subnet([EVERYWHERE]):
        pass


# Arguments


@pytest.mark.parametrize(
    ("text", "expected"),
    [("8 bit", 1), ("64 kbit", 8_000), ("1.5 Mbit", 187_500), ("20mbit/s", 2_500_000), ("1 Gbit", 125_000_000)],
)
def test_a_rate_is_written_as_tc_does(text: str, expected: int) -> None:
    assert bytes_per_second(text) == expected


@pytest.mark.parametrize("text", ["", "fast", "64", "64 kB", "-1 kbit", "1 kbit 2"])
def test_anything_else_is_no_rate(text: str) -> None:
    with pytest.raises(FaultError, match="must be a bandwidth such as '64 kbit'"):
        bytes_per_second(text)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"loss": 0}, "loss must be from 1 to 100 percent, not 0"),
        ({"loss": 101}, "loss must be from 1 to 100 percent, not 101"),
        ({"rate": 0}, "rate must be 1 byte a second or more, not 0"),
        ({"loss": 5, "mode": PartitionMode.REJECT}, "they go with mode=drop, not with mode=reject"),
        ({"rate": 5, "mode": PartitionMode.RESET}, "they go with mode=drop, not with mode=reset"),
        ({"loss": 5, "rate": 5}, "either a loss or a rate"),
        ({"mode": PartitionMode.RESET, "direction": Direction.TO}, "mode=reset .* has no direction"),
    ],
)
def test_a_partition_that_contradicts_itself_is_refused(options: dict[str, object], message: str) -> None:
    with pytest.raises(FaultError, match=message):
        Partition([], [], **options)  # type: ignore[arg-type]


def test_replicas_that_share_a_host_cannot_be_cut_off(tmp_path: Path) -> None:
    partition = Partition([make_replica("Frontend")], [make_replica("PositionWorker")])
    with pytest.raises(FaultError, match=r"share this machine's loopback.*network=isolated"):
        plan_cut(SharedNetwork(), deployment("position-agg.yaml", tmp_path), partition)


def test_a_partition_parts_each_two_once_and_nobody_from_itself() -> None:
    one, other, third = (make_replica("PositionWorker", index) for index in range(3))
    both = Partition([one, other], [other, one, third])
    assert both.pairs == [(one, other), (one, third), (other, third)]
    with pytest.raises(FaultError, match="two sides, but source and target are both PositionWorker-0"):
        Partition([one], [make_replica("PositionWorker", 0, incarnation="another life")])


def deployment(graph: str, results: Path, *infrastructure: str) -> Deployment:
    loaded = Manifest.load(find_graph(graph)).graph()
    return Deployment("d", loaded, DeploySettings(), results, "", infrastructure=list(infrastructure))


DECODE, PREFILL = "VllmDecodeWorker", "VllmPrefillWorker"


@pytest.mark.parametrize(
    ("graph", "kind", "expected"),
    [
        ("position-agg.yaml", PartitionType.FRONTEND_WORKER, (["Frontend"], ["PositionWorker"])),
        ("mocker-vllm-disagg.yaml", PartitionType.FRONTEND_WORKER, (["Frontend"], [PREFILL, DECODE])),
        ("position-agg.yaml", PartitionType.WORKER_NATS, (["PositionWorker"], ["nats"])),
        ("position-agg.yaml", PartitionType.WORKER_WORKER, (["PositionWorker"], ["PositionWorker"])),
        ("mocker-vllm-disagg.yaml", PartitionType.WORKER_WORKER, ([PREFILL], [DECODE])),
    ],
)
def test_each_type_has_its_sides(
    graph: str, kind: PartitionType, expected: tuple[list[str], list[str]], tmp_path: Path
) -> None:
    assert default_sides(deployment(graph, tmp_path, "nats"), kind) == expected


def test_without_nats_nothing_is_cut_off_from_it(tmp_path: Path) -> None:
    with pytest.raises(FaultError, match="has no NATS; deploy the graph with request_plane=nats"):
        default_sides(deployment("position-agg.yaml", tmp_path), PartitionType.WORKER_NATS)


def test_both_sides_of_a_partition_must_be_within_the_blast_radius() -> None:
    radius = BlastRadius(services=["Frontend", "Worker"])
    radius.check("Partition Network", {"services": ["Frontend", "Worker"]}, [])
    with pytest.raises(FaultError, match="service 'nats' is refused"):
        radius.check("Partition Network", {"services": ["Worker", "nats"]}, [])


# Packet filters


def test_a_table_counts_each_rule_and_goes_as_a_whole(packets: PacketFilter) -> None:
    rules = [
        Rule("10.0.0.1", "10.0.0.2"),
        Rule("10.0.0.1", "10.0.0.2", Verdict.RESET),
        Rule("10.0.0.1", "10.0.0.2", Verdict.UNREACHABLE),
        Rule("10.0.0.1", "10.0.0.2", loss=30),
        Rule("10.0.0.1", "10.0.0.2", rate=1_000, burst=3_000),
    ]
    packets.add_table("one", rules, -1)
    packets.add_table("two", rules[:1], -2)
    assert packets.packets("one") == [0] * len(rules)
    assert packets.delete_table("one")
    assert packets.tables() == ["two"]
    assert packets.packets("one") == []
    assert not packets.delete_table("one")


def test_rules_that_the_kernel_refuses_leave_no_table(packets: PacketFilter) -> None:
    with pytest.raises(OSError, match="Invalid argument"):
        packets.add_table("wrong", [Rule("10.0.0.1", "10.0.0.2", rate=0)], 0)
    assert packets.tables() == []


# Undoing


def healing(descriptor: int, table: str = "cut-1") -> dict[str, object]:
    return {"action": "heal", "table": table, "namespace": HeldNamespace.of(descriptor).to_json()}


def test_healing_takes_one_filter_out_and_does_no_harm_twice(namespace: int, packets: PacketFilter) -> None:
    for name in ("cut-1", "cut-2"):
        packets.add_table(name, [Rule("10.0.0.1", "10.0.0.2")], 0)
    assert undo(healing(namespace)) == "packet filter taken out"
    assert packets.tables() == ["cut-2"]
    assert undo(healing(namespace)) == "packet filter was out"


def test_a_network_whose_holder_is_dead_is_healed(namespace: int) -> None:
    gone = ProcessId(2**22, 1)
    recipe = healing(namespace) | {"namespace": HeldNamespace(gone, 3, 1).to_json()}
    assert undo(recipe) == "its network is gone"


def test_a_descriptor_that_is_another_files_now_is_not_the_namespace(namespace: int, tmp_path: Path) -> None:
    held = HeldNamespace.of(namespace)
    with (tmp_path / "file").open("w") as file:
        other = HeldNamespace(held.holder, file.fileno(), held.inode)
        assert undo(healing(namespace) | {"namespace": other.to_json()}) == "its network is gone"


def test_a_heal_without_its_table_is_an_error() -> None:
    with pytest.raises(RecoveryError, match="lacks what its action needs: KeyError"):
        undo({"action": "heal"})


def test_a_link_that_is_gone_is_unlinked() -> None:
    assert undo({"action": "unlink", "link": "dynf-no-such"}) == "was gone"


def test_a_namespace_is_entered_and_left(namespace: int) -> None:
    here = os.stat("/proc/thread-self/ns/net").st_ino
    with inside(namespace):
        assert os.stat("/proc/thread-self/ns/net").st_ino == os.fstat(namespace).st_ino
        assert [name for _, name in socket.if_nameindex()] == ["lo"]
    assert os.stat("/proc/thread-self/ns/net").st_ino == here


@pytest.mark.parametrize("number", [errno.EMFILE, errno.ENFILE])
def test_too_many_open_files_are_no_lack_of_rights(number: int) -> None:
    """The test was skipped as 'not permitted' (row 26)."""
    netlink_error = type("NetlinkError", (Exception,), {"code": number})
    for error in (OSError(number, "too many"), netlink_error()):
        with pytest.raises(DeploymentError, match="too many open files") as raised, _permitted():
            raise error
        assert not isinstance(raised.value, Unsupported)
    with pytest.raises(Unsupported), _permitted():
        raise OSError(errno.EOPNOTSUPP, "no")
