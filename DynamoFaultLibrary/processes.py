"""Processes as Linux tells of them: identity that survives pid reuse, groups, states, signals.

Facts from proc_pid_stat(5): field 3 is the state, 5 the process group, 22 the start time in clock ticks since boot.
"""

import ctypes
import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

STOPPED = "T"
DEAD = frozenset("ZX")


@dataclass(frozen=True)
class ProcessId:
    """A pid together with its start time in clock ticks since boot: no two processes of a machine share both."""

    pid: int
    started: int

    def __str__(self) -> str:
        return f"pid {self.pid}"

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Identity of the process that has `pid` now; None when there is none."""
        stat = read_stat(pid)
        return cls(pid, stat.started) if stat else None

    @classmethod
    def current(cls) -> "ProcessId":
        """Identity of this process."""
        identity = cls.of(os.getpid())
        assert identity is not None  # noqa: S101  # this very process runs
        return identity

    @property
    def state(self) -> str | None:
        """State letter of proc(5), None when the process is gone (or the pid is another process' now)."""
        stat = read_stat(self.pid)
        return stat.state if stat and stat.started == self.started else None

    @property
    def is_running(self) -> bool:
        """Whether the process lives; a zombie does not."""
        state = self.state
        return state is not None and state not in DEAD

    @property
    def command(self) -> str:
        """Its command line; empty when it is gone."""
        return read_command(self.pid) if self.is_running else ""

    def send(self, number: int) -> bool:
        """Send a signal; False when the process is gone. Pid reuse cannot misdirect it: a pidfd pins the process."""
        try:
            descriptor = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return False
        try:
            if not self.is_running:
                return False
            signal.pidfd_send_signal(descriptor, number)
        except ProcessLookupError:
            return False
        finally:
            os.close(descriptor)
        return True

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return {"pid": self.pid, "started": self.started}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ProcessId":
        """The inverse of `to_json`."""
        return cls(int(data["pid"]), int(data["started"]))


_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
_LIBC = ctypes.CDLL(None)


def die_with_parent(number: int = signal.SIGKILL) -> None:
    """Have the kernel send this process a signal when its parent's thread ends (prctl(2))."""
    _LIBC.prctl(_PR_SET_PDEATHSIG, number, 0, 0, 0)


def become_subreaper() -> None:
    """Have orphans of our children handed to this process instead of to init (prctl(2))."""
    _LIBC.prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


@dataclass(frozen=True)
class Stat:
    """The fields of /proc/PID/stat that this library needs."""

    pid: int
    state: str
    group: int
    started: int


def read_stat(pid: int) -> Stat | None:
    """Parse /proc/PID/stat; None when there is no such process."""
    try:
        content = _read(pid, "stat")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = content.rpartition(b")")[2].split()
    return Stat(pid, fields[0].decode(), int(fields[2]), int(fields[19]))


def _read(pid: int, name: str) -> bytes:
    """A file of /proc/PID; a scan reads hundreds of them, at a quarter of what `Path.read_bytes` costs."""
    descriptor = os.open(f"/proc/{pid}/{name}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        parts = [os.read(descriptor, 2**16)]
        while len(parts[-1]) == 2**16:
            parts.append(os.read(descriptor, 2**16))
    finally:
        os.close(descriptor)
    return b"".join(parts)


def read_command(pid: int) -> str:
    """The command line with spaces between arguments; empty when there is none."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except (FileNotFoundError, ProcessLookupError):
        return ""


def read_words(pid: int, name: str) -> list[str]:
    """The words of /proc/PID/cmdline or /proc/PID/environ; none when there is no such process or it may not be seen."""
    try:
        content = _read(pid, name)
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return []
    return [word.decode(errors="replace") for word in content.removesuffix(b"\0").split(b"\0")] if content else []


def read_variable(pid: int, name: str) -> str | None:
    """An environment variable that the process was started with; None when unset or not readable."""
    try:
        content = b"\0" + _read(pid, "environ")
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return None
    _, found, rest = content.partition(b"\0" + name.encode() + b"=")
    return rest.partition(b"\0")[0].decode(errors="replace") if found else None


def has_environment(pid: int) -> bool:
    """Whether a process shows an environment; some programs clear or overwrite theirs."""
    try:
        return bool(_read(pid, "environ").strip(b"\0"))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return False


def all_pids() -> Iterator[int]:
    """Pids of all processes that this one may see."""
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def group_members(group: int) -> list[ProcessId]:
    """Living members of a process group."""
    stats = (read_stat(pid) for pid in all_pids())
    return [
        ProcessId(stat.pid, stat.started) for stat in stats if stat and stat.group == group and stat.state not in DEAD
    ]


def marked_processes(variable: str, value: str) -> list[ProcessId]:
    """Living processes that were started with an environment variable of this value."""
    marked = (ProcessId.of(pid) for pid in all_pids() if read_variable(pid, variable) == value)
    return [process for process in marked if process is not None and process.is_running]
