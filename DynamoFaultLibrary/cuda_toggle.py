"""The toggle of the CUDA shim, and the counters that shimmed processes leave beside it: what stands in them.

The page's first byte is '1' or '0', as in Dynamo's own shim; behind it stand rules, see ``cuda_shim/src/page.c``. It is
written in place. Counters are written by the shim, see ``struct counters`` in ``shim.h``. Where both are, and how they
are read and written there, the platform knows.
"""

import struct
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import RecoveryError

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
class ShimmedProcess:
    """A process as the shim in it tells of it: of those under one toggle no two are equal. Its text is for people."""

    pid: int
    started: int
    """In clock ticks since boot."""

    def __str__(self) -> str:
        return f"pid {self.pid}"


@dataclass(frozen=True)
class Counters:
    """What one process saw while its toggle was on."""

    process: ShimmedProcess
    is_on: bool
    generation: int
    first_failed_s: float
    """When its first call failed, in seconds on the monotonic clock of its machine; 0: none has."""
    seen: Mapping[str, int]
    failed: Mapping[str, int]

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
        return cls(
            ShimmedProcess(pid, started),
            bool(is_on),
            generation,
            first_failed / 1e9,
            dict(zip(CLASSES, rest[:count], strict=True)),
            dict(zip(CLASSES, rest[count : 2 * count], strict=True)),
        )


class Toggle(ABC):
    """A toggle that is read and written where its replica is; platforms say how."""

    shares_clock: bool
    """Whether times in its counters are on this machine's monotonic clock."""
    poll_s: float
    """Seconds between two looks at it."""

    @property
    @abstractmethod
    def place(self) -> str:
        """Where it is, for people."""

    @abstractmethod
    def recipe(self, generation: int) -> dict[str, Any]:
        """How anybody undoes the page of that generation; see `DynamoFaultLibrary.ledger.undo`."""

    @abstractmethod
    def read(self) -> str | None:
        """Its page; empty when none was written yet, None when the place where it was is gone."""

    @abstractmethod
    def write(self, data: bytes) -> None:
        """Write over the beginning of the page, in place; its other bytes stay."""

    @abstractmethod
    def counters_files(self) -> Iterable[bytes]:
        """What all processes left that have made a CUDA call under this toggle, dead ones too."""

    @abstractmethod
    def is_running(self, process: ShimmedProcess) -> bool:
        """Whether it lives, stopped or not."""

    @abstractmethod
    def is_stopped(self, process: ShimmedProcess) -> bool:
        """Whether it lives, but is stopped by a signal."""

    @property
    def is_on(self) -> bool:
        """Whether its first byte says so; a missing page is off."""
        return (self.read() or "").startswith("1")

    @property
    def generation(self) -> int:
        """Number of the page's last writing; 0 when somebody else's tool wrote it, or it is missing."""
        for line in (self.read() or "").splitlines():
            if line.startswith("generation "):
                return int(line.split()[1])
        return 0

    def switch_on(self, rule: str, generation: int) -> None:
        """Have calls fail by `rule`. Rules are written before the first byte."""
        self._write_page(f"0\n{_HEADER}\ngeneration {generation}\nrule {rule}\nend\n")
        self.write(b"1")

    def switch_off(self) -> int:
        """Have calls go on, also in processes whose error would last; returns the generation that says so."""
        generation = new_generation()
        self.write(b"0")
        self._write_page(f"0\n{_HEADER}\ngeneration {generation}\nrelease\nend\n")
        return generation

    def counters(self) -> list[Counters]:
        """Those of all processes that have made a CUDA call under this toggle, dead ones too."""
        return [counters for data in self.counters_files() if (counters := Counters.parse(data)) is not None]

    def running(self) -> list[Counters]:
        """Those of processes that live."""
        return [counters for counters in self.counters() if self.is_running(counters.process)]

    def undo(self, generation: int, timeout_s: float) -> str:
        """Switch it off, unless its page is another than that of `generation`, and see that all processes know.

        Raises:
            RecoveryError: some have not read it within `timeout_s`. Stopped ones cannot, and fail nothing.
        """
        if self.read() is None:
            return "the toggle is gone with its deployment"
        if self.generation != generation:
            return f"left alone: '{self.place}' was written by somebody else" if self.is_on else "was off"
        off = self.switch_off()

        def not_yet_off() -> list[ShimmedProcess]:
            on = [counters.process for counters in self.counters() if counters.is_on or counters.generation != off]
            return [process for process in on if self.is_running(process) and not self.is_stopped(process)]

        wait_until(lambda: not not_yet_off(), timeout_s, self.poll_s)
        if left := ", ".join(map(str, not_yet_off())):
            raise RecoveryError(f"{left} did not read '{self.place}' within {timeout_s:g} s after it was switched off")
        count = len(self.running())
        return f"off, and seen by {count} process{'' if count == 1 else 'es'}"

    def _write_page(self, text: str) -> None:
        self.write(text.encode().ljust(PAGE_SIZE, b"\n"))


def new_generation() -> int:
    """A number that no earlier page has."""
    return time.time_ns()
