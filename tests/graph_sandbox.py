"""Runs a container's command where nothing can happen, and tells which programs it started with which arguments.

Shell scripts are run by a real shell, not read: what a script's programs get is known by those who start them only. The
root directory is an empty one with a shell, a few text tools, and stand-ins that write down how they were called; there
is no network and no other process. Without the right to make namespaces only scripts of our own are run.
"""

import atexit
import contextlib
import os
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

TOOLS = (
    *("sh", "bash", "awk", "basename", "cat", "cut", "date", "dirname", "env", "expr", "false", "find", "grep", "head"),
    *("ls", "mkdir", "mktemp", "nohup", "od", "printf", "rm", "sed", "seq", "sort", "stdbuf", "tail", "tee", "touch"),
    *("tr", "true", "uniq", "wc", "xargs"),
)
"""Real programs: what they print decides which way a script goes."""
WRAPPERS = ("dumb-init", "exec", "nice", "numactl", "setsid", "tini", "timeout")
"""Start what follows them; here they only skip their own options."""
STARTED = 5.0
"""Seconds after which a script that waits for something counts as one that starts nothing more."""

_WORD = re.compile(r"/?[\w.+-]+(?:/[\w.+-]+)*")
_WRAPPER = """#!/bin/sh
while [ $# -gt 0 ]; do
  case "$1" in --) shift; break;; -*|[0-9]*|*=*) shift;; *) break;; esac
done
exec "$@"
"""
_GPUS = """#!/bin/sh
case "$*" in
  *compute-apps*) exit 0;;
  *-L*) i=0; while [ $i -lt %(gpus)d ]; do echo "GPU $i: stand-in (UUID: GPU-$i)"; i=$((i+1)); done;;
  *query-gpu*) i=0; while [ $i -lt %(gpus)d ]; do echo "$i, GPU-$i, 0, 0, 0, 0"; i=$((i+1)); done;;
  *topo*) printf '\\tGPU0\\tNIC0\\tCPU Affinity\\nGPU0\\tX\\tPIX\\t0-1\\nNIC0\\tPIX\\tX\\n\\nNIC0: mlx5_0\\n';;
esac
"""
_RECORDER = """#!/bin/sh
d=%(records)s
%(env)s -0 >"$d/$$.env"
printf '%%s\\0' "${0##*/}" "$@" >"$d/$$.argv"
"""
_TO_THE_LAST = """trap '' TERM
"$@"
while kill -0 -1 2>/dev/null; do /bin/env true; done
"""
"""The first process of a namespace, whose end is the end of all others. Scripts end what they have started when they
end; here what was started records itself first.
"""
LIMITS_CAN_BE_SET = "ulimit() { return 0; }\n"
"""Put before a script: limits can be raised, as in a privileged container."""
FILES_EXIST = """test() { case "$1" in -r|-f|-e|-s|-d|-x) return 0;; *) command test "$@";; esac; }
"""
"""The same: another world, in which the files are there that the script looks for."""


@dataclass(frozen=True)
class Process:
    """A program that was started."""

    argv: tuple[str, ...]
    """Its first word without the directory."""
    env: tuple[tuple[str, str], ...] = ()

    @property
    def variables(self) -> dict[str, str]:
        """Its environment."""
        return dict(self.env)


@cache
def isolation() -> tuple[str, ...]:
    """The command that puts one behind it into namespaces of its own; empty where that is not allowed."""
    unshare = shutil.which("unshare")
    if not unshare:
        return ()
    rights = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
    command = (unshare, *rights, "--net", "--ipc", "--uts", "--mount", "--pid", "--fork", "--kill-child")
    tried = subprocess.run([*command, "--root=/", "true"], check=False, capture_output=True)
    return command if tried.returncode == 0 else ()


