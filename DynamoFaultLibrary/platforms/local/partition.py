"""Partitions of an isolated deployment: packet filters in its switch, and probes at both ends that see them."""

import math
import secrets
from abc import abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, RecoveryError
from DynamoFaultLibrary.net.filter import Rule, Verdict
from DynamoFaultLibrary.net.namespace import HeldNamespace, inside
from DynamoFaultLibrary.net.sockets import Connection, connections, destroy
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import Direction, Effect, Partition, PartitionMode
from DynamoFaultLibrary.platforms.local.host import Host
from DynamoFaultLibrary.platforms.local.network import IsolatedNetwork, Network
from DynamoFaultLibrary.platforms.local.probe import Answer, Probe, Way
from DynamoFaultLibrary.platforms.local.undoers import local_recipe

PROOF_TIMEOUT = 2.0
"""Seconds by which a packet that was sent must have been counted, or have arrived."""

MAX_RATE = 2_500_000
"""Bytes a second (20 Mbit/s): what a probe can exceed for certain."""

_INTERVAL = 0.0005
_BURST = 3_000
_SMALL, _LARGE = 100, 16_000
"""Bytes of a datagram; the kernel cuts a large one into packets, which is faster than to send them one by one."""


@dataclass(frozen=True)
class End:
    """A replica and its host."""

    name: str
    host: Host

    def __str__(self) -> str:
        return f"{self.name} ({self.host.address})"


@dataclass(frozen=True)
class Pair:
    """Two replicas that are cut off from each other."""

    source: End
    target: End

    def __str__(self) -> str:
        return f"{self.source} and {self.target}"

    def addresses(self, way: Way) -> tuple[str, str]:
        """Where packets of this way come from and go to."""
        ends = (self.source.host.address, self.target.host.address)
        return ends if way is Way.TO else ends[::-1]

    def is_same(self, other: "Pair") -> bool:
        """Whether the other has the same two ends."""
        return {self.source, self.target} == {other.source, other.target}


def plan_cut(network: Network, deployment: Deployment, partition: Partition) -> "LocalCut":
    """Plan a partition of a deployment.

    Raises:
        FaultError: its replicas share a host, or so high a rate cannot be proven here.
    """
    if not isinstance(network, IsolatedNetwork):
        raise FaultError(
            f"the replicas of deployment '{deployment.name}' share this machine's loopback, so they cannot be cut off "
            "from each other; deploy the graph with network=isolated"
        )
    if partition.rate is not None and partition.rate > MAX_RATE:
        raise FaultError(f"rate must be from 1 to {MAX_RATE} bytes a second, not {partition.rate}")
    pairs = [Pair(*(End(each.name, network.hosts[each.name]) for each in pair)) for pair in partition.pairs]
    kind = ResetCut if partition.mode is PartitionMode.RESET else ThinCut if partition.is_partial else FullCut
    return kind(network, pairs, partition)


@dataclass
class LocalCut(Effect):
    """What all kinds share: the pairs, the probes between them, the recipe."""

    network: IsolatedNetwork
    pairs: Sequence[Pair]
    partition: Partition
    table: str = field(default_factory=lambda: f"cut-{secrets.token_hex(4)}")
    probes: dict[Pair, Probe] = field(init=False, default_factory=dict)

    @property
    def facts(self) -> dict[str, Any]:
        partition = self.partition
        return {
            "mode": partition.mode.value,
            "direction": partition.direction.value,
            "loss": partition.loss,
            "rate": partition.rate,
        }

    @property
    def recipe(self) -> dict[str, Any]:
        """How anybody undoes it."""
        return local_recipe("heal", table=self.table, namespace=self.network.switch.to_json())

    @property
    def ways(self) -> list[Way]:
        """Which ways are cut."""
        return [way for way in Way if self.partition.direction in (Direction.BOTH, way.value)]

    def apply(self) -> None:
        """Open the probes' connections where nothing is cut yet, then cut."""
        for pair in self.pairs:
            is_cut = bool(self._others_between(pair))
            self.probes[pair] = Probe(pair.source.host, pair.target.host, open_connections=not is_cut)
        self.network.cuts[self.table] = self
        self.applied_s = monotonic()
        self.cut()
        self.effective_s = monotonic()

    @abstractmethod
    def cut(self) -> None:
        """Cut."""

    def prove(self) -> list[str]:
        if not self.probes:
            raise EvidenceMissing(f"nothing was cut between {'; '.join(map(str, self.pairs))}")
        return [self.prove_pair(pair, self.probes[pair]) for pair in self.pairs]

    @abstractmethod
    def prove_pair(self, pair: Pair, probe: Probe) -> str:
        """Evidence from one pair."""

    def verify(self) -> str:
        """See `Effect.verify`. Where another cut stands, nothing can be shown but that this one's filter is out."""
        began, healed = monotonic(), []
        for pair, probe in self.probes.items():
            if self._others_between(pair):
                continue
            if not (probe.idle_connection_works() and probe.new_connection_works()):
                raise RecoveryError(f"the packet filter is out, but {pair} still do not reach each other")
            healed.append(pair)
        if not healed:
            return ""
        took = seconds_text(monotonic() - began)
        return f"open and new connections work between {'; '.join(map(str, healed))}, seen within {took}"

    def close(self) -> None:
        self.network.cuts.pop(self.table, None)
        for probe in self.probes.values():
            probe.close()
        self.probes.clear()

    def after(self) -> str:
        """How long ago it was cut, for people."""
        return seconds_text(monotonic() - self.applied_s)

    def _others_between(self, pair: Pair) -> list["LocalCut"]:
        """Other cuts between the two of a pair that are in effect; one may have come off by itself."""
        others = [
            cut
            for cut in self.network.cuts.values()
            if isinstance(cut, LocalCut) and cut is not self and any(pair.is_same(theirs) for theirs in cut.pairs)
        ]
        standing = self.network.filter.tables() if others else []
        return [cut for cut in others if cut.table in standing]


