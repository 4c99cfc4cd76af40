"""Network namespaces without a name: each lives as long as a process or an open descriptor holds it.

So nothing of them can stay on a machine: a process that dies closes its descriptors, and a namespace takes its
interfaces, addresses and filters with it. See network_namespaces(7) and setns(2).
"""

import ctypes
import fcntl
import os
import socket
import struct
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.processes import ProcessId

_LIBC = ctypes.CDLL(None, use_errno=True)
_CAP_NET_ADMIN, _CAP_SYS_ADMIN = 12, 21
_CLONE_NEWUSER, _CLONE_NEWNET = 0x10000000, 0x40000000
_SIOCSIFFLAGS, _IFF_UP = 0x8914, 0x1
_OWN = "/proc/thread-self/ns/net"


def create_namespace() -> int:
    """Make a network namespace and return a descriptor that holds it.

    Raises:
        OSError: this process may not.
    """
    outcome: list[int | OSError] = []

    def in_a_thread_of_its_own() -> None:  # unshare(2) moves the calling thread alone, and this one ends
        try:
            _check(_LIBC.unshare(_CLONE_NEWNET), "unshare")
            outcome.append(os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            outcome.append(error)

    thread = threading.Thread(target=in_a_thread_of_its_own, name="new network namespace")
    thread.start()
    thread.join()
    (result,) = outcome
    if isinstance(result, OSError):
        raise result
    return result


def enter(descriptor: int) -> None:
    """Move the calling thread into a namespace.

    Raises:
        OSError: it may not.
    """
    _check(_LIBC.setns(descriptor, _CLONE_NEWNET), "setns")


def may_administer_networks() -> bool:
    """Whether this process may make network namespaces as it is, which root may unless a container forbids it."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    rights = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    return all(rights >> number & 1 for number in (_CAP_NET_ADMIN, _CAP_SYS_ADMIN))


def enter_own_namespaces() -> None:
    """Move this process, which must have one thread, into a user and a network namespace of its own, loopback up.

    In there it may do to networks what root may; outside, it keeps its own user. See user_namespaces(7).

    Raises:
        OSError: this machine does not let its users.
    """
    user, group = os.geteuid(), os.getegid()
    _check(_LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNET), "unshare")
    for name, content in (("setgroups", "deny"), ("uid_map", f"0 {user} 1"), ("gid_map", f"0 {group} 1")):
        Path(f"/proc/self/{name}").write_text(content, encoding="ascii")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", _IFF_UP))


@contextmanager
def inside(descriptor: int) -> Iterator[None]:
    """Be in a namespace for a while. A socket belongs for ever to the namespace that it was made in."""
    home = os.open(_OWN, os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(descriptor)
        try:
            yield
        finally:
            enter(home)
    finally:
        os.close(home)


@dataclass(frozen=True)
class HeldNamespace:
    """A namespace as other processes find it: who holds it, by which descriptor, and its inode to be sure."""

    holder: ProcessId
    descriptor: int
    inode: int

    @classmethod
    def of(cls, descriptor: int) -> "HeldNamespace":
        """A namespace that this process holds."""
        return cls(ProcessId.current(), descriptor, os.fstat(descriptor).st_ino)

    @property
    def path(self) -> str:
        """Opening it yields the namespace, as long as its holder lives."""
        return f"/proc/{self.holder.pid}/fd/{self.descriptor}"

    @contextmanager
    def opened(self) -> Iterator[int | None]:
        """A descriptor of it for a while; None when it is gone.

        Raises:
            OSError: it is there, but this process may not open it.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC) if self.holder.is_running else None
        except FileNotFoundError:
            descriptor = None
        if descriptor is None:
            yield None
            return
        try:
            yield descriptor if os.fstat(descriptor).st_ino == self.inode else None
        finally:
            os.close(descriptor)

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {"holder": self.holder.to_json(), "descriptor": self.descriptor, "inode": self.inode}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "HeldNamespace":
        """The inverse of `to_json`."""
        return cls(ProcessId.from_json(data["holder"]), int(data["descriptor"]), int(data["inode"]))


def _check(result: int, call: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{call}: {os.strerror(number)}")
