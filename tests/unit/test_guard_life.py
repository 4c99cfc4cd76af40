"""A guard of a platform that hosts nothing: its faults come off, whoever is killed."""

import os
import signal
import sys
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.guard.client import GuardClient
from DynamoFaultLibrary.guard.job import is_guard
from DynamoFaultLibrary.ledger import Ledger, read_ledger
from DynamoFaultLibrary.ledger.recovery import GONE_WITH_DEPLOYMENT
from DynamoFaultLibrary.owner import is_fresh
from DynamoFaultLibrary.plugins import GROUP
from DynamoFaultLibrary.processes import all_pids, read_command

Eventually = Callable[[Callable[[], bool]], None]
UNDOERS = """
from pathlib import Path

import psutil  # stands for what a platform needs from where packages are installed

from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.ledger.undo import Rank, Undoer


def restore(recipe):
    path = Path(recipe["path"])
    path.write_text("as before")
    if path.read_text() != "as before":
        raise RecoveryError(f"'{path}' is not as it was before")
    return f"restored {path.name}"


def refuse(recipe):
    raise RecoveryError("the shelf is locked")


UNDOERS = {
    "refuse": Undoer(refuse, Rank.FAULT),
    "restore": Undoer(restore, Rank.FAULT),
    "replace": Undoer(restore, Rank.REPLACEMENT, goes_with_deployment=True),
}
"""
CLIENT = """
import sys
from datetime import timedelta
from pathlib import Path

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.errors import DeploymentError, RecoveryError
from DynamoFaultLibrary.guard.client import GuardClient
from DynamoFaultLibrary.ledger import Ledger, Owner, State

path, action, lifetime = Path(sys.argv[1]), sys.argv[2], timedelta(seconds=float(sys.argv[3]))
ledger = Ledger("run-1", Owner.current())
guard = GuardClient(ledger)
recipe = {"platform": "shelf", "action": action, "path": str(path)}
entry = ledger.intend("Spoil File", {"file": path.name}, recipe, expires_at=utc_now() + lifetime)
path.write_text("spoilt")
guard.guard(ledger.mark(entry, State.ACTIVE))
print("guarded", flush=True)
for line in sys.stdin:
    try:
        guard.guard(entry)
    except DeploymentError as error:
        print(error, flush=True)
try:
    guard.close()
except RecoveryError as error:
    print(error, flush=True)
"""
WHOLE_RUN = "600"
"""Seconds that no test takes."""


class Spoilt:
    """A file that a client of a guard has spoilt, and is to hold its old content again."""

    def __init__(
        self, place: Path, start: Callable[..., Any], action: str = "restore", lifetime: str = WHOLE_RUN
    ) -> None:
        self.file = place / "file"
        self.client = start(sys.executable, "-c", CLIENT, str(self.file), action, lifetime)
        assert self.client.line() == "guarded"
        self.ledger = place / "state" / "runs" / "run-1.jsonl"

    @property
    def guards(self) -> list[int]:
        """The guard and its sentinel, as long as they live."""
        of_client = f'"client": {{"pid": {self.client.pid},'
        return [pid for pid in all_pids() if is_guard(pid) and of_client in read_command(pid)]

    @property
    def guard(self) -> int:
        """The one of both that started the other."""
        return next(pid for pid in self.guards if psutil.Process(pid).ppid() not in self.guards)

    @property
    def entry(self) -> tuple[str, str]:
        """What the ledger says."""
        (entry,) = read_ledger(self.ledger).entries.values()
        return entry.state.value, entry.detail

    @property
    def leases(self) -> int:
        return len(list(self.ledger.parent.glob("*.lease")))


@pytest.fixture
def spoil(tmp_path: Path, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Spoilt]:
    """Spoils a file on platform `shelf`, which another distribution brings along."""
    plugin = tmp_path / "plugin"
    (plugin / "shelf").mkdir(parents=True)
    (plugin / "shelf" / "__init__.py").touch()
    (plugin / "shelf" / "undoers.py").write_text(UNDOERS)
    (plugin / "shelf-1.dist-info").mkdir()
    (plugin / "shelf-1.dist-info" / "METADATA").write_text("Metadata-Version: 2.1\nName: shelf\nVersion: 1\n")
    (plugin / "shelf-1.dist-info" / "entry_points.txt").write_text(f"[{GROUP}]\nshelf = shelf\n")
    monkeypatch.setenv("PYTHONPATH", f"{plugin}:{Path(__file__).parents[2]}")
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    return partial(Spoilt, tmp_path, start)


def test_a_fault_comes_off_at_its_expiry(spoil: Callable[..., Spoilt], eventually: Eventually) -> None:
    spoilt = spoil(lifetime="0.2")
    eventually(lambda: spoilt.entry == ("recovered", "its time was over: restored file"))
    assert spoilt.file.read_text() == "as before"
    assert spoilt.client.identity.is_running
    assert len(spoilt.guards) == 2


@pytest.mark.parametrize(
    "end",
    [lambda client: client.release(), lambda client: client.identity.send(signal.SIGKILL)],
    ids=["by itself", "killed"],
)
def test_a_fault_comes_off_when_robot_ends(
    spoil: Callable[..., Spoilt], eventually: Eventually, end: Callable[[Any], None]
) -> None:
    spoilt = spoil()
    assert spoilt.file.read_text() == "spoilt"
    end(spoilt.client)
    eventually(lambda: spoilt.guards == [])
    assert spoilt.file.read_text() == "as before"
    assert spoilt.entry == ("recovered", "the run ended: restored file")


