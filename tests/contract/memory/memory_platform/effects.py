"""What platform `memory` does to replicas, each proven by a look at what has become of them."""

import signal
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.errors import EvidenceMissing
from DynamoFaultLibrary.ledger.undo import Recipe
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import Effect, End
from DynamoFaultLibrary.platforms.replicas import Incarnation, Replica, ReplicaExit

if TYPE_CHECKING:
    from memory_platform.platform import Life, MemoryPlatform


@dataclass
class MemoryEffect(Effect):
    """Undone by a request to the platform's server, whoever sends it: to do `action` with `what`."""

    platform: "MemoryPlatform"
    action: str
    what: str
    hit: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        return self.hit

    @property
    def recipe(self) -> Recipe:
        return {"platform": "memory", "server": self.platform.server, "action": self.action, "what": self.what}


@dataclass
class EndOfReplica(MemoryEffect):
    """A replica has one process, and ends with it."""

    deployment: Deployment
    life: "Life"
    end: End

    def apply(self) -> None:
        self.applied_s = monotonic()
        killed = self.end.number == signal.SIGKILL
        how, number = ("killed by SIGKILL", signal.SIGKILL) if killed else ("exit status 0", None)
        self.life["exit"] = self.life["exit"] or ReplicaExit(how, monotonic(), number)

    def prove(self) -> list[str]:
        name, sent, found = self.life["replica"].name, self.end.signal_name, self.life["exit"]
        if found is None:
            raise EvidenceMissing(f"{name} still runs after {sent}")
        if not 0 < self.applied_s <= found.at:
            raise EvidenceMissing(f"{name} had ended before {sent} was sent: {found.how}")
        self.effective_s = found.at
        if self.end.stays_dead is False:
            self.compensation, self.made_good_s = self.heal(), monotonic()
        how = f"{name}, {self.what}: {found.how}, {seconds_text(found.at - self.applied_s)} after {sent}"
        return [how, *filter(None, [self.compensation])]

    def verify(self) -> str:
        self.platform.wait_ready(self.deployment, self.deployment.settings.timeout)
        return "all replicas serve"

    @property
    def verification(self) -> Hashable:
        return self.deployment.name

    @property
    def ended(self) -> Sequence[Incarnation]:
        return [self.what]


@dataclass
class Pause(MemoryEffect):
    """A replica that is stopped answers nothing."""

    life: "Life"

    def apply(self) -> None:
        self.applied_s = self.effective_s = monotonic()
        self.life["stopped"] = True

    def prove(self) -> list[str]:
        if not self.life["stopped"] or self.life["exit"]:
            raise EvidenceMissing(f"{self.life['replica'].name} is not stopped")
        return [f"{self.life['replica'].name}, {self.what}, is stopped"]

    @property
    def moot(self) -> str:
        return "its process has ended" if self.life["exit"] else ""

    @property
    def moot_s(self) -> float | None:
        return self.life["exit"].at if self.life["exit"] else None


@dataclass
class Cut(MemoryEffect):
    """Replicas do not reach each other, whatever lives they have."""

    pairs: Sequence[tuple[Replica, Replica]]

    def apply(self) -> None:
        self.applied_s = self.effective_s = monotonic()
        self.platform.cuts[self.what] = [{one.key, other.key} for one, other in self.pairs]

    def prove(self) -> list[str]:
        parted = [pair for pair in self.pairs if self.platform.is_cut(*pair)]
        if self.what not in self.platform.cuts or parted != self.pairs:
            raise EvidenceMissing(f"not cut off from each other: {self.pairs}; known cuts are {self.platform.cuts}")
        return [f"{one.name} and {other.name} do not reach each other" for one, other in parted]

    def verify(self) -> str:
        """Nothing is said of two that another cut keeps apart."""
        able = [pair for pair in self.pairs if not self.platform.is_cut(*pair)]
        return ", ".join(f"{one.name} and {other.name} reach each other" for one, other in able)
