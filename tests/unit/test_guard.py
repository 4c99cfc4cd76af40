"""The guard's loop, and that nothing which fails to come off ends it."""

import logging
import math
import os
import socket
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, cast

import pytest
from guarding import guarded, state_of

from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.guard.guard import Guard
from DynamoFaultLibrary.guard.job import Job
from DynamoFaultLibrary.guard.loop import Loop
from DynamoFaultLibrary.guard.messages import Messages
from DynamoFaultLibrary.guard.sentinel import Sentinel
from DynamoFaultLibrary.ledger import Ledger, Owner, State
from DynamoFaultLibrary.processes import ProcessId


def test_a_deadline_in_the_far_future_does_not_end_the_loop() -> None:
    """`OverflowError: timeout is too large` ended the supervisor with its graphs (row 22)."""
    loop, seen = Loop(), []
    loop.call_later("far", 1e12, lambda: seen.append("far"))
    loop.call_later("never", math.inf, lambda: seen.append("never"))
    reading, writing = os.pipe()

    def stop() -> None:
        loop.running = False

    loop.watch(reading, stop)
    os.write(writing, b"!")
    loop.run()
    os.close(reading)
    os.close(writing)
    assert seen == []


def test_a_deadline_that_another_one_cancels_or_moves_is_not_met() -> None:
    """Those that were due at the same moment ran all the same (row 23)."""
    loop, seen = Loop(), []

    def first() -> None:
        seen.append("first")
        loop.cancel("cancelled")
        loop.call_later("moved", 1e6, lambda: seen.append("moved"))
        loop.running = False

    loop.call_later("first", -1, first)
    loop.call_later("cancelled", -1, lambda: seen.append("cancelled"))
    loop.call_later("moved", -1, lambda: seen.append("moved too early"))
    loop.run()
    assert seen == ["first"]


def test_what_fails_when_it_is_due_does_not_end_the_loop(caplog: pytest.LogCaptureFixture) -> None:
    loop = Loop()

    def stop() -> None:
        loop.running = False

    loop.call_later("bad", -1, lambda: struct.unpack("i", b""))
    loop.call_later("good", -1, stop)
    with caplog.at_level(logging.ERROR):
        loop.run()
    assert "what was due for 'bad' failed" in caplog.text


@pytest.fixture
def guard(ledger: Ledger) -> Iterator[Guard]:
    ours, theirs = socket.socketpair()
    job = Job(theirs.fileno(), ledger.run, ProcessId.current())
    yield Guard(job, ledger, Sentinel(ledger, job.descriptor), Messages(theirs))
    ours.close()
    theirs.close()


@pytest.mark.parametrize("error", [OSError(5, "input/output error"), MemoryError(), RuntimeError("odd")])
def test_an_undo_that_breaks_in_any_way_is_tried_again_at_the_end(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    """An OSError ended the guard (row 23)."""
    entry = guarded(guard, {"action": "continue", "processes": []})
    with monkeypatch.context() as patch:

        def fail(*ignored: Any) -> str:
            raise error

        patch.setattr("DynamoFaultLibrary.guard.guard.undo", fail)
        guard._expire(entry.id)
        assert state_of(guard, entry)[0] == "intent"
        assert list(guard.guarded) == [entry.id]
    guard._finish()
    assert state_of(guard, entry)[0] == "recovered"


@pytest.mark.parametrize("recipe", [{"action": "strat"}, {"platform": "moon", "action": "land"}, {}])
def test_what_nobody_can_undo_is_not_guarded(guard: Guard, recipe: dict[str, Any]) -> None:
    """It was injected and proven, and never came off."""
    with pytest.raises(RecoveryError, match=r"platform '(local|moon)'"):
        guarded(guard, recipe)
    assert guard.guarded == {}


def test_a_fault_that_was_released_does_not_expire(guard: Guard) -> None:
    entry = guarded(guard, {"action": "continue", "processes": []})
    guard.call_release(entry.id)
    guard._expire(entry.id)
    assert state_of(guard, entry)[0] == "intent"


def test_the_end_of_a_run_undoes_what_only_the_ledger_knows(guard: Guard) -> None:
    entry = guard.ledger.intend("Stall Process", {}, {"action": "continue", "processes": []})
    guard._finish()
    assert state_of(guard, entry)[0] == State.RECOVERED


def test_a_sentinel_that_cannot_be_started_again_does_not_end_the_guard(
    guard: Guard, eventually: Callable[[Callable[[], bool]], None], caplog: pytest.LogCaptureFixture
) -> None:
    """Where processes run out, all graphs went with it (kin of row 23)."""
    pid = os.posix_spawn("/bin/true", ["true"], {})

    class Refused:
        def __init__(self) -> None:
            self.pid = pid

        def start(self) -> None:
            raise BlockingIOError(11, "Resource temporarily unavailable")

    guard.sentinel = cast("Sentinel", Refused())

    def is_told() -> bool:
        guard.reap()
        return "no sentinel can be started" in caplog.text

    eventually(is_told)


def test_the_lease_of_the_runs_owner_is_renewed_again_and_again(
    guard: Guard, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    renewed: list[Path] = []

    def renew(lease: Path) -> None:
        renewed.append(lease)
        guard.loop.running = len(renewed) < 3
        if len(renewed) == 1:
            raise OSError(28, "No space left on device")

    monkeypatch.setattr("DynamoFaultLibrary.guard.guard.renew", renew)
    monkeypatch.setattr("DynamoFaultLibrary.guard.guard.RENEWAL_S", 0.0)
    guard.loop.call_later("lease", 0.0, guard._renew_lease)
    guard.loop.run()
    assert renewed == [guard.ledger.lease(Owner.current())] * 3
    assert "what was due for 'lease' failed" in caplog.text
