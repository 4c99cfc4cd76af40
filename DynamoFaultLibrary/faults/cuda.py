"""CUDA faults: the calls of one replica fail as after an XID, by the shim that it runs under."""

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.cuda_toggle import CLASSES, Counters, Toggle, new_generation
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.nodes.xid import ERROR_NAMES, STICKY, XIDS
from DynamoFaultLibrary.platforms.base import CudaShimming, Deployment, Observing, Replacing
from DynamoFaultLibrary.platforms.effects import Effect
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.processes import ProcessId

ALL_GPUS = "all"


@runtime_checkable
class CudaPlatform(CudaShimming, Replacing, Observing, Protocol):
    """What CUDA faults need of a platform."""

    def processes(self, replica: Replica) -> list[ProcessId]:
        """Living processes of a replica."""
        ...


@dataclass(frozen=True)
class CudaRule:
    """Which calls fail, and how; what is None follows from the XID, see `DynamoFaultLibrary.nodes.xid`.

    `gpu` is ``all``, an index as the process counts its GPUs, or a UUID. `after_calls` and `delay` let calls go on
    first, `probability` lets some of the others.
    """

    xid: int = 79
    gpu: str = ALL_GPUS
    error: int | None = None
    sticky: bool | None = None
    classes: Sequence[str] = ()
    after_calls: int = 0
    delay: timedelta = timedelta(0)
    probability: float = 1.0
    seed: int = 1
    lasting: bool = False

    def __post_init__(self) -> None:
        xid = XIDS.get(self.xid)
        if xid is None:
            raise FaultError(f"XID {self.xid} is not in the catalogue; known are {sorted(XIDS)}")
        if xid.cuda is None and self.error is None:
            raise FaultError(f"{xid} makes no CUDA call fail; give an error=… if this one should")
        unknown = [name for name in self.classes if name not in CLASSES]
        if unknown:
            raise FaultError(f"there are no classes {unknown} of CUDA calls; known are {list(CLASSES)}")
        if not 0 < self.probability <= 1:
            raise FaultError(f"a probability is above 0 and at most 1, not {self.probability}")
        if self.after_calls < 0 or self.delay < timedelta(0) or (self.error is not None and self.error <= 0):
            raise FaultError("after_calls and delay are 0 or more, and an error is above 0")

    @property
    def error_text(self) -> str:
        """Such as ``999 (CUDA_ERROR_UNKNOWN)``."""
        cuda = XIDS[self.xid].cuda
        code = self.error if self.error is not None else cuda.error if cuda else 0
        return f"{code} ({ERROR_NAMES[code]})" if code in ERROR_NAMES else str(code)

    def to_text(self) -> str:
        """As the shim reads it."""
        cuda = XIDS[self.xid].cuda
        words: dict[str, object] = {"xid": self.xid} if cuda else {}
        words["gpu"] = self.gpu
        if self.error is not None:
            words["error"] = self.error
        sticky = self.sticky if self.sticky is not None or self.error is None else self.error in STICKY
        if sticky is not None:
            words["sticky"] = int(sticky)
        if self.classes:
            words["classes"] = ",".join(self.classes)
        words["after"] = self.after_calls
        words["delay_ms"] = round(self.delay.total_seconds() * 1000)
        words["probability"] = self.probability
        words["seed"] = self.seed
        words["recovery"] = "exit" if self.lasting else "toggle"
        return " ".join(f"{key}={value}" for key, value in words.items())


