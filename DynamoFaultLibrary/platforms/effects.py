"""What platforms do to replicas: intents that keywords write, and effects that a platform plans for them."""

import signal
from abc import ABC, abstractmethod
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from itertools import product
from typing import Any

from DynamoFaultLibrary.cuda_toggle import CLASSES
from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.nodes.xid import ERROR_NAMES, STICKY, XIDS
from DynamoFaultLibrary.platforms.replicas import Incarnation, Replica


class Effect(ABC):
    """What a fault does, on its way through life: planned, applied, proven, healed, verified.

    Planning one does nothing. The platform that plans it has its own evidence for it. Moments are on the monotonic
    clock of this machine.
    """

    applied_s: float = 0.0
    """When it was applied; set by `apply`."""
    effective_s: float = 0.0
    """When it took effect, by its earliest evidence; 0: not known."""
    compensation: str = ""
    """Set when it cannot be undone but was made good: then nothing is left to heal."""
    made_good_s: float = 0.0
    """When it was made good; 0: with the end of its proof."""

    @property
    @abstractmethod
    def facts(self) -> dict[str, Any]:
        """What it does and hits, for the ledger, beside deployment, service, replica and node."""

    @property
    @abstractmethod
    def recipe(self) -> dict[str, Any]:
        """How anybody undoes it, as data; see `DynamoFaultLibrary.ledger.undo`."""

    @abstractmethod
    def apply(self) -> None:
        """Make it happen."""

    @abstractmethod
    def prove(self) -> list[str]:
        """Return the evidence that it took effect.

        Raises:
            EvidenceMissing: there is none, or something else was hit too.
        """

    def heal(self) -> str:
        """Take it off and see that it is; harmless when that was done already. Returns what was found or done.

        By its recipe, as anybody else would.

        Raises:
            RecoveryError: it is still there.
        """
        return undo(self.recipe)

    def verify(self) -> str:
        """See, once it is off, that what it hit works again. Returns what was seen; nothing when there is nothing.

        Raises:
            FaultLibraryError: it does not.
        """
        return ""

    @property
    def verification(self) -> Hashable:
        """What `verify` waits for: of effects with the same one is enough. By default each has its own."""
        return id(self)

    @property
    def is_over_when_healed(self) -> bool:
        """Whether `heal` ends it; else it is over once what it hit works again: what just starts serves nobody."""
        return not self.goes_with_deployment

    @property
    def ended(self) -> Sequence[Incarnation]:
        """Lives of replicas whose end it orders, and which `heal` has followed by others."""
        return ()

    @property
    def goes_with_deployment(self) -> bool:
        """Whether nothing is left of it once its deployment is deleted, so that nothing need be healed before."""
        return bool(self.ended)

    @property
    def moot(self) -> str:
        """Why it is not in effect any more though nobody has healed it; empty as long as it is."""
        return ""

    @property
    def moot_s(self) -> float | None:
        """When it became moot; None: not known."""
        return None

    def close(self) -> None:  # noqa: B027  # most hold nothing
        """Close what this process holds of it, since it has come off. Closing twice does no harm."""


@dataclass(frozen=True)
class End:
    """Processes of a replica are to end by a signal.

    Without `process_name` the whole replica ends: all of its processes by SIGKILL, or its leader by any other signal,
    after which the others must be gone too. With it, those end whose command line contains it.

    With `stays_dead` the replica stays ended until the effect is healed; else it is started again at once, by whomever,
    which makes the effect good.
    """

    number: int = signal.SIGKILL
    process_name: str | None = None
    stays_dead: bool = True
    timeout: timedelta = timedelta(seconds=5)

    @property
    def signal_name(self) -> str:
        """Such as SIGKILL."""
        return signal.Signals(self.number).name


class PartitionMode(StrEnum):
    """What happens to what two sides of a partition send each other."""

    DROP = "drop"
    """Packets vanish: connections hang, new ones time out."""
    REJECT = "reject"
    """Whoever sends gets a TCP reset (or ICMP unreachable): connections break, new ones are refused."""
    RESET = "reset"
    """Connections that are open are cut at both ends, once; new ones are made."""


class Direction(StrEnum):
    """Which packets a partition hits, seen from its source."""

    BOTH = "both"
    TO = "to"
    FROM = "from"


@dataclass(frozen=True)
class Partition:
    """A cut through the network: between each of `sources` and each of `targets`, and nobody else.

    `loss` is the percentage of packets that are hit, `rate` the bytes a second that get through.

    Raises:
        FaultError: what is asked for does not go together.
    """

    sources: Sequence[Replica]
    targets: Sequence[Replica]
    mode: PartitionMode = PartitionMode.DROP
    direction: Direction = Direction.BOTH
    loss: int = 100
    rate: int | None = None

    def __post_init__(self) -> None:
        if not 1 <= self.loss <= 100:
            raise FaultError(f"loss must be from 1 to 100 percent, not {self.loss}")
        if self.rate is not None and self.rate < 1:
            raise FaultError(f"rate must be 1 byte a second or more, not {self.rate}")
        if self.is_partial and self.mode is not PartitionMode.DROP:
            raise FaultError(f"loss and rate drop packets, so they go with mode=drop, not with mode={self.mode}")
        if self.loss < 100 and self.rate is not None:
            raise FaultError("a partition has either a loss or a rate; two that overlap can have one each")
        if self.mode is PartitionMode.RESET and self.direction is not Direction.BOTH:
            raise FaultError("mode=reset cuts connections at both ends, so it has no direction")
        if not self.pairs:
            names = ", ".join(replica.name for replica in self.sources)
            raise FaultError(f"a partition needs two sides, but source and target are both {names}")

    @property
    def pairs(self) -> list[tuple[Replica, Replica]]:
        """Each two that it parts, once."""
        found: dict[frozenset[str], tuple[Replica, Replica]] = {}
        for source, target in product(self.sources, self.targets):
            if source.key != target.key:
                found.setdefault(frozenset({source.key, target.key}), (source, target))
        return list(found.values())

    @property
    def is_partial(self) -> bool:
        """Whether some of it gets through."""
        return self.loss < 100 or self.rate is not None


ALL_GPUS = "all"


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


class FailingCudaCalls(Effect):
    """CUDA calls of one replica fail by a `CudaRule`."""

    @property
    @abstractmethod
    def failures(self) -> int:
        """Calls of its processes that have failed since it was applied."""
