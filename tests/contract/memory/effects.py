"""What platform `memory` does to replicas, each proven by a look at what has become of them."""

import signal
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.errors import EvidenceMissing
from DynamoFaultLibrary.ledger.undo import Recipe, undo
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import Effect, End
from DynamoFaultLibrary.platforms.replicas import Incarnation, Replica, ReplicaExit

if TYPE_CHECKING:
    from memory.platform import Life, MemoryPlatform


@dataclass
class MemoryEffect(Effect):
    """Undone by a request to the platform's server, whoever sends it; `undoing` is what that has to know."""

    platform: "MemoryPlatform"
    facts_: dict[str, Any]
    undoing: dict[str, Any]

    @property
    def facts(self) -> dict[str, Any]:
        return self.facts_

    @property
    def recipe(self) -> Recipe:
        return {"platform": "memory", "server": self.platform.server, **self.undoing}

    def heal(self) -> str:
        return undo(self.recipe)


@dataclass
class EndOfReplica(MemoryEffect):
    """A replica has one process, and ends with it."""

    deployment: Deployment
    replica: Replica
    life: "Life"
    end: End

    def apply(self) -> None:
        self.applied_s = monotonic()
        killed = self.end.number == signal.SIGKILL
        how, number = ("killed by SIGKILL", signal.SIGKILL) if killed else ("exit status 0", None)
        self.life["exit"] = self.life["exit"] or ReplicaExit(how, monotonic(), number)

    def prove(self) -> list[str]:
        name, sent, found = self.replica.name, self.end.signal_name, self.life["exit"]
        if found is None:
            raise EvidenceMissing(f"{name} still runs after {sent}")
        if not 0 < self.applied_s <= found.at:
            raise EvidenceMissing(f"{name} had ended before {sent} was sent: {found.how}")
        self.effective_s = found.at
        if self.end.stays_dead is False:
            self.compensation, self.made_good_s = self.heal(), monotonic()
        how = f"{name}, {self.replica.incarnation}: {found.how}, {seconds_text(found.at - self.applied_s)} after {sent}"
        return [how, *filter(None, [self.compensation])]

    def verify(self) -> str:
        self.platform.wait_ready(self.deployment, self.deployment.settings.timeout)
        return "all replicas serve"

    @property
    def verification(self) -> Hashable:
        return self.deployment.name

    @property
    def is_over_when_healed(self) -> bool:
        return False

    @property
    def ended(self) -> Sequence[Incarnation]:
        return [self.replica.incarnation]


@dataclass
class Pause(MemoryEffect):
    """A replica that is stopped answers nothing."""

    life: "Life"

    def apply(self) -> None:
        self.applied_s = self.effective_s = monotonic()
        self.life["stopped"] = True

    def prove(self) -> list[str]:
        if not self.life["stopped"] or self.life["exit"]:
            raise EvidenceMissing(f"{self.life['name']} is not stopped")
        return [f"{self.life['name']}, {self.life['incarnation']}, is stopped"]

    @property
    def moot(self) -> str:
        return "its process has ended" if self.life["exit"] else ""

    @property
    def moot_s(self) -> float | None:
        return self.life["exit"].at if self.life["exit"] else None


@dataclass
class Cut(MemoryEffect):
    """Replicas do not reach each other."""

    pairs: Sequence[tuple[Replica, Replica]]

    def apply(self) -> None:
        self.applied_s = self.effective_s = monotonic()
        self.platform.cuts[self.undoing["cut"]] = [{one.key, other.key} for one, other in self.pairs]

    def prove(self) -> list[str]:
        reached = self._reached()
        if reached or self.undoing["cut"] not in self.platform.cuts:
            raise EvidenceMissing(f"nothing was cut; {reached or 'others keep them apart'}")
        return [f"{one.name} and {other.name} do not reach each other" for one, other in self.pairs]

    def verify(self) -> str:
        return self._reached()

    def _reached(self) -> str:
        """Who reach each other; nobody while another cut keeps them apart."""
        found = [pair for pair in self.pairs if not self.platform.is_cut(pair[0].key, pair[1].key)]
        return "; ".join(f"{one.name} and {other.name} reach each other" for one, other in found)