def test_a_fault_comes_off_when_its_guard_is_killed(spoil: Callable[..., Spoilt], eventually: Eventually) -> None:
    spoilt = spoil()
    os.kill(spoilt.guard, signal.SIGKILL)
    eventually(lambda: spoilt.guards == [])
    assert spoilt.file.read_text() == "as before"
    assert spoilt.entry == ("recovered", "restored file")
    spoilt.client.say("again")
    assert spoilt.client.line().startswith("the guard is gone (Broken pipe); see ")


def test_robot_is_told_what_is_left_when_its_guard_was_killed(
    spoil: Callable[..., Spoilt], eventually: Eventually
) -> None:
    spoilt = spoil(action="refuse")
    os.kill(spoilt.guard, signal.SIGKILL)
    eventually(lambda: spoilt.guards == [])
    spoilt.client.say("again")
    assert "is not undone: the shelf is locked; see " in spoilt.client.line()
    assert spoilt.entry[0] == "active"


def test_robot_is_told_what_is_left_when_its_run_ends(spoil: Callable[..., Spoilt]) -> None:
    spoilt = spoil(action="refuse")
    spoilt.client.release()
    assert spoilt.client.line().endswith("is not undone: the shelf is locked")


def test_a_fault_comes_off_when_robot_and_guard_are_killed(
    spoil: Callable[..., Spoilt], eventually: Eventually
) -> None:
    spoilt = spoil()
    for pid in (spoilt.client.pid, spoilt.guard):
        os.kill(pid, signal.SIGKILL)
    eventually(lambda: spoilt.guards == [])
    assert spoilt.file.read_text() == "as before"
    assert spoilt.entry[0] == "recovered"


def test_a_sentinel_that_was_killed_is_replaced(spoil: Callable[..., Spoilt], eventually: Eventually) -> None:
    spoilt = spoil()
    guard = spoilt.guard
    (sentinel,) = {*spoilt.guards} - {guard}
    os.kill(sentinel, signal.SIGKILL)
    eventually(lambda: len(spoilt.guards) == 2 and sentinel not in spoilt.guards)
    os.kill(guard, signal.SIGKILL)
    eventually(lambda: spoilt.guards == [])
    assert spoilt.file.read_text() == "as before"


def test_what_goes_with_its_deployment_is_not_undone_when_the_run_ends(
    spoil: Callable[..., Spoilt], eventually: Eventually
) -> None:
    spoilt = spoil(action="replace")
    spoilt.client.release()
    eventually(lambda: spoilt.guards == [])
    assert spoilt.file.read_text() == "spoilt"
    assert spoilt.entry == ("recovered", GONE_WITH_DEPLOYMENT)


def test_what_goes_with_its_deployment_is_undone_at_its_expiry(
    spoil: Callable[..., Spoilt], eventually: Eventually
) -> None:
    spoilt = spoil(action="replace", lifetime="0.2")
    eventually(lambda: spoilt.entry[0] == "recovered")
    assert spoilt.file.read_text() == "as before"


def test_the_guard_ends_the_lease_of_its_owner(spoil: Callable[..., Spoilt], eventually: Eventually) -> None:
    spoilt = spoil()
    eventually(lambda: spoilt.leases == 1)
    spoilt.client.release()
    eventually(lambda: spoilt.guards == [])
    assert spoilt.leases == 0


def test_nobody_ends_the_lease_of_a_guard_that_was_killed(spoil: Callable[..., Spoilt], eventually: Eventually) -> None:
    """Robot lives, and may start another guard; the lease ends by itself."""
    spoilt = spoil()
    eventually(lambda: spoilt.leases == 1)
    os.kill(spoilt.guard, signal.SIGKILL)
    eventually(lambda: spoilt.guards == [])
    assert spoilt.leases == 1


def test_what_a_guard_logs_is_for_its_owner_alone(ledger: Ledger) -> None:
    client = GuardClient(ledger)
    client.close()
    assert client.log.stat().st_mode & 0o777 == 0o600


def test_a_guard_that_cannot_be_started_gets_a_sentence(ledger: Ledger) -> None:
    """Such as on a full disk: it was a raw OSError."""
    ledger.make_place()
    ledger.path.with_suffix(f".{os.getpid()}.log").mkdir()
    with pytest.raises(DeploymentError, match=r"^the guard cannot be started with log '.*\.log': Is a directory$"):
        GuardClient(ledger)


def test_a_guard_that_does_not_start_gets_a_sentence(
    tmp_path: Path, ledger: Ledger, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It was `TimeoutExpired`, with its whole command line."""
    (tmp_path / "idle.py").write_text("import signal; signal.pause()")
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    monkeypatch.setattr(GuardClient, "module", "idle")
    client = GuardClient(ledger)
    assert is_fresh(ledger.lease(ledger.owner)), "what robot does meanwhile is not undone elsewhere"
    with pytest.raises(DeploymentError, match=r"^the guard has not started in 0\.05 s; see .*\.log$"):
        client.call("release", 0.05, identity="none")
    client._launcher.kill()
    client._launcher.wait()
    with pytest.raises(DeploymentError, match=r"^the guard is gone \(.*\); see .*\.log$"):
        client.call("release", identity="none")
    client.close()
