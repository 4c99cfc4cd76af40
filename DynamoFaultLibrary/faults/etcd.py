"""Members of an etcd cluster end or stall, and those that are left say what became of the cluster."""

from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, RecoveryError
from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.platforms.base import ControlPlane
from DynamoFaultLibrary.platforms.etcd import POLL, EtcdCluster, Leader


class MemberData(StrEnum):
    """What an etcd member starts with."""

    KEPT = "kept"
    """Its data directory: it goes on where it was."""
    FRESH = "fresh"
    """Nothing: the cluster removes it and adds a new member in its place."""


@dataclass
class MemberLoss:
    """What a cluster is to lose with one of its members, as seen beforehand."""

    cluster: EtcdCluster
    member: str
    force: bool = False
    """Lose the member although the others are no majority."""
    timeout: timedelta = timedelta(seconds=30)
    peer_urls: list[str] = field(init=False)
    _leader: Leader | None = field(init=False)
    _keeps_majority: bool = field(init=False)

    def __post_init__(self) -> None:
        self._leader = self.cluster.leader()
        self.peer_urls = self.cluster.peer_urls(self.member) if self._leader else []
        left = len(self.cluster.statuses().keys() - {self.member})
        self._keeps_majority = left >= self.cluster.majority
        if not self._keeps_majority and not self.force:
            raise FaultError(
                f"without {self.member}, {left} of {len(self.cluster.urls)} etcd members would be left, and "
                f"{self.cluster.majority} are a majority; use force=True to do it anyway"
            )

    def prove(self, since: float) -> str:
        """How the others go on, `since` a moment on the monotonic clock; without a majority, that they do not.

        Raises:
            EvidenceMissing: they have not noticed.
        """
        if not self._keeps_majority:
            self._expect(lambda: self.cluster.leader() is None, "there still is a leader")
            return f"no majority follows a leader: {self.cluster.describe()}"
        had_led = self._leader is not None and self._leader.name == self.member
        term = self._leader.term if self._leader and had_led else 0
        leader = self.cluster.wait_for_leader(self.timeout, above_term=term)
        if leader is None or leader.name == self.member:
            raise EvidenceMissing(
                f"the members without {self.member} have no {'new ' if had_led else ''}leader after "
                f"{seconds_text(self.timeout.total_seconds())}: {self.cluster.describe()}"
            )
        if had_led:
            return f"{leader} instead of {self._leader}, {seconds_text(monotonic() - since)} after the fault"
        return f"{leader} without {self.member}"

    def make_good(self, timeout: timedelta) -> str:
        """Wait until the member votes; where there is no majority to vote in, until it answers.

        Raises:
            RecoveryError: it does neither.
        """
        if not wait_until(self._is_back, timeout, POLL):
            raise RecoveryError(f"{self.member} runs, but is no voting member: {self.cluster.describe()}")
        return self.cluster.describe()

    def _is_back(self) -> bool:
        if len(self.cluster.statuses()) < self.cluster.majority:
            return self.cluster.answers(self.member)
        return self.cluster.is_voting(self.member)

    def _expect(self, condition: Callable[[], bool], otherwise: str) -> None:
        if not wait_until(condition, self.timeout, POLL):
            raise EvidenceMissing(f"{self.member} is gone, but {otherwise}: {self.cluster.describe()}")


@dataclass
class MemberFault(Fault):
    """A member is paused or cut off, and the others notice."""

    loss: MemberLoss = field(kw_only=True)

    def prove(self) -> list[str]:
        return [*super().prove(), self.loss.prove(self.effect.applied_s)]

    def verify(self) -> str:
        return "; ".join(filter(None, [super().verify(), self.loss.make_good(self.deployment.settings.timeout)]))


@dataclass
class EndOfMember(MemberFault):
    """A member ends."""

    platform: ControlPlane = field(kw_only=True)
    _start_with: MemberData = field(init=False, default=MemberData.KEPT)

    def start_with(self, data: MemberData) -> None:
        """Choose what its undo starts it with.

        Raises:
            FaultError: it cannot be replaced by a member with fresh data.
        """
        if data is MemberData.FRESH and not self.loss.peer_urls:
            raise FaultError(f"{self.victim.name} cannot start with fresh data: etcd had no leader when it ended")
        self._start_with = data

    def undo(self) -> str:
        if self._start_with is MemberData.KEPT:
            return f"{super().undo()} with kept data"
        self.loss.cluster.replace(self.victim.name, self.loss.peer_urls)
        replica = self.platform.start_without_data(self.deployment, self.victim)
        return f"{replica.name} runs as {replica.incarnation} with fresh data"

    def verify(self) -> str:
        return self.loss.make_good(self.deployment.settings.timeout)

    @property
    def verification(self) -> Hashable:
        return id(self)
