"""Directories and files at the paths where a container would have them, seen by one process and its children alone.

The process gets a mount namespace of its own before its program starts, and in it bind mounts, see mount_namespaces(7).
Nothing is made on this machine: where a path does not exist, the directory above it is covered by a copy of itself in
memory whose entries lead to the real ones. All of it is gone with the last process in the namespace.
"""

import ctypes
import os
import subprocess
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import cache
from pathlib import Path

_LIBC = ctypes.CDLL(None, use_errno=True)
_CLONE_NEWUSER, _CLONE_NEWNS = 0x10000000, 0x00020000
_MS_BIND, _MS_MOVE, _MS_REC, _MS_UNBINDABLE, _MS_PRIVATE = 0x1000, 0x2000, 0x4000, 0x20000, 0x40000
_CAP_SYS_ADMIN = 21
_ROOT = Path("/")


def enter_own_mounts(mounts: Sequence[Sequence[str]], stage: str) -> None:
    """Move this process, which must have one thread, into a mount namespace with these (source, target) in it.

    `stage` is an empty directory to prepare mounts in.

    Raises:
        OSError: it may not, or a source does not exist.
    """
    _enter_namespace()
    covers: set[int] = set()
    volumes: list[Path] = []
    for source, target in sorted(mounts, key=lambda mount: mount[1].count("/")):
        place = Path(target)
        if not place.exists():
            above = next(parent for parent in place.parents if parent.is_dir())
            if above.stat().st_dev not in covers and not any(map(above.is_relative_to, volumes)):
                _cover(above, Path(stage))
                covers.add(above.stat().st_dev)
            _make_place(place, is_directory=Path(source).is_dir())
        _mount(source, target, _MS_BIND | _MS_REC)
        volumes.append(place)


@cache
def can_mount() -> bool:
    """Whether processes of this user may have mounts of their own."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    rights = int(next(line for line in status.splitlines() if line.startswith("CapEff:")).split()[1], 16)
    if rights >> _CAP_SYS_ADMIN & 1:
        return True
    script = "from DynamoFaultLibrary.platforms.local.mounts import _enter_namespace as enter; enter()"
    return subprocess.run([sys.executable, "-c", script], capture_output=True, check=False, timeout=30).returncode == 0


def _enter_namespace() -> None:
    user, group = os.geteuid(), os.getegid()
    if _LIBC.unshare(_CLONE_NEWNS) != 0:
        _check(_LIBC.unshare(_CLONE_NEWUSER | _CLONE_NEWNS), "unshare")
        for name, content in (
            ("setgroups", "deny"),
            ("uid_map", f"{user} {user} 1"),
            ("gid_map", f"{group} {group} 1"),
        ):
            Path(f"/proc/self/{name}").write_text(content, encoding="ascii")
    _mount("none", "/", _MS_REC | _MS_PRIVATE)


def _cover(directory: Path, stage: Path) -> None:
    """Put a directory in memory over a real one: what is in that can be reached through it, and more can be made."""
    _mount("none", str(stage), 0, "tmpfs", "mode=0755")
    _mount("none", str(stage), _MS_UNBINDABLE)  # a tree that it lies in can be bound into it
    for entry in os.scandir(directory):
        place = stage / entry.name
        with suppress(OSError):  # what cannot be reached outside cannot be reached here
            if entry.is_symlink():
                place.symlink_to(os.readlink(entry.path))
                continue
            _make_place(place, is_directory=entry.is_dir())
            _mount(entry.path, str(place), _MS_BIND | _MS_REC)
    if directory == _ROOT:
        os.chdir(stage)
        _mount(".", "/", _MS_MOVE)
        os.chroot(".")
        os.chdir("/")
    else:
        _mount(str(stage), str(directory), _MS_MOVE)


def _make_place(place: Path, *, is_directory: bool) -> None:
    if is_directory:
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.parent.mkdir(parents=True, exist_ok=True)
        place.touch()


def _mount(source: str, target: str, flags: int, kind: str = "", data: str = "") -> None:
    texts = [os.fsencode(text) or None for text in (source, target, kind)]
    done = _LIBC.mount(*texts, ctypes.c_ulong(flags), os.fsencode(data) or None)
    _check(done, f"mount of {source} at {target}")


def _check(result: int, what: str) -> None:
    if result != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"{what}: {os.strerror(number)}")