def started(
    command: Sequence[str], env: Mapping[str, str], *, gpus: int = 1, own: bool = False, preamble: str = ""
) -> list[Process]:
    """Run a command line and return the programs it started, sorted.

    Args:
        command: the container's command and arguments, `$(VAR)` expanded.
        env: its environment, and nothing else.
        gpus: how many `nvidia-smi` speaks of.
        own: whether the script is one of ours, which is run without namespaces too.
        preamble: put before a shell's script.

    Raises:
        PermissionError: there are no namespaces, and the script is not one of ours.
    """
    if not isolation() and not own:
        raise PermissionError("a foreign script is not run without namespaces (unshare)")
    with tempfile.TemporaryDirectory(prefix="graph-oracle-") as name:
        root = Path(name)
        inside = Path("/") if isolation() else root
        _furnish(root, inside, command, gpus)
        program, *words = command
        words = list(_without_login(words))
        if preamble and program.rpartition("/")[2] in ("sh", "bash"):
            words = _with_preamble(words, preamble)
        path = f"{inside}/stub:{inside}/bin".replace("//", "/")
        first = ["/bin/sh", "-c", _TO_THE_LAST, "sh"]
        line = [*isolation(), f"--root={root}", "--wd=/work", *first] if isolation() else []
        line += [f"{inside}/bin/env".replace("//", "/"), program.rpartition("/")[2], *words]
        _run(line, {**env, "PATH": path, "HOME": "/work"}, root / "work")
        return sorted(_recorded(root / "record"), key=lambda process: process.argv)


def _run(line: Sequence[str], env: Mapping[str, str], folder: Path) -> None:
    """Run to the end, or as long as is allowed; in a session of its own, since scripts kill their process group."""
    quiet = subprocess.DEVNULL
    with contextlib.suppress(OSError):  # an argument list that is too long
        process = subprocess.Popen(
            line, env=env, cwd=folder, stdin=quiet, stdout=quiet, stderr=quiet, start_new_session=True
        )
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(STARTED)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def _furnish(root: Path, inside: Path, command: Sequence[str], gpus: int) -> None:
    for folder in ("bin", "stub", "record", "work", "tmp", "dev", "etc", "sys/class/infiniband/mlx5_0"):
        (root / folder).mkdir(parents=True)
    (root / "dev" / "null").touch()
    # Linked, not copied, for speed: a script can spoil our copies only.
    for source in _copies().rglob("*"):
        target = root / source.relative_to(_copies())
        if source.is_dir():
            target.mkdir(parents=True, exist_ok=True)
        else:
            os.link(source, target)
    recorder = root / "stub" / ".recorder"
    text = _RECORDER % {"records": inside / "record", "env": inside / "bin" / "env"}
    _program(recorder, text)
    for wrapper in WRAPPERS:
        _program(root / "stub" / wrapper, _WRAPPER)
    _program(root / "stub" / "nvidia-smi", _GPUS % {"gpus": gpus})
    words = {word for part in command for word in _WORD.findall(part) if len(word) < 200}
    for word in words | {"python3", "python"}:
        name = word.rpartition("/")[2]
        if name and name not in TOOLS and name not in (".", ".."):
            with contextlib.suppress(FileExistsError):
                os.link(recorder, root / "stub" / name)
        if "/bin/" in word or "/sbin/" in word:
            target = root / word.lstrip("/")
            with contextlib.suppress(OSError):
                target.parent.mkdir(parents=True, exist_ok=True)
                os.link(recorder, target)


def _program(path: Path, text: str) -> None:
    path.write_text(text)
    path.chmod(0o755)


@cache
def _copies() -> Path:
    """The real programs and the libraries that they need, below a directory of our own."""
    folder = Path(tempfile.mkdtemp(prefix="graph-oracle-tools-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    found = {tool: shutil.which(tool, path="/usr/bin:/bin") for tool in TOOLS}
    programs = [path for path in found.values() if path]
    said = subprocess.run(["ldd", *programs], check=False, capture_output=True, text=True).stdout
    libraries = set(re.findall(r"(/\S+\.so\S*)(?= \()", said))
    places = {f"bin/{tool}": path for tool, path in found.items() if path}
    for place, source in (places | {path.lstrip("/"): path for path in libraries}).items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(source, folder / place)
    return folder


def _without_login(words: Sequence[str]) -> Iterator[str]:
    options = True
    for word in words:
        options = options and word.startswith("-")
        if options and word in ("-l", "--login"):
            continue
        yield word.replace("l", "") if options and re.fullmatch(r"-\w*l\w*c", word) else word


def _with_preamble(words: list[str], preamble: str) -> list[str]:
    for index, word in enumerate(words):
        if not word.startswith("-"):
            return [*words[:index], preamble + word, *words[index + 1 :]]
    return words


def _recorded(records: Path) -> Iterator[Process]:
    for path in records.glob("*.argv"):
        argv = path.read_text(errors="replace").split("\0")[:-1]
        if not argv:
            continue  # killed before it could write
        written = path.with_suffix(".env")
        lines = written.read_text(errors="replace").split("\0") if written.exists() else []
        env = tuple(sorted((name, value) for name, _, value in (line.partition("=") for line in lines) if name))
        yield Process(tuple(argv), env)
