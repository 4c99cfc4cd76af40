import os
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.platforms.local import ports
from DynamoFaultLibrary.platforms.local.ports import FIRST, LAST, PortLeases

ROOT = Path(__file__).parents[2]
TAKE = """
import sys
from DynamoFaultLibrary.platforms.local.ports import PortLeases
leases = PortLeases()
leases._next = int(sys.argv[1])
print(*(leases.take() for _ in range(20)), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def leases() -> Iterator[PortLeases]:
    made = PortLeases()
    yield made
    made.give_back(list(made._held))


@pytest.fixture
def others() -> Iterator[PortLeases]:
    made = PortLeases()
    yield made
    made.give_back(list(made._held))


def test_a_leased_port_can_be_listened_on(leases: PortLeases) -> None:
    port = leases.take()
    assert FIRST <= port < LAST
    with socket.create_server(("127.0.0.1", port)) as server:
        assert server.getsockname()[1] == port


def test_no_port_is_leased_twice(leases: PortLeases) -> None:
    taken = [leases.take() for _ in range(50)]
    assert len(set(taken)) == 50


def test_two_leases_of_one_process_never_share_a_port(leases: PortLeases, others: PortLeases) -> None:
    taken = [holder.take() for _ in range(25) for holder in (leases, others)]
    assert len(set(taken)) == 50


def test_two_processes_never_share_a_port(leases: PortLeases) -> None:
    own = [leases.take() for _ in range(20)]
    with subprocess.Popen(
        [sys.executable, "-c", TAKE, str(own[0])],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        theirs = [int(port) for port in other.stdout.readline().split()]
        later = [leases.take() for _ in range(20)]
        other.communicate(timeout=5)
    assert len(theirs) == 20
    assert not set(theirs) & {*own, *later}


def test_the_leases_of_a_process_end_with_it(leases: PortLeases) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", TAKE, str(FIRST)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as other:
        assert other.stdout is not None
        port = int(other.stdout.readline().split()[0])
        with pytest.raises(DeploymentError):
            leases.take_exactly(port)
        other.kill()
        other.wait(5)
    assert leases.take_exactly(port) == port


def test_a_port_that_somebody_listens_on_is_passed_over(leases: PortLeases, others: PortLeases) -> None:
    port = others.take()
    others.give_back([port])
    leases._next = port
    with socket.create_server(("127.0.0.1", port)):
        assert leases.take() != port


def test_a_port_can_be_leased_by_its_number(leases: PortLeases) -> None:
    port = leases.take()
    leases.give_back([port])
    assert leases.take_exactly(port) == port


def test_a_listened_port_is_taken(leases: PortLeases) -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        with pytest.raises(DeploymentError) as raised:
            leases.take_exactly(port)
    assert str(raised.value) == f"port {port} is taken by another process on this machine; see 'ss -ltnp'"


def test_a_port_leased_elsewhere_is_taken_though_nobody_listens(leases: PortLeases, others: PortLeases) -> None:
    port = others.take()
    with pytest.raises(DeploymentError, match=f"port {port} is taken"):
        leases.take_exactly(port)


def test_a_port_is_free_again_when_it_was_given_back(leases: PortLeases, others: PortLeases) -> None:
    port = others.take()
    others.give_back([port])
    assert leases.take_exactly(port) == port


def test_the_search_goes_on_at_the_beginning_of_the_range(leases: PortLeases) -> None:
    leases._next = LAST - 1
    taken = [leases.take() for _ in range(3)]
    assert all(FIRST <= port < LAST for port in taken)
    assert min(taken) < FIRST + 1000


def test_a_full_range_is_an_error(leases: PortLeases, monkeypatch: pytest.MonkeyPatch) -> None:
    first = leases.take()
    leases.give_back([first])
    monkeypatch.setattr(ports, "FIRST", first)
    monkeypatch.setattr(ports, "LAST", first + 1)
    leases._next = first
    assert leases.take() == first
    with pytest.raises(DeploymentError, match=f"no free TCP port between {first} and {first + 1} on this machine"):
        leases.take()
