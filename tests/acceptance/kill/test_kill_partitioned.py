"""A partition always comes off, and its network with it: a run is ended in every way while one is on."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from child import DATA, Sandbox

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import Unsupported
from DynamoFaultLibrary.ledger.entry import Entry
from DynamoFaultLibrary.net.links import link_exists
from DynamoFaultLibrary.platforms.local.network import check_isolation
from DynamoFaultLibrary.processes import read_command

WITHIN = 5.0
"""Seconds after the kill by which nothing may be left."""
GENTLE = 15.0
"""The same, for a run that goes on to its own end."""
VICTIMS = {
    "robot": ("-m robot ",),
    "supervisor": ("platforms.local.supervisor",),
    "supervisor and robot": ("platforms.local.supervisor", "-m robot "),
}


@pytest.fixture(autouse=True)
def isolation() -> None:
    try:
        check_isolation()
    except Unsupported as reason:
        pytest.skip(str(reason))


def start(sandbox: Sandbox) -> subprocess.Popen[str]:
    child = sandbox.start("--outputdir", sandbox.results, DATA / "partitioned.robot")
    is_there = wait_until(lambda: (sandbox.results / "partitioned").exists() or child.poll() is not None, 60.0)
    assert is_there, "the run did not get to its partition"
    assert child.poll() is None, child.communicate()[0]
    assert link_exists(network(sandbox).target["link"])
    return child


def network(sandbox: Sandbox) -> Entry:
    """The ledger's entry of the run's network."""
    (ledger,) = sandbox.ledgers()
    return next(entry for entry in ledger.entries.values() if entry.kind == "network")


def find(sandbox: Sandbox, words: str) -> int:
    return min(pid for pid in sandbox.processes() if words in read_command(pid) + " ")


@pytest.mark.parametrize("victims", VICTIMS)
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_nothing_is_left(sandbox: Sandbox, victims: str, number: signal.Signals) -> None:
    child = start(sandbox)
    for pid in [find(sandbox, words) for words in VICTIMS[victims]]:
        os.kill(pid, number)
    ends_at_once = number is signal.SIGKILL and "robot" in victims
    if not ends_at_once:
        (sandbox.results / "partitioned").unlink()
    expect_clean(sandbox, child, WITHIN if ends_at_once else GENTLE)


def test_the_network_goes_with_its_processes_when_all_are_killed_at_once(sandbox: Sandbox) -> None:
    child = start(sandbox)
    ours = [child.pid, *sandbox.processes()]
    for pid in ours:
        psutil.Process(pid).suspend()
    for pid in ours:
        os.kill(pid, signal.SIGKILL)
    child.communicate(timeout=10)
    link = network(sandbox).target["link"]
    assert wait_until(lambda: not link_exists(link), WITHIN), "the kernel has kept the network"
    command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "recover", "--all"]
    answer = subprocess.run(command, env=sandbox.environment, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 0, answer.stderr
    assert "partition-network-" in answer.stdout
    assert sandbox.leftovers() == []


def test_the_command_heals_the_partition_of_a_living_run(sandbox: Sandbox) -> None:
    child = start(sandbox)
    command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "recover", "--all", "--force"]
    answer = subprocess.run(command, env=sandbox.environment, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 0, answer.stderr
    (ledger,) = sandbox.ledgers()
    partition = next(entry for entry in ledger.entries.values() if entry.is_fault)
    assert partition.detail == "packet filter taken out"
    os.kill(find(sandbox, VICTIMS["robot"][0]), signal.SIGKILL)
    expect_clean(sandbox, child, WITHIN)


def expect_clean(sandbox: Sandbox, child: subprocess.Popen[str], within: float) -> None:
    is_clean = wait_until(lambda: sandbox.leftovers() == [], within, 0.05)
    left = sandbox.leftovers()
    console, _ = child.communicate(timeout=30)
    assert is_clean, (left, console)
