"""Whose life the entries of a ledger are bound to, and how it is seen from this and from other machines.

A process is looked for on its own machine only, and only until that starts anew. Other machines see its lease: a file
that its guard renews as long as it holds anything.
"""

import os
import re
from contextlib import suppress
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.processes import ProcessId

RENEWAL_S = 10.0
"""Seconds between two renewals of a lease."""

LEASE_S = 60.0
"""Seconds after its last renewal until a lease is over."""


@cache
def this_host() -> str:
    """The name of this machine when this process first asked."""
    return os.uname().nodename


@cache
def this_boot() -> str:
    """What tells one start of this machine's kernel from the next (random(4)); empty where the kernel keeps it back."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return ""


@dataclass(frozen=True)
class Owner:
    """The process whose life an entry is bound to. When it is gone, the entry is to be undone."""

    process: ProcessId
    host: str = field(default_factory=this_host)
    boot: str = field(default_factory=this_boot)
    """Empty in ledgers of versions that did not write it."""

    @classmethod
    def current(cls) -> "Owner":
        """This process."""
        return cls(ProcessId.current())

    @property
    def is_here(self) -> bool:
        """Whether its machine is this one."""
        return self.host == this_host()

    @property
    def was_here_before(self) -> bool:
        """Whether its machine is this one and has started anew since: then no process of it is left."""
        return self.is_here and self.boot not in ("", this_boot())

    @property
    def name(self) -> str:
        """What tells it from other owners, as part of a file's name."""
        return f"{re.sub('[^A-Za-z0-9.-]', '_', self.host)}-{self.process.pid}-{self.process.started}"

    def is_alive(self, lease: Path) -> bool:
        """Whether it runs. On another machine it does as long as its lease is renewed, and for ever if it has none.

        Only owners of versions that did not write `boot` have none.
        """
        if self.is_here:
            return not self.was_here_before and self.process.is_running
        return not self.boot or is_fresh(lease)

    def to_json(self) -> dict[str, Any]:
        """The owner as JSON data."""
        return {**self.process.to_json(), "host": self.host, "boot": self.boot}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Owner":
        """The inverse of `to_json`."""
        return cls(ProcessId.from_json(data), str(data["host"]), str(data.get("boot") or ""))


def renew(lease: Path) -> float:
    """Say that its owner is alive, for `LEASE_S` from now; returns when that is by the clock of its file system.

    Raises:
        OSError: the file cannot be written.
    """
    descriptor = os.open(lease, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        os.utime(descriptor)
        return os.fstat(descriptor).st_mtime
    finally:
        os.close(descriptor)


def is_fresh(lease: Path) -> bool:
    """Whether a lease was renewed within `LEASE_S`, by the clock of the file system that it lies in.

    The clocks of the machines that share it need not agree: what counts is the time that another file gets now. Where
    none can be written, nothing is known, and the lease counts as fresh.
    """
    probe = lease.with_name(f"{lease.name}.{os.getpid()}.now")
    try:
        with lease.open("rb") as file:  # opening it has a network file system ask for its time again
            renewed = os.fstat(file.fileno()).st_mtime
    except FileNotFoundError:
        return False
    except OSError:
        return True
    try:
        return renew(probe) - renewed < LEASE_S
    except OSError:
        return True
    finally:
        with suppress(OSError):
            drop(probe)


def drop(lease: Path) -> None:
    """Its owner is gone, and all that it held is undone."""
    lease.unlink(missing_ok=True)
