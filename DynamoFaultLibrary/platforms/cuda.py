"""CUDA calls that fail by the shim which a replica runs under, for all platforms whose shims have toggles."""

from collections.abc import Hashable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol, runtime_checkable

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.cuda_toggle import Counters, ShimmedProcess, Toggle, new_generation
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.base import CudaShimming, Deployment, Observing, Replacing
from DynamoFaultLibrary.platforms.effects import CudaEffect, CudaRule
from DynamoFaultLibrary.platforms.replicas import Replica


@runtime_checkable
class CudaPlatform(CudaShimming, Replacing, Observing, Protocol):
    """What CUDA faults need of a platform."""


@dataclass
class _Watched:
    """A toggle, and how many calls of each process had failed before."""

    toggle: Toggle
    before: dict[ShimmedProcess, int] = field(init=False, default_factory=dict)

    def begin(self) -> None:
        """What has failed until now is not counted."""
        self.before = {counters.process: counters.failures for counters in self.toggle.counters()}

    def new(self, counters: Counters) -> int:
        """How many calls of a process have failed since."""
        return counters.failures - self.before.get(counters.process, 0)

    def failed(self) -> list[Counters]:
        """Those of processes whose calls have failed since."""
        return [counters for counters in self.toggle.counters() if self.new(counters)]


@dataclass(eq=False)
class ToggledCuda(CudaEffect):
    """By the toggle of the replica. Its neighbours are watched, but for those with a CUDA fault of their own."""

    platform: CudaPlatform
    deployment: Deployment
    replica: Replica
    rule: CudaRule
    timeout: timedelta
    _watched: _Watched = field(init=False)
    _neighbours: dict[str, _Watched] = field(init=False)
    _generation: int = field(init=False, default_factory=new_generation)

    def __post_init__(self) -> None:
        toggle = self.platform.cuda_toggle(self.replica)
        if toggle is None:
            raise FaultError(
                f"{self.replica.name} does not run under the CUDA shim; call 'Set Up Cuda Shim' for its service"
            )
        if toggle.is_on:
            raise FaultError(
                f"the CUDA faults of {self.replica.name} are on already ({toggle.place}); disable them first"
            )
        self._watched = _Watched(toggle)
        services = self.deployment.graph.services
        others = [other for name in services for other in self.platform.replicas(self.deployment, name)]
        toggles = {other.name: self.platform.cuda_toggle(other) for other in others if other.key != self.replica.key}
        self._neighbours = {name: _Watched(found) for name, found in toggles.items() if found and not found.is_on}

    @property
    def facts(self) -> dict[str, Any]:
        return {"xid": self.rule.xid, "rule": self.rule.to_text()}

    @property
    def recipe(self) -> dict[str, Any]:
        return self._watched.toggle.recipe(self._generation)

    @property
    def failures(self) -> int:
        return sum(map(self._watched.new, self._watched.toggle.counters()))

    def apply(self) -> None:
        for watched in [self._watched, *self._neighbours.values()]:
            watched.begin()
        self.applied_s = monotonic()
        self._watched.toggle.switch_on(self.rule.to_text(), self._generation)

    def prove(self) -> list[str]:
        limit = self.timeout + self.rule.delay
        if not wait_until(lambda: bool(self._watched.failed()), limit, self._watched.toggle.poll_s):
            within = seconds_text(limit.total_seconds())
            raise EvidenceMissing(f"no CUDA call of {self.replica.name} failed within {within}: {self._why()}")
        failed, seen_s = self._watched.failed(), monotonic()
        self.effective_s = min([seen_s, *filter(None, map(self._first_failed_s, failed))])
        evidence = [self._tell(counters) for counters in failed]
        for name, watched in self._neighbours.items():
            wrong = ", ".join(str(counters.process) for counters in watched.failed())
            if wrong or watched.toggle.is_on:
                why = f"calls of {wrong} failed" if wrong else f"{watched.toggle.place} is on"
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

    def _first_failed_s(self, counters: Counters) -> float | None:
        """When its first call failed on our clock; None when that cannot be told, or was before."""
        known = self._watched.toggle.shares_clock and counters.first_failed_s > self.applied_s
        return counters.first_failed_s if known else None

    def _tell(self, counters: Counters) -> str:
        kinds = ", ".join(f"{count} {name}" for name, count in counters.failed.items() if count)
        first_s = self._first_failed_s(counters)
        first = f", the first {seconds_text(first_s - self.applied_s)} after the toggle" if first_s else ""
        return f"{counters.process}: calls fail with {self.rule.error_text} ({kinds}){first}"

    def _why(self) -> str:
        """What the counters say instead."""
        toggle = self._watched.toggle
        running = toggle.running()
        if not running:
            return f"none of its processes has made a CUDA call under the shim (log: {self.replica.log})"
        deaf = ", ".join(str(each.process) for each in running if each.generation != self._generation)
        if deaf:
            return f"its processes ({deaf}) have not read the toggle {toggle.place}"
        seen = sum(sum(each.seen.values()) for each in running)
        return f"it has made {seen} CUDA calls since; a replica must be at work to fail (log: {self.replica.log})"
