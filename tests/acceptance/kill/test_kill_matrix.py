"""A fault always comes off: a run is ended in every way, at every step of a fault's life, and nothing is left."""

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
from child import DATA, ROOT, Sandbox

from DynamoFaultLibrary.clock import monotonic, wait_until
from DynamoFaultLibrary.processes import read_command

HERE = Path(__file__).parent
WITHIN = 5.0
"""Seconds after the kill by which nothing may be left."""
STEPS = ("intent", "inject", "active", "undo")
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGKILL)
VICTIMS = ("robot", "pabot", "launcher", "supervisor", "load")
ROUNDS = int(os.environ.get("KILL_ROUNDS", "8"))
SEED = int(os.environ.get("KILL_SEED", random.SystemRandom().randrange(10**6)))
GENTLE_PABOT = 25.0
"""Pabot and launcher end robots step by step when they are asked to end; see the module launcher."""


def start(sandbox: Sandbox, runner: str, step: str | None) -> subprocess.Popen[str]:
    """Start the suite under plain robot, plain pabot, or the launcher.

    Without a step the kill may come before our library is loaded. Nobody then ends the server of a plain pabot, so
    that goes without.
    """
    environment = {
        "PYTHONPATH": f"{HERE}{os.pathsep}{ROOT}",
        "KILL_MARK": str(mark_of(sandbox)),
        **({"KILL_STEP": step} if step else {}),
    }
    suite = DATA / "killed.robot"
    if runner == "robot":
        return sandbox.start("--outputdir", sandbox.results, suite, **environment)
    if runner == "pabot":
        server = ("--pabotlibport", "0") if step else ("--no-pabotlib",)
        options = ("--command", sys.executable, "-m", "robot", "--end-command", *server)
        return sandbox.start(*options, "--outputdir", sandbox.results, suite, module="pabot.pabot", **environment)
    return sandbox.start("run", "--outputdir", sandbox.results, suite, module="DynamoFaultLibrary.cli", **environment)


def mark_of(sandbox: Sandbox) -> Path:
    return sandbox.base / "halted"


def find(sandbox: Sandbox, child: subprocess.Popen[str], victim: str) -> int:
    """The pid to kill."""
    if victim == "launcher":
        return child.pid
    words = {
        "robot": "-m robot ",
        "pabot": "-m pabot.pabot ",
        "supervisor": "platforms.local.supervisor",
        "load": "load.sender",
    }[victim]
    found = [pid for pid in sandbox.processes() if words in read_command(pid) + " "]
    assert found, f"no {victim} among {[read_command(pid) for pid in sandbox.processes()]}"
    return min(found)


def runner_for(victim: str) -> str:
    return {"launcher": "launcher", "pabot": "pabot"}.get(victim, "robot")


@pytest.mark.parametrize("victim", VICTIMS)
@pytest.mark.parametrize("step", STEPS)
@pytest.mark.parametrize("number", SIGNALS)
def test_nothing_is_left(sandbox: Sandbox, victim: str, step: str, number: signal.Signals) -> None:
    child = start(sandbox, runner_for(victim), step)
    assert wait_until(mark_of(sandbox).exists, 60.0), "the run did not reach its step"
    os.kill(find(sandbox, child, victim), number)
    ends_at_once = victim in ("robot", "pabot", "launcher") and number is signal.SIGKILL
    if not ends_at_once:
        mark_of(sandbox).unlink()  # the run goes on to its own end, whatever the signal has done to it
    expect_clean(sandbox, child, WITHIN if ends_at_once else GENTLE_PABOT)


def test_by_ledger_alone_when_supervisor_and_robot_are_killed_together(sandbox: Sandbox) -> None:
    child = start(sandbox, "robot", "active")
    assert wait_until(mark_of(sandbox).exists, 60.0)
    for victim in ("supervisor", "robot"):
        os.kill(find(sandbox, child, victim), signal.SIGKILL)
    expect_clean(sandbox, child, WITHIN)


def test_the_command_recovers_after_everything_was_killed(sandbox: Sandbox) -> None:
    child = start(sandbox, "launcher", "active")
    assert wait_until(mark_of(sandbox).exists, 60.0)
    ours = [child.pid, *sandbox.processes()]
    for pid in ours:
        psutil.Process(pid).suspend()
    for pid in ours:
        os.kill(pid, signal.SIGKILL)
    child.communicate(timeout=10)
    assert wait_until(lambda: sandbox.processes() == [], WITHIN)
    command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "recover", "--all"]
    answer = subprocess.run(command, env=sandbox.environment, capture_output=True, text=True, check=False, timeout=30)
    assert answer.returncode == 0, answer.stderr
    assert "stall-process-" in answer.stdout
    assert sandbox.leftovers() == []


@pytest.mark.parametrize("number", range(ROUNDS))
def test_nothing_is_left_at_a_random_moment(sandbox: Sandbox, number: int) -> None:
    chance = random.Random(SEED + number)  # noqa: S311  # repeatable, not secret
    runner = chance.choice(["robot", "pabot", "launcher"])
    delay = chance.uniform(0.0, 4.0)
    print(f"seed {SEED}, round {number}: SIGKILL to {runner} after {delay:.3f} s")
    child = start(sandbox, runner, None)
    with_deadline = monotonic() + delay
    wait_until(lambda: monotonic() >= with_deadline or child.poll() is not None, delay + 1)
    if child.poll() is None:
        os.kill(child.pid, signal.SIGKILL)
    expect_clean(sandbox, child, WITHIN)


def expect_clean(sandbox: Sandbox, child: subprocess.Popen[str], within: float) -> None:
    """Nothing of the run is left within so many seconds."""
    is_clean = wait_until(lambda: sandbox.leftovers() == [], within, 0.05)
    left = sandbox.leftovers()
    console, _ = child.communicate(timeout=30)
    assert is_clean, (left, console)
