"""One process group that the supervisor started: its specification, its life, its end."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.guard.guard import IGNORED
from DynamoFaultLibrary.ledger import Entry
from DynamoFaultLibrary.net.namespace import enter
from DynamoFaultLibrary.platforms.local.mounts import enter_own_mounts
from DynamoFaultLibrary.processes import ProcessId, die_with_parent


def _prepare_child(namespace: int | None, spec: "ProcessSpec") -> None:
    for number in IGNORED:
        signal.signal(number, signal.SIG_DFL)  # a fault of theirs may be just that signal
    if namespace is not None:
        enter(namespace)
    if spec.mounts:
        _enter_mounts(spec)
    die_with_parent()


def _enter_mounts(spec: "ProcessSpec") -> None:
    """What goes wrong is told in the log, since the parent learns no more than that something did."""
    try:
        enter_own_mounts(spec.mounts, spec.stage)
        os.chdir(spec.cwd)
    except OSError as error:
        os.write(2, f"the mounts {spec.mounts} or the directory '{spec.cwd}' cannot be had: {error}\n".encode())
        os._exit(126)


@contextmanager
def _opened(namespace: str) -> Iterator[int | None]:
    if not namespace:
        yield None
        return
    descriptor = os.open(namespace, os.O_RDONLY | os.O_CLOEXEC)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass(frozen=True)
class ProcessSpec:
    """What to start. `log` receives standard output and error, appended; `namespace` is the path of a network's.

    `mounts` are (source, target) in a mount namespace of its own, in which `cwd` is; `stage` see `mounts`.
    """

    name: str
    argv: list[str]
    env: dict[str, str]
    cwd: str
    log: str
    namespace: str = ""
    mounts: list[list[str]] = field(default_factory=list)
    stage: str = ""

    def to_json(self) -> dict[str, Any]:
        """As JSON data."""
        return asdict(self)


@dataclass
class Exit:
    """How a process ended; `at` is on the monotonic clock."""

    code: int | None
    signal: int | None
    at: float

    def __str__(self) -> str:
        return f"killed by {signal.Signals(self.signal).name}" if self.signal else f"exit status {self.code}"


@dataclass(frozen=True)
class ProcessStatus:
    """What a client learns of a process group: its name and leader, how often it was started again, its end."""

    name: str
    process: ProcessId
    generation: int
    exit: Exit | None

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "ProcessStatus":
        """From what `Child.to_json` made."""
        found = Exit(**data["exit"]) if data["exit"] else None
        return cls(**{**data, "process": ProcessId.from_json(data["process"]), "exit": found})


@dataclass
class Child:
    """A started process group. `exit` is set when its leader has been reaped."""

    spec: ProcessSpec
    identity: ProcessId
    entry: Entry
    generation: int
    exit: Exit | None = None

    @staticmethod
    def start(spec: ProcessSpec) -> ProcessId:
        """Start `spec` as leader of a new session and process group that dies with this process."""
        Path(spec.log).parent.mkdir(parents=True, exist_ok=True)
        with open(spec.log, "ab") as log, _opened(spec.namespace) as namespace:
            process = subprocess.Popen(
                spec.argv,
                env=spec.env,
                cwd=None if spec.mounts else spec.cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                preexec_fn=partial(_prepare_child, namespace, spec),  # noqa: PLW1509  # the supervisor has one thread when it starts children
            )
        identity = ProcessId.of(process.pid)
        process.returncode = 0  # the supervisor reaps by itself; this keeps Popen from doing it too
        assert identity is not None  # noqa: S101  # not reaped yet, so at least a zombie is there
        return identity

    def ended(self, status: int) -> None:
        """Note the wait status of the leader."""
        number = os.WTERMSIG(status) if os.WIFSIGNALED(status) else None
        code = os.WEXITSTATUS(status) if os.WIFEXITED(status) else None
        self.exit = Exit(code, number, monotonic())

    def to_json(self) -> dict[str, Any]:
        """What a client learns of it, see `ProcessStatus`."""
        return asdict(ProcessStatus(self.spec.name, self.identity, self.generation, self.exit))
