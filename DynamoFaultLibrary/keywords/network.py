"""Keywords that partition the network."""

import re
from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.faults.network import PartitionType, check_sides, default_sides
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.injecting import InjectingComponent
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.platforms.base import Partitioning, require
from DynamoFaultLibrary.platforms.effects import Direction, Partition, PartitionMode
from DynamoFaultLibrary.platforms.replicas import Replica

ALL = "all"
PARTITION, ISOLATION = "Partition Network", "Isolate Etcd Member"

_RATE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmg]?)bit(?:/s)?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1_000, "m": 1_000_000, "g": 1_000_000_000}


def bytes_per_second(bandwidth: str) -> int:
    """A bandwidth as tc(8) writes it, such as ``64 kbit`` or ``1.5 Mbit``, in bytes a second.

    Raises:
        FaultError: it is none.
    """
    match = _RATE.fullmatch(bandwidth.strip())
    if match is None:
        raise FaultError(f"rate must be a bandwidth such as '64 kbit' or '1.5 Mbit', not '{bandwidth}'")
    return round(float(match.group(1)) * _UNITS[match.group(2).lower()] / 8)


class NetworkKeywords(InjectingComponent):
    """Partition Network, and its undoing."""

    @keyword(tags=["Fault"])
    @on_graph
    def partition_network(
        self,
        partition_type: PartitionType,
        source: str | None = None,
        target: str | None = None,
        *,
        source_replica: int | str = ALL,
        target_replica: int | str = ALL,
        serving: Request | None = None,
        mode: PartitionMode = PartitionMode.DROP,
        direction: Direction = Direction.BOTH,
        loss: int = 100,
        rate: str | None = None,
        duration: timedelta | None = None,
    ) -> str:
        """Cuts replicas off from each other, and nobody else. Returns the id of the fault.

        | *Type* | *Between* |
        | ``FRONTEND_WORKER`` | frontends and workers |
        | ``WORKER_NATS`` | workers and the NATS server |
        | ``WORKER_WORKER`` | prefill workers and the others; without prefill workers each worker and each other |
        | ``CUSTOM`` | ``source`` and ``target``: services of the graph, or ``etcd`` and ``nats`` |

        | *Argument* | *Meaning* |
        | ``source``, ``target`` | Service at either side, in place of the type's own; it must fit the type |
        | ``source_replica``, ``target_replica`` | ``all``, the index or name of one, or ``random`` |
        | ``serving`` | A request: of the workers, at whichever side they are, only the one that serves it is cut off |
        | ``mode`` | ``drop``: packets vanish. ``reject``: whoever sends gets a TCP reset. ``reset``: open connections are cut at both ends, once, and new ones are made |
        | ``direction`` | ``both``, ``to``: packets from source to target, ``from``: the others |
        | ``loss`` | Percentage of packets that vanish (``mode=drop``) |
        | ``rate`` | Bandwidth that gets through, such as ``64 kbit``; what is beyond it vanishes (``mode=drop``) |
        | ``duration`` | After this time it heals by itself; default: the library's ``fault_ttl``. Not with ``mode=reset`` |

        Platform ``local`` needs a graph that was deployed with ``network=isolated``.

        Evidence: between each two replicas, a byte on a connection that was open before and an attempt to make a new
        one, with the packets that were caught; for ``loss`` and ``rate``, datagrams that were lost; for ``reset``, the
        connections that were closed. Undo: the packet filter is taken out; verified: bytes pass on a connection from
        before and on a new one. A ``reset`` is over at once. Partitions may overlap and heal one by one.

        TCP waits longer and longer before it sends again: after a partition of 20 s with ``mode=drop`` an open
        connection may need as long again to go on.

        Example:
        | `Partition Network` | FRONTEND_WORKER | serving=${request} | duration=30 s |
        | `Partition Network` | CUSTOM | Frontend | PositionWorker | target_replica=0 | loss=30 |
        """  # noqa: E501  # a table's row is one line
        begin_observation(self.context)
        kind = partition_type
        if mode is PartitionMode.RESET and duration is not None:
            raise FaultError(
                "duration has no effect with mode=reset: connections are cut once, and that is over at once"
            )
        check_sides(self.context.deployment, kind, source, target)
        sides = (None, None) if kind is PartitionType.CUSTOM else default_sides(self.context.deployment, kind)
        sources, targets = self._services(source, sides[0]), self._services(target, sides[1])
        if source is not None and source == target and source_replica == target_replica:
            raise FaultError(f"a partition needs two sides, but source and target are both '{source}'")
        chosen = None if serving is None else self._serving([*sources, *targets], serving)
        left = self._side(sources, source_replica, chosen)
        right = self._side(targets, target_replica, chosen)
        if chosen is not None and left == right:  # workers of one service: the one that serves, and the others
            right = [other for other in self._side(targets, target_replica, None) if other != chosen]
        limit = None if rate is None else bytes_per_second(rate)
        partition = Partition(left, right, mode, direction, loss, limit)
        deployment = self.context.deployment
        effect = require(self.context.platform, Partitioning).plan_cut(deployment, partition)
        fault = Fault(PARTITION, deployment, [left, right], effect, "duration")
        return self.inject(fault, duration, serving, f"{kind.name} {fault.target['replica']}, {mode}")

    @keyword(tags=["Recovery"])
    @on_graph
    def heal_network_partition(self, fault: str | None = None) -> None:
        """Heals one partition, or all of the graph, and verifies that.

        Without ``fault`` it fails when none is in effect; with it, one that has come off already is left alone.

        Example:
        | ${partition} = | `Partition Network` | FRONTEND_WORKER |
        | `Heal Network Partition` | ${partition} |
        """
        if fault is not None:
            active = self.fault(fault)
            if active.entry.kind not in (PARTITION, ISOLATION):
                raise FaultError(f"{active} is no network partition; 'Recover Fault' undoes it")
            self.context.injector.recover(active)
            return
        partitions = [active for active in self.active_here() if active.entry.kind == PARTITION]
        if not partitions:
            raise FaultError(f"no network partition is in effect; active are {self.active_names()}")
        self.recover_together(partitions)

    @staticmethod
    def _services(named: str | None, default: list[str] | None) -> list[str]:
        if named is not None:
            return [named]
        if default is None:
            raise FaultError("a partition of type CUSTOM needs both source and target")
        return default

    def _side(self, services: list[str], wanted: int | str, chosen: Replica | None) -> list[Replica]:
        """The replicas at one side; where the one that serves a request belongs, that one alone."""
        if chosen is not None and chosen.service in services:
            return [chosen]
        found: list[Replica] = []
        for service in services:
            if str(wanted).lower() == ALL:
                found += self.context.platform.replicas(self.context.deployment, service)
            else:
                found.append(self.chooser().by_index(service, wanted))
        if not found:
            raise FaultError(f"no replica of {services} runs, so none can be cut off")
        return found

    def _serving(self, services: list[str], request: Request) -> Replica:
        """The replica that serves a request, of the workers among `services`.

        Raises:
            FaultError: no side is a worker, so neither serves, or several are.
        """
        workers = [worker.name for worker in self.context.deployment.graph.workers if worker.name in services]
        if len(workers) != 1:
            what = f"several may: {workers}; name one of them" if workers else f"none of {services} is a worker"
            raise FaultError(f"serving needs one side that serves {request}, but {what}")
        return self.serving(workers[0], request)
