"""The toggle file of the CUDA shim, and the counters that shimmed processes leave beside it.

The file's first byte is '1' or '0', as in Dynamo's own shim; behind it stand rules, see ``cuda_shim/src/page.c``. It is
written in place. ``<file>.d/<pid>-<start time>`` is written by the shim, see ``struct counters`` in ``shim.h``.
"""

import os
import struct
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from DynamoFaultLibrary.processes import STOPPED, ProcessId

TOGGLE_VARIABLE = "DYNAMO_FAULT_CUDA_FILE"
TOGGLE_NAME = "cuda_fault_enabled"
PAGE_SIZE = 4096
CLASSES = ("device", "module", "memory", "copy", "launch", "graph", "wait", "stream", "error")
"""Kinds of CUDA calls, as ``cuda_shim/src/entries.def`` explains them."""

_HEADER = "dynamo-fault-cuda 1"
_MAGIC = b"DFCUDA1\0"
_GPUS = 64
_COUNTERS = struct.Struct(f"=8sII7Q{len(CLASSES)}Q{len(CLASSES)}Q{_GPUS + 1}Q")


@dataclass(frozen=True)
class Counters:
    """What one process saw while its toggle was on. Times are seconds on the monotonic clock, 0 when it never was."""

    process: ProcessId
    is_on: bool
    generation: int
    first_failed_s: float
    seen: Mapping[str, int]
    failed: Mapping[str, int]
    gpus: frozenset[int]
    """Indices of the GPUs on which calls failed, as the process counts them."""

    @property
    def failures(self) -> int:
        """Calls that were made to fail."""
        return sum(self.failed.values())

    @classmethod
    def parse(cls, data: bytes) -> "Counters | None":
        """Read a counters file; None when it is none, or not whole yet."""
        if len(data) < _COUNTERS.size or not data.startswith(_MAGIC):
            return None
        values = _COUNTERS.unpack_from(data)
        _, pid, is_on, started, generation, _armed, _read, first_failed, _last_failed, _unhooked, *rest = values
        count = len(CLASSES)
        by_gpu = rest[2 * count :]
        return cls(
            ProcessId(pid, started),
            bool(is_on),
            generation,
            first_failed / 1e9,
            dict(zip(CLASSES, rest[:count], strict=True)),
            dict(zip(CLASSES, rest[count : 2 * count], strict=True)),
            frozenset(gpu for gpu in range(_GPUS) if by_gpu[gpu]),
        )


@dataclass(frozen=True)
class Toggle:
    """A toggle file."""

    path: Path

    @property
    def counters_directory(self) -> Path:
        """Where shimmed processes leave their counters, if it is there."""
        return self.path.with_name(self.path.name + ".d")

    def prepare(self) -> None:
        """Make the file, switched off, and the directory of counters; what is there already stays as it is."""
        self.counters_directory.mkdir(parents=True, exist_ok=True)
        if not self.path.exists():
            self.switch_off()

    @property
    def is_on(self) -> bool:
        """Whether its first byte says so; a missing file is off."""
        return self._read().startswith("1")

    @property
    def generation(self) -> int:
        """Number of the page's last writing; 0 when somebody else's tool wrote it, or it is missing."""
        for line in self._read().splitlines():
            if line.startswith("generation "):
                return int(line.split()[1])
        return 0

    def switch_on(self, rule: str, generation: int) -> None:
        """Have calls fail by `rule`. Rules are written before the first byte."""
        body = f"{_HEADER}\ngeneration {generation}\nrule {rule}\nend\n"
        self._write(b"0\n" + body.encode())
        self._write(b"1")

    def switch_off(self) -> int:
        """Have calls go on, also in processes whose error would last; returns the generation that says so."""
        generation = new_generation()
        self._write(b"0")
        self._write(f"0\n{_HEADER}\ngeneration {generation}\nrelease\nend\n".encode())
        return generation

    def counters(self) -> list[Counters]:
        """Those of all processes that have made a CUDA call under this toggle, dead ones too."""
        found = []
        for path in sorted(self.counters_directory.glob("*-*")):
            counters = Counters.parse(path.read_bytes())
            if counters is not None:
                found.append(counters)
        return found

    def not_yet_off(self, generation: int) -> list[ProcessId]:
        """Living processes that have not read the page of `generation`; stopped ones cannot, and fail nothing."""
        return [
            counters.process
            for counters in self.counters()
            if (counters.is_on or counters.generation != generation)
            and counters.process.is_running
            and counters.process.state != STOPPED
        ]

    def _read(self) -> str:
        try:
            return self.path.read_text(encoding="ascii", errors="replace")
        except OSError:
            return ""

    def _write(self, data: bytes) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            os.pwrite(descriptor, data if len(data) == 1 else data.ljust(PAGE_SIZE, b"\n"), 0)
        finally:
            os.close(descriptor)


def new_generation() -> int:
    """A number that no earlier page has."""
    return time.time_ns()
