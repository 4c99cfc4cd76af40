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
from DynamoFaultLibrary.platforms.effects import CudaRule, FailingCudaCalls
from DynamoFaultLibrary.platforms.replicas import Replica


@runtime_checkable
class CudaPlatform(CudaShimming, Replacing, Observing, Protocol):
    """What CUDA faults need of a platform."""


@dataclass(eq=False)
class ToggledCuda(FailingCudaCalls):
    """By the toggle of the replica. Its neighbours are watched, but for those with a CUDA fault of their own."""

    platform: CudaPlatform
    deployment: Deployment
    replica: Replica
    rule: CudaRule
    timeout: timedelta
    _toggle: Toggle = field(init=False)
    _neighbours: dict[str, Toggle] = field(init=False)
    _generation: int = field(init=False, default_factory=new_generation)
    _before: dict[tuple[str, ShimmedProcess], int] = field(init=False, default_factory=dict)
    """Failed calls when it was applied, by the toggles' places and the processes under them."""

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
        return self._toggle.recipe(self._generation)

    @property
    def failures(self) -> int:
        return sum(self._new_failures(self._toggle, each) for each in self._toggle.counters())

    def apply(self) -> None:
        for toggle in (self._toggle, *self._neighbours.values()):
            self._before |= {(toggle.place, each.process): each.failures for each in toggle.counters()}
        self.applied_s = monotonic()
        self._toggle.switch_on(self.rule.to_text(), self._generation)

    def prove(self) -> list[str]:
        limit = self.timeout + self.rule.delay
        if not wait_until(lambda: self.failures > 0, limit, self._toggle.poll_s):
            within = seconds_text(limit.total_seconds())
            raise EvidenceMissing(f"no CUDA call of {self.replica.name} failed within {within}: {self._why()}")
        failed, seen_s = self._failed(self._toggle), monotonic()
        self.effective_s = min([seen_s, *filter(None, map(self._first_failed_s, failed))])
        evidence = [self._tell(counters) for counters in failed]
        for name, toggle in self._neighbours.items():
            wrong = ", ".join(str(counters.process) for counters in self._failed(toggle))
            if wrong or toggle.is_on:
                why = f"calls of {wrong} failed" if wrong else f"{toggle.place} is on"
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

    def _failed(self, toggle: Toggle) -> list[Counters]:
        """Those of processes whose calls have failed since it was applied."""
        return [each for each in toggle.counters() if self._new_failures(toggle, each)]

    def _new_failures(self, toggle: Toggle, counters: Counters) -> int:
        return counters.failures - self._before.get((toggle.place, counters.process), 0)

    def _first_failed_s(self, counters: Counters) -> float | None:
        """When its first call failed on our clock; None when that cannot be told, or was before."""
        known = self._toggle.shares_clock and counters.first_failed_s > self.applied_s
        return counters.first_failed_s if known else None

    def _tell(self, counters: Counters) -> str:
        kinds = ", ".join(f"{count} {name}" for name, count in counters.failed.items() if count)
        first_s = self._first_failed_s(counters)
        first = f", the first {seconds_text(first_s - self.applied_s)} after the toggle" if first_s else ""
        return f"{counters.process}: calls fail with {self.rule.error_text} ({kinds}){first}"

    def _why(self) -> str:
        """What the counters say instead."""
        running = self._toggle.running()
        if not running:
            return f"none of its processes has made a CUDA call under the shim (log: {self.replica.log})"
        deaf = ", ".join(str(each.process) for each in running if each.generation != self._generation)
        if deaf:
            return f"its processes ({deaf}) have not read the toggle {self._toggle.place}"
        seen = sum(sum(each.seen.values()) for each in running)
        return f"it has made {seen} CUDA calls since; a replica must be at work to fail (log: {self.replica.log})"
