"""Keywords for the members of an etcd cluster."""

import signal
from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.clock import seconds_text
from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults.etcd import EndOfMember, MemberData, MemberFault, MemberLoss
from DynamoFaultLibrary.faults.target import RANDOM
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Operator, check
from DynamoFaultLibrary.keywords.injecting import InjectingComponent
from DynamoFaultLibrary.keywords.network import ISOLATION
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.platforms.base import ControlPlane, Ending, Partitioning, Pausing, require
from DynamoFaultLibrary.platforms.effects import End, Partition, PartitionMode
from DynamoFaultLibrary.platforms.etcd import EtcdCluster, Leader
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import ETCD
from DynamoFaultLibrary.times import check_fault_time

LEADER, FOLLOWER = "leader", "follower"


class EtcdKeywords(InjectingComponent):
    """Kill, stop and start members; who leads."""

    @keyword(tags=["Fault", "etcd"])
    @on_graph
    def kill_etcd_leader(
        self, *, force: bool = False, timeout: timedelta = timedelta(seconds=30), ttl: timedelta | None = None
    ) -> str:
        """Kills the leader of the etcd cluster with SIGKILL, and returns the id of the fault.

        Evidence: as in `Kill Etcd Member`, and another member leads in a higher raft term within ``timeout``.
        """
        leader = self._leader()
        return self._end("Kill Etcd Leader", self._replica(leader.name), signal.SIGKILL, force, timeout, ttl)

    @keyword(tags=["Fault", "etcd"])
    @on_graph
    def kill_etcd_member(
        self,
        member: str = RANDOM,
        *,
        force: bool = False,
        timeout: timedelta = timedelta(seconds=30),
        ttl: timedelta | None = None,
    ) -> str:
        """Kills a member of the etcd cluster with SIGKILL, and returns the id of the fault.

        | *Argument* | *Meaning* |
        | ``member`` | ``etcd-1``, ``1``, ``leader``, ``follower`` or ``random`` (repeatable by ``seed``) |
        | ``force`` | Also when the others are no majority; the only member of a cluster needs it too |
        | ``timeout`` | By when the others must agree on what is left |
        | ``ttl`` | After this time the member is started again; default: the library's ``fault_ttl`` |

        Evidence: that of `Kill Worker`, and the members that are left follow one leader (of a higher raft term, if the
        leader was killed); without a majority they follow none. Undo: the member is started with the data it had, and
        is a voting member of a cluster with a leader.

        Example:
        | `Kill Etcd Member` | follower |
        | `Send Completion` |
        | `Start Etcd Member` | etcd-1 | data=fresh |
        """
        return self._end("Kill Etcd Member", self._choose(member), signal.SIGKILL, force, timeout, ttl)

    @keyword(tags=["Fault", "etcd"])
    @on_graph
    def stop_etcd_member(
        self,
        member: str = RANDOM,
        *,
        force: bool = False,
        timeout: timedelta = timedelta(seconds=30),
        ttl: timedelta | None = None,
    ) -> str:
        """Shuts a member of the etcd cluster down with SIGTERM, and returns the id of the fault.

        A leader that is shut down hands over before it ends. Arguments, evidence and undo are those of
        `Kill Etcd Member`.
        """
        return self._end("Stop Etcd Member", self._choose(member), signal.SIGTERM, force, timeout, ttl)

    @keyword(tags=["Fault", "etcd"])
    @on_graph
    def stall_etcd_member(
        self,
        member: str = RANDOM,
        *,
        force: bool = False,
        timeout: timedelta = timedelta(seconds=30),
        duration: timedelta | None = None,
    ) -> str:
        """Stops a member of the etcd cluster with SIGSTOP: its connections stay open, nothing answers.

        Arguments are those of `Kill Etcd Member`. After ``duration`` (default: the library's ``fault_ttl``) it goes on
        by itself; `Start Etcd Member` lets it go on earlier. Returns the id of the fault.

        Evidence: that of `Stall Process`, and what the other members say, as in `Kill Etcd Member`. Undo: SIGCONT; the
        member votes again.
        """
        victim, deployment = self._choose(member), self.context.deployment
        effect = require(self.context.platform, Pausing).plan_pause(deployment, victim, None)
        loss = self._loss(victim, force, timeout)
        fault = MemberFault("Stall Etcd Member", deployment, [[victim]], effect, "duration", loss=loss)
        return self._inject(fault, "SIGSTOP", duration)

    @keyword(tags=["Fault", "etcd"])
    @on_graph
    def isolate_etcd_member(
        self,
        member: str = RANDOM,
        *,
        mode: PartitionMode = PartitionMode.DROP,
        force: bool = False,
        timeout: timedelta = timedelta(seconds=30),
        duration: timedelta | None = None,
    ) -> str:
        """Cuts a member of the etcd cluster off from all others and from all of Dynamo. Returns the id of the fault.

        | *Argument* | *Meaning* |
        | ``member``, ``force``, ``timeout`` | As in `Kill Etcd Member` |
        | ``mode`` | ``drop`` or ``reject``, as in `Partition Network` |
        | ``duration`` | After this time it heals by itself; default: the library's ``fault_ttl`` |

        Platform ``local`` needs a graph that was deployed with ``network=isolated``.

        Evidence: that of `Partition Network`, and what the other members say, as in `Kill Etcd Member`. Undo: the
        partition heals, and the member votes again; `Recover Fault` does it.

        Example:
        | ${fault} = | `Isolate Etcd Member` | leader |
        | `Recover Fault` | ${fault} |
        """
        if mode is PartitionMode.RESET:
            raise FaultError("a reset is over at once and isolates nobody; use mode=drop or mode=reject")
        begin_observation(self.context)
        victim, deployment = self._choose(member), self.context.deployment
        services = [*deployment.graph.services, *deployment.infrastructure]
        running = [replica for name in services for replica in self.context.platform.replicas(deployment, name)]
        others = [replica for replica in running if replica != victim]
        partition = Partition([victim], others, mode)
        effect = require(self.context.platform, Partitioning).plan_cut(deployment, partition)
        loss = self._loss(victim, force, timeout)
        fault = MemberFault(ISOLATION, deployment, [[victim], others], effect, "duration", loss=loss)
        return self.inject(fault, duration, None, f"{victim.name}, {mode.value}")

    @keyword(tags=["Recovery", "etcd"])
    @on_graph
    def start_etcd_member(self, member: str, *, data: MemberData = MemberData.KEPT) -> None:
        """Starts an etcd member that was killed, stopped or stalled, and returns when it is a voting member again.

        With ``data=kept`` it goes on with the data that it had; a stalled one always does. With ``data=fresh`` it has
        lost them: the cluster removes the member and adds a new one in its place, which starts with an empty data
        directory. etcd refuses that until the other members have been connected for 5 s.

        Example:
        | `Stop Etcd Member` | etcd-1 |
        | `Start Etcd Member` | etcd-1 | data=fresh |
        """
        name = self._name(member)
        for active in self.active_here():
            fault = active.fault
            if isinstance(fault, MemberFault) and len(fault.sides) == 1 and fault.victim.name == name:
                if isinstance(fault, EndOfMember):
                    fault.start_with(data)
                self.context.injector.recover(active)
                return
        raise FaultError(f"{name} was not killed, stopped or stalled; running are {list(self._cluster().statuses())}")

    @keyword(tags=["Getter", "etcd"])
    @on_graph
    def get_etcd_leader(
        self, assertion_operator: Operator = None, assertion_expected: str | None = None, message: str | None = None
    ) -> str:
        """Returns the name of the member that leads, such as ``etcd-0``. Fails when a majority follows nobody.

        Optionally asserts it, see `Assertions`.

        Example:
        | ${leader} = | `Get Etcd Leader` |
        | `Kill Etcd Leader` |
        | `Get Etcd Leader` | != | ${leader} |
        """
        return str(check(self._leader().name, assertion_operator, assertion_expected, "etcd leader", message))

    @keyword(tags=["Wait", "etcd"])
    @on_graph
    def wait_for_etcd_leader(self, timeout: timedelta = timedelta(seconds=30)) -> str:
        """Waits until a majority of the members follows one leader, and returns its name."""
        cluster = self._cluster()
        leader = cluster.wait_for_leader(timeout)
        if leader is None:
            limit = seconds_text(timeout.total_seconds())
            raise AssertionError(f"etcd has found no leader within {limit}: {cluster.describe()}")
        self.info(str(leader))
        return leader.name

    @keyword(tags=["Check", "etcd"])
    @on_graph
    def etcd_should_have_leader(self) -> None:
        """Fails unless a majority of the members follows one leader."""
        self._leader()

    @keyword(tags=["Check", "etcd"])
    @on_graph
    def etcd_should_have_no_leader(self) -> None:
        """Fails when a majority of the members follows one leader."""
        leader = self._cluster().leader()
        if leader is not None:
            raise AssertionError(f"etcd should have no leader, but {leader}")

    def _end(
        self, kind: str, victim: Replica, number: int, force: bool, timeout: timedelta, ttl: timedelta | None
    ) -> str:
        platform, deployment = self.context.platform, self.context.deployment
        end, loss = End(number, timeout=timeout), self._loss(victim, force, timeout)
        effect = require(platform, Ending).plan_end(deployment, victim, end)
        members = require(platform, ControlPlane)
        fault = EndOfMember(kind, deployment, [[victim]], effect, loss=loss, platform=members)
        return self._inject(fault, end.signal_name, ttl)

    def _inject(self, fault: MemberFault, signal_name: str, ttl: timedelta | None) -> str:
        begin_observation(self.context)
        return self.inject(fault, ttl, None, f"{signal_name} to {fault.victim.name}")

    def _loss(self, victim: Replica, force: bool, timeout: timedelta) -> MemberLoss:
        check_fault_time("timeout", timeout)
        return MemberLoss(self._cluster(), victim.name, force, timeout)

    def _cluster(self) -> EtcdCluster:
        deployment = self.context.deployment
        urls = require(self.context.platform, ControlPlane).member_urls(deployment, ETCD)
        if not urls:
            raise FaultError(f"deployment '{deployment.name}' has no etcd; deploy the graph with discovery=etcd")
        return EtcdCluster(urls)

    def _leader(self) -> Leader:
        cluster = self._cluster()
        leader = cluster.leader()
        if leader is None:
            raise AssertionError(f"etcd has no leader: {cluster.describe()}")
        return leader

    def _choose(self, member: str) -> Replica:
        member, _ = member.lower(), self._cluster()  # which says so if there is none
        if member == LEADER:
            return self._replica(self._leader().name)
        if member in (FOLLOWER, RANDOM):
            running = {
                replica.name: replica for replica in self.context.platform.replicas(self.context.deployment, ETCD)
            }
            if member == FOLLOWER:
                running.pop(self._leader().name, None)
            if not running:
                raise FaultError(f"etcd has no running {'follower' if member == FOLLOWER else 'member'}")
            chosen = self.context.random.choice(list(running.values()))
            self.info(f"{chosen.name} was chosen at random, seed {self.context.options.seed}")
            return chosen
        return self._replica(self._name(member))

    def _name(self, member: str) -> str:
        names = list(self._cluster().urls)
        found = next((name for name in names if member in (name, name.rpartition("-")[2])), None)
        if found is None:
            raise FaultError(f"etcd has no member '{member}'; it has {names}, and 'leader', 'follower' and 'random'")
        return found

    def _replica(self, name: str) -> Replica:
        for replica in self.context.platform.replicas(self.context.deployment, ETCD):
            if replica.name == name:
                return replica
        raise FaultError(f"{name} does not run: it was killed or stopped already")
