"""CUDA faults: the calls of one replica fail as after an XID, by the shim that it runs under."""

from collections.abc import Hashable
from dataclasses import dataclass
from typing import Any, ClassVar

from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import CudaEffect
from DynamoFaultLibrary.platforms.replicas import Replica


@dataclass
class EnableCudaFaults(Fault):
    """CUDA calls of one replica fail."""

    kind: ClassVar[str] = "Enable Cuda Faults"
    deployment: Deployment
    replica: Replica
    effect: CudaEffect

    @property
    def target(self) -> dict[str, Any]:
        return {
            "deployment": self.deployment.name,
            "node": self.replica.node,
            "service": self.replica.service,
            "replica": self.replica.name,
            **self.effect.facts,
        }

    @property
    def recipe(self) -> dict[str, Any]:
        return self.effect.recipe

    def inject(self) -> None:
        self.effect.apply()

    def prove(self) -> list[str]:
        evidence = self.effect.prove()
        self.effective_s = self.effect.effective_s
        return evidence

    def undo(self) -> str:
        return self.effect.heal()

    def verify(self) -> str:
        return self.effect.verify()

    @property
    def verification(self) -> Hashable:
        return self.effect.verification

    @property
    def is_over_when_undone(self) -> bool:
        return self.effect.is_over_when_healed
