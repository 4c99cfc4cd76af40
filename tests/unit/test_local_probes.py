"""Probes say what is wrong, and leave no process behind."""

from datetime import timedelta
from pathlib import Path

import pytest

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.platforms.local import probes
from DynamoFaultLibrary.platforms.local.probes import Probe
from DynamoFaultLibrary.processes import marked_processes

MARK = "A_PROBE_OF_A_TEST"


def probe(*command: str, mark: str) -> Probe:
    return Probe("Router", command=list(command), environment={"PATH": "/usr/bin:/bin", MARK: mark})


def test_a_command_that_succeeds(tmp_path: Path) -> None:
    assert probe("true", mark=str(tmp_path)).problem() == ""


@pytest.mark.parametrize(
    ("command", "said"),
    [
        (["sh", "-c", "exit 3"], "exit status 3"),
        (["no-such-program"], "[Errno 2] No such file or directory: 'no-such-program'"),
    ],
)
def test_a_command_that_fails(command: list[str], said: str, tmp_path: Path) -> None:
    assert probe(*command, mark=str(tmp_path)).problem() == said


def test_a_command_that_hangs_is_ended_with_all_that_it_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The time-out ended the shell, and its child slept on; each look left one more."""
    monkeypatch.setattr(probes, "_TIMEOUT", 0.5)
    asked = probe("sh", "-c", f"touch {tmp_path}/ran; sleep 1000 & wait", mark=str(tmp_path))
    assert asked.problem() == "it had not ended after 0.5 s"
    assert (tmp_path / "ran").exists()
    assert wait_until(lambda: marked_processes(MARK, str(tmp_path)) == [], timedelta(seconds=20))


def test_a_command_that_ends_leaves_nothing_either(tmp_path: Path) -> None:
    assert probe("sh", "-c", "sleep 1000 & exit 0", mark=str(tmp_path)).problem() == ""
    assert wait_until(lambda: marked_processes(MARK, str(tmp_path)) == [], timedelta(seconds=20))


def test_an_address_that_nobody_listens_at() -> None:
    assert "refused" in Probe("Router", address=("127.0.0.1", 1)).problem()
    assert "refused" in Probe("Router", url="http://127.0.0.1:1/").problem()
