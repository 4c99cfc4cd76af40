"""Whose life the entries of a ledger are bound to, and how it is seen from this and from other machines.

A process is looked for where its pid means it: on its own machine, until that starts anew, and in its own namespace of
pids. Everywhere else its lease is seen: a file that its guard renews as long as it holds anything.
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
    """What tells one start of this machine's kernel from the next (random(4))."""
    try:
        return Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
    except OSError:
        return "unknown"


@cache
def this_pid_space() -> str:
    """The namespace that this process' pids are of, such as ``pid:[4026531836]``; empty where there are none."""
    try:
        return os.readlink("/proc/self/ns/pid")
    except OSError:
        return ""


@dataclass(frozen=True)
class Owner:
    """The process whose life an entry is bound to. When it is gone, the entry is to be undone."""

    process: ProcessId
    host: str = field(default_factory=this_host)
    boot: str = field(default_factory=this_boot)
    pid_space: str = field(default_factory=this_pid_space)
    """Both are empty in ledgers of versions that did not write them."""

    @classmethod
    def current(cls) -> "Owner":
        """This process."""
        return cls(ProcessId.current())

    @property
    def is_here(self) -> bool:
        """Whether its machine is this one. A container beside us is another one, though its name may be the same."""
        return self.was_here_before or (self.host == this_host() and self.pid_space in ("", this_pid_space()))

    @property
    def was_here_before(self) -> bool:
        """Whether its machine is this one and has started anew since: then no process of it is left."""
        return self.host == this_host() and self.boot not in ("", this_boot())

    @property
    def machine(self) -> str:
        """What people know its machine by."""
        return self.host if self.is_here or self.host != this_host() else f"{self.host}, {self.pid_space}"

    @property
    def name(self) -> str:
        """What tells it from other owners, as part of a file's name."""
        return f"{re.sub('[^A-Za-z0-9.-]', '_', self.host)}-{self.process.pid}-{self.process.started}"

    def is_alive(self, lease: Path) -> bool:
        """Whether it runs. Where its process cannot be seen it does as long as its lease is renewed.

        Owners of versions that did not write `boot` have none: they live for ever there. One of this machine's name
        and another boot that renews its lease is on another machine that has the same name.
        """
        if self.is_here and not self.was_here_before:
            return self.process.is_running
        return not self.boot or is_fresh(lease)

    def to_json(self) -> dict[str, Any]:
        """The owner as JSON data."""
        return {**self.process.to_json(), "host": self.host, "boot": self.boot, "pid_space": self.pid_space}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Owner":
        """The inverse of `to_json`."""
        known = (str(data.get(name) or "") for name in ("boot", "pid_space"))
        return cls(ProcessId.from_json(data), str(data["host"]), *known)


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
    none can be written, nothing is known, and the lease counts as fresh. One from the future is not: that clock was set
    back, and nobody has renewed it since.
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
        return abs(renew(probe) - renewed) < LEASE_S
    except OSError:
        return True
    finally:
        with suppress(OSError):
            probe.unlink(missing_ok=True)