class FilterCut(LocalCut):
    """Packets between the pairs meet a filter in the switch."""

    def cut(self) -> None:
        """Put the rules in. A later cut is asked first, so that it sees what an earlier one drops."""
        self._rules = [rule for pair in self.pairs for way in self.ways for rule in self.rules(pair.addresses(way))]
        self.network.filter.add_table(self.table, self._rules, -next(self.network.numbers))

    @abstractmethod
    def rules(self, addresses: tuple[str, str]) -> list[Rule]:
        """Rules for packets from one address to another."""

    def caught(self, pair: Pair, way: Way) -> int:
        """How many packets of a pair the filter has caught."""
        wanted = pair.addresses(way)
        counts = zip(self._rules, self.network.filter.packets(self.table), strict=False)  # none, if it is not there
        return sum(count for rule, count in counts if (rule.source, rule.target) == wanted)


class FullCut(FilterCut):
    """Modes drop and reject: nothing gets through."""

    def rules(self, addresses: tuple[str, str]) -> list[Rule]:
        if self.partition.mode is PartitionMode.DROP:
            return [Rule(*addresses)]
        return [Rule(*addresses, Verdict.RESET), Rule(*addresses, Verdict.UNREACHABLE)]

    def prove_pair(self, pair: Pair, probe: Probe) -> str:
        """A byte on an open connection, a new connection, and datagrams the way that is not cut."""
        caught = {way: self.caught(pair, way) for way in self.ways}
        for way in self.ways:
            if probe.is_open:
                probe.send(way)
            else:
                probe.send_datagrams(way, 1, _SMALL)
        probe.try_to_connect()
        for way in self.ways:
            self._expect(
                partial(self._has_caught_more, pair, way, caught[way]), f"no packet {_between(pair, way)} caught"
            )
            if probe.is_open:
                self._expect_end_of_connection(pair, probe, way)
            elif probe.receive_datagrams(way):
                raise EvidenceMissing(f"a datagram {_between(pair, way)} has arrived")
        for way in set(Way) - set(self.ways):
            self._expect_passage(pair, probe, way)
        attempt = self._end_of_attempt(pair, probe)
        counts = ", ".join(f"{self.caught(pair, way)} {_between(pair, way)}" for way in self.ways)
        was = "an open connection: " + self._expected().value if probe.is_open else "already cut by another fault"
        return f"{pair}: {was}; a new connection: {attempt.value}; packets caught: {counts}, seen within {self.after()}"

    def _has_caught_more(self, pair: Pair, way: Way, before: int) -> bool:
        return self.caught(pair, way) > before

    def _expected(self) -> Answer:
        return Answer.BROKEN if self.partition.mode is PartitionMode.REJECT else Answer.NONE

    def _expect_end_of_connection(self, pair: Pair, probe: Probe, way: Way) -> None:
        def is_over() -> bool:
            if self.partition.mode is PartitionMode.REJECT:
                return probe.outcome(way) is Answer.BROKEN
            return probe.is_unacknowledged(way)

        self._expect(is_over, f"a byte on an open connection {_between(pair, way)} was answered")
        if probe.outcome(way) is not self._expected():
            raise EvidenceMissing(
                f"a byte on an open connection {_between(pair, way)}: expected {self._expected().value}, "
                f"seen {probe.outcome(way).value}"
            )

    def _expect_passage(self, pair: Pair, probe: Probe, way: Way) -> None:
        """The other way is open, unless another fault has cut it."""
        if self._others_between(pair):
            return
        arrived = probe.send_datagrams(way, 1, _SMALL)
        otherwise = f"nothing gets through {_between(pair, way)} either"
        self._expect(lambda: arrived + probe.receive_datagrams(way) > 0, otherwise)

    def _end_of_attempt(self, pair: Pair, probe: Probe) -> Answer:
        is_refused = self.partition.mode is PartitionMode.REJECT and Way.TO in self.ways and probe.is_open
        if is_refused:
            self._expect(lambda: probe.attempt() is Answer.REFUSED, f"a new connection between {pair} was not refused")
        answer = probe.attempt()
        if answer is Answer.CONNECTED:
            raise EvidenceMissing(f"a new connection between {pair} was made")
        return answer

    @staticmethod
    def _expect(condition: Callable[[], bool], otherwise: str) -> None:
        if not wait_until(condition, PROOF_TIMEOUT, _INTERVAL):
            raise EvidenceMissing(f"{otherwise} within {PROOF_TIMEOUT:g} s")


