"""Whose life entries are bound to: seen on its own machine, after that has started anew, and from another one."""

import os
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.owner import LEASE_S, Owner, is_fresh, renew, this_boot
from DynamoFaultLibrary.processes import ProcessId

AWAY = "a-host-that-is-not-this-one"
ELDER = Owner.from_json({"pid": 1, "started": 1, "host": AWAY})
"""As versions wrote it that knew no boots."""


@pytest.fixture
def lease(tmp_path: Path) -> Path:
    return tmp_path / "run.lease"


def age(lease: Path, seconds: float) -> None:
    """Have a lease be older, by the clock of its file system."""
    moment = renew(lease) - seconds
    os.utime(lease, (moment, moment))


def test_an_owner_lives_as_long_as_its_process(sleeper: Any, lease: Path) -> None:
    owner = Owner(sleeper.identity)
    assert owner.is_alive(lease)
    renew(lease)
    sleeper.process.kill()
    sleeper.process.wait(5)
    assert not owner.is_alive(lease)


def test_an_owner_whose_pid_is_another_process_now_is_dead(sleeper: Any, lease: Path) -> None:
    assert not Owner(ProcessId(sleeper.pid, sleeper.identity.started - 1)).is_alive(lease)


def test_an_owner_from_before_this_machine_started_is_dead_whoever_has_its_pid_now(sleeper: Any, lease: Path) -> None:
    assert this_boot()
    owner = Owner(sleeper.identity, boot="another")
    assert owner.was_here_before
    assert not owner.is_alive(lease)


def test_an_owner_in_a_container_of_this_machines_name_is_alive_while_its_lease_is_renewed(lease: Path) -> None:
    """Its pid means nothing here, so the faults of a living run were called undone, and its directories removed."""
    owner = Owner(ProcessId(2**22, 1), pid_space="pid:[1]")
    assert not owner.is_here
    assert owner.machine == f"{os.uname().nodename}, pid:[1]"
    assert not owner.is_alive(lease)
    renew(lease)
    assert owner.is_alive(lease)


def test_an_owner_on_another_machine_of_this_ones_name_is_alive_while_its_lease_is_renewed(lease: Path) -> None:
    owner = Owner(ProcessId(2**22, 1), boot="another", pid_space="pid:[1]")
    assert (owner.is_here, owner.machine) == (True, os.uname().nodename)
    assert not owner.is_alive(lease)
    renew(lease)
    assert owner.is_alive(lease)


def test_an_owner_has_a_boot_also_where_the_kernel_tells_none(monkeypatch: pytest.MonkeyPatch, lease: Path) -> None:
    """Elsewhere it would live for ever, as those of versions that knew no boots."""

    def refuse(path: Path, encoding: str) -> str:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "read_text", refuse)
    assert not Owner(ProcessId(2**22, 1), AWAY, boot=this_boot.__wrapped__()).is_alive(lease)


def test_an_owner_of_a_version_that_knew_no_boots_is_read_as_before(sleeper: Any, lease: Path) -> None:
    here = Owner.from_json({**sleeper.identity.to_json(), "host": os.uname().nodename})
    assert here.is_alive(lease)
    assert not here.was_here_before
    assert not Owner(ProcessId(sleeper.pid, 1), boot="").is_alive(lease)
    assert ELDER.is_alive(lease)


def test_an_owner_on_another_machine_is_alive_while_its_lease_is_renewed(sleeper: Any, lease: Path) -> None:
    """It counted as alive for ever, though containers and machines go (issue 12)."""
    owner = Owner(sleeper.identity, AWAY)
    assert not owner.is_alive(lease)
    renew(lease)
    assert owner.is_alive(lease)
    age(lease, LEASE_S + 1)
    assert not owner.is_alive(lease)
    renew(lease)
    assert owner.is_alive(lease)
    lease.unlink()
    assert not owner.is_alive(lease)


def test_a_lease_is_judged_by_the_clock_of_its_file_system(lease: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    renew(lease)
    monkeypatch.setattr("time.time", lambda: 0.0)
    assert is_fresh(lease)
    age(lease, LEASE_S - 10)
    assert is_fresh(lease)
    for seconds in (LEASE_S + 1, -LEASE_S - 1):  # the clock was set back by more than that
        age(lease, seconds)
        assert not is_fresh(lease)
    assert list(lease.parent.iterdir()) == [lease]


def test_a_lease_counts_as_fresh_where_the_time_is_not_to_be_had(lease: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    age(lease, LEASE_S + 1)

    def refuse(path: Path) -> float:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr("DynamoFaultLibrary.owner.renew", refuse)
    assert is_fresh(lease)


def test_only_its_owner_may_read_a_lease(lease: Path) -> None:
    renew(lease)
    assert lease.stat().st_mode & 0o777 == 0o600


def test_each_owner_has_a_lease_of_its_own_beside_the_ledger(ledger: Ledger) -> None:
    owners = [ledger.owner, Owner(ledger.owner.process, "a/b c"), Owner(ProcessId(4711, 1))]
    leases = [ledger.lease(owner) for owner in owners]
    assert len(set(leases)) == len(owners)
    assert {lease.parent for lease in leases} == {ledger.path.parent}
    assert leases[1].name.startswith("run-1.a_b_c-")
    assert not any(lease.name.endswith(".jsonl") for lease in leases)


def test_an_owner_is_read_back_from_a_ledger() -> None:
    for owner in (Owner.current(), ELDER):
        assert Owner.from_json(owner.to_json()) == owner
