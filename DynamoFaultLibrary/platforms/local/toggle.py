"""A toggle of the CUDA shim as a file of this machine, with counters in ``<file>.d/<pid>-<start time>``."""

import os
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.cuda_toggle import ShimmedProcess, Toggle
from DynamoFaultLibrary.plugins import LOCAL
from DynamoFaultLibrary.processes import STOPPED, ProcessId


@dataclass(frozen=True)
class LocalToggle(Toggle):
    """See `cuda_toggle.Toggle`."""

    path: Path
    shares_clock = True
    poll_s = 0.005

    @property
    def place(self) -> str:
        """Its path."""
        return str(self.path)

    @property
    def counters_directory(self) -> Path:
        """Where shimmed processes leave their counters, if it is there."""
        return self.path.with_name(self.path.name + ".d")

    def prepare(self) -> None:
        """Make the file, switched off, and the directory of counters; what is there already stays as it is."""
        self.counters_directory.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self.switch_off()

    def recipe(self, generation: int) -> dict[str, Any]:
        """For the undoer ``cuda`` of this platform."""
        return {"platform": LOCAL, "action": "cuda", "path": str(self.path), "generation": generation}

    def read(self) -> str | None:
        """The whole file."""
        try:
            return self.path.read_text(encoding="ascii", errors="replace")
        except OSError:
            return "" if self.path.parent.is_dir() else None

    def write(self, data: bytes) -> None:
        """With one system call; the file is made where it is missing."""
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, data, 0)
        finally:
            os.close(descriptor)

    def counters_files(self) -> Iterable[bytes]:
        """In the order of their names."""
        return (path.read_bytes() for path in sorted(self.counters_directory.glob("*-*")))

    def is_running(self, process: ShimmedProcess) -> bool:
        """By /proc."""
        return ProcessId(process.pid, process.started).is_running

    def is_stopped(self, process: ShimmedProcess) -> bool:
        """By /proc."""
        return ProcessId(process.pid, process.started).state == STOPPED