class ThinCut(FilterCut):
    """Some packets are dropped: a percentage, or those beyond a rate."""

    def rules(self, addresses: tuple[str, str]) -> list[Rule]:
        return [Rule(*addresses, loss=self.partition.loss, rate=self.partition.rate, burst=_BURST)]

    def prove_pair(self, pair: Pair, probe: Probe) -> str:
        """Datagrams, so many that some must be lost."""
        return f"{pair}: " + ", ".join(self._measure(pair, probe, way) for way in self.ways)

    def _measure(self, pair: Pair, probe: Probe, way: Way) -> str:
        sent, size = self._enough()
        before = self.caught(pair, way)
        arrived = probe.send_datagrams(way, sent, size)

        def is_accounted_for() -> bool:
            nonlocal arrived
            arrived += probe.receive_datagrams(way)
            return arrived + self.caught(pair, way) - before >= sent

        wait_until(is_accounted_for, PROOF_TIMEOUT, _INTERVAL)
        lost, caught = sent - arrived, self.caught(pair, way) - before
        if not lost or caught < lost:
            raise EvidenceMissing(f"of {sent} datagrams {_between(pair, way)} {lost} were lost and {caught} caught")
        return f"{lost} of {sent} datagrams {_between(pair, way)} were lost, seen within {self.after()}"

    def _enough(self) -> tuple[int, int]:
        """How many datagrams to send, of which size.

        With a loss so many that the chance to lose none is below 1e-9; with a rate more than the second's worth that
        nftables lets through at once.
        """
        if self.partition.rate is None:
            return max(50, math.ceil(21 / -math.log1p(-self.partition.loss / 100))), _SMALL
        return (self.partition.rate + _BURST) * 3 // 2 // _LARGE + 5, _LARGE


class ResetCut(LocalCut):
    """Mode reset: each open connection is closed at both ends. There is nothing to undo."""

    def cut(self) -> None:
        """Close them, in the namespaces of both ends."""
        self._closed: dict[Pair, list[Connection]] = {pair: [] for pair in self.pairs}
        for pair in self.pairs:
            ours = self.probes[pair].ports()
            for end, way in ((pair.source, Way.TO), (pair.target, Way.FROM)):
                wanted = pair.addresses(way)
                with inside(_namespace(end).descriptor):
                    closed = destroy([found for found in connections() if (found.address, found.peer) == wanted])
                self._closed[pair] += [one for one in closed if not ours & {one.port, one.peer_port}]

    def prove(self) -> list[str]:
        """As always, and at least one connection that is not the probe's own was closed."""
        evidence = super().prove()
        if not any(self._closed.values()):
            raise EvidenceMissing(f"there was no open connection to reset between {'; '.join(map(str, self.pairs))}")
        self.compensation = "new connections work"
        return evidence

    def verify(self) -> str:
        """There is nothing to verify: each new connection worked already."""
        return ""

    def prove_pair(self, pair: Pair, probe: Probe) -> str:
        """Both ends of an open connection saw an error; a new one works."""
        if probe.is_open and not wait_until(probe.is_broken, PROOF_TIMEOUT, _INTERVAL):
            raise EvidenceMissing(f"an open connection between {pair} was not reset at both ends")
        if not probe.new_connection_works():
            raise EvidenceMissing(f"after the reset no new connection between {pair} works")
        closed = ", ".join(map(str, self._closed[pair])) or "none"
        return f"{pair}: reset were {closed}; a new connection works, seen within {self.after()}"


def _namespace(end: End) -> HeldNamespace:
    assert end.host.namespace is not None  # noqa: S101  # hosts of isolated networks have one
    return end.host.namespace


def _between(pair: Pair, way: Way) -> str:
    first, second = (pair.source, pair.target) if way is Way.TO else (pair.target, pair.source)
    return f"from {first.name} to {second.name}"