@dataclass
class EnableCudaFaults(Effect):
    """CUDA calls of one replica fail. Its neighbours are watched, but for those with a CUDA fault of their own."""

    platform: CudaPlatform
    deployment: Deployment
    replica: Replica
    rule: CudaRule
    timeout: timedelta = timedelta(seconds=10)
    _toggle: Toggle = field(init=False)
    _generation: int = field(init=False, default_factory=new_generation)
    _neighbours: dict[str, Toggle] = field(init=False)
    _before: dict[ProcessId, int] = field(init=False, default_factory=dict)

    def __post_init__(self) -> None:
        toggle = self.platform.cuda_toggle(self.replica)
        if toggle is None:
            raise FaultError(
                f"{self.replica.name} does not run under the CUDA shim; call 'Set Up Cuda Shim' for its service"
            )
        if toggle.is_on:
            raise FaultError(
                f"the CUDA faults of {self.replica.name} are on already ({toggle.path}); disable them first"
            )
        self._toggle = toggle
        services = self.deployment.graph.services
        others = [other for name in services for other in self.platform.replicas(self.deployment, name)]
        toggles = {other.name: self.platform.cuda_toggle(other) for other in others if other.key != self.replica.key}
        self._neighbours = {name: found for name, found in toggles.items() if found is not None and not found.is_on}

    @property
    def facts(self) -> dict[str, Any]:
        return {"xid": self.rule.xid, "rule": self.rule.to_text()}

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "cuda", "path": str(self._toggle.path), "generation": self._generation}

    def apply(self) -> None:
        for toggle in [self._toggle, *self._neighbours.values()]:
            self._before |= {counters.process: counters.failures for counters in toggle.counters()}
        self.applied_s = monotonic()
        self._toggle.switch_on(self.rule.to_text(), self._generation)

    def prove(self) -> list[str]:
        limit = self.timeout + self.rule.delay
        if not wait_until(lambda: bool(self.failed()), limit):
            raise EvidenceMissing(f"no CUDA call of {self.replica.name} failed within {_text(limit)}: {self._why()}")
        failed, seen_s = self.failed(), monotonic()
        first = [counters.first_failed_s for counters in failed if counters.first_failed_s > self.applied_s]
        self.effective_s = min([*first, seen_s])
        evidence = [self._tell(counters) for counters in failed]
        for name, toggle in self._neighbours.items():
            wrong = [counters.process.pid for counters in toggle.counters() if self.new_failures(counters)]
            if wrong or toggle.is_on:
                why = f"calls of pids {wrong} failed" if wrong else f"{toggle.path} is on"
                raise EvidenceMissing(f"{name} is hit too, which was not meant: {why}")
            evidence.append(f"no CUDA call of {name} failed")
        return evidence

    def heal(self) -> str:
        done = undo(self.recipe)
        if not self.rule.lasting:
            return done
        started = self.platform.respawn(self.deployment, self.replica)
        return f"{done}; {started.name} was started again as {started.incarnation}"

    def verify(self) -> str:
        if not self.rule.lasting:
            return ""
        self.platform.wait_ready(self.deployment, self.deployment.settings.timeout)
        return "all replicas serve"

    @property
    def verification(self) -> Hashable:
        return ("ready", self.deployment.name) if self.rule.lasting else id(self)

    @property
    def goes_with_deployment(self) -> bool:
        return self.rule.lasting

    @property
    def is_over_when_healed(self) -> bool:
        return not self.rule.lasting

    def failed(self) -> list[Counters]:
        """Counters of the replica's processes whose calls have failed since this fault was injected."""
        return [counters for counters in self._toggle.counters() if self.new_failures(counters)]

    def new_failures(self, counters: Counters) -> int:
        """How many calls of a process have failed since."""
        return counters.failures - self._before.get(counters.process, 0)

    def _tell(self, counters: Counters) -> str:
        kinds = ", ".join(f"{count} {name}" for name, count in counters.failed.items() if count)
        after = seconds_text(max(0.0, counters.first_failed_s - self.applied_s))
        first = f", the first {after} after the toggle" if counters.first_failed_s > self.applied_s else ""
        return f"pid {counters.process.pid}: calls fail with {self.rule.error_text} ({kinds}){first}"

    def _why(self) -> str:
        """What the counters say instead."""
        counters = [each for each in self._toggle.counters() if each.process.is_running]
        if not counters:
            return f"none of its processes has made a CUDA call under the shim (log: {self.replica.log})"
        deaf = [each.process.pid for each in counters if each.generation != self._generation]
        if deaf:
            return f"its processes {deaf} have not read the toggle {self._toggle.path}"
        seen = sum(sum(each.seen.values()) for each in counters)
        return f"it has made {seen} CUDA calls since; a replica must be at work to fail (log: {self.replica.log})"


def shimmed_processes(platform: CudaPlatform, replica: Replica, library: str) -> list[ProcessId]:
    """Processes of a replica that have the shim mapped."""
    return [process for process in platform.processes(replica) if library in _maps(process.pid)]


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""


def _text(limit: timedelta) -> str:
    return seconds_text(limit.total_seconds())
