"""Signals to processes on this machine, and replicas that are started again."""

from collections.abc import Sequence
from datetime import timedelta

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.local.machine import Machine, leader_of
from DynamoFaultLibrary.platforms.local.observing import to_exit
from DynamoFaultLibrary.platforms.local.planes import without_data
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.platforms.replicas import Replica, ReplicaExit
from DynamoFaultLibrary.processes import ProcessId, group_members, marked_processes


class LocalSignalling(Machine):
    """Signals and ends of processes."""

    def processes(self, replica: Replica) -> list[ProcessId]:
        """The replica's processes, its leader first: its group, and whoever left that but carries its mark."""
        members = {*group_members(leader_of(replica).pid), *marked_processes(DEPLOYMENT_VARIABLE, replica.key)}
        return sorted(members, key=lambda member: (member != leader_of(replica), member.started, member.pid))

    def send(self, replica: Replica, processes: Sequence[ProcessId], number: int) -> list[ProcessId]:
        """Send a signal to each of `processes`; returns those that were there to get it."""
        return [process for process in processes if process.send(number)]

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        """Wait until the supervisor has reaped the leader of the replica's group."""
        status = self.supervisor.wait_exit(replica.key, timeout)
        if status.process != replica.incarnation:
            return ReplicaExit("replaced by the supervisor", monotonic(), None)
        return to_exit(status.exit) if status.exit is not None else None


class LocalReplacing(Machine):
    """See `platforms.base.Replacing`; and etcd members that start with nothing."""

    def respawn(self, deployment: Deployment, replica: Replica) -> Replica:
        """End what is left of the replica, and start it with the same command, environment and ports."""
        self.local(deployment)  # a deployment that is gone has nothing to start
        return self.replica_of(deployment, self.supervisor.restart(replica.key, leader_of(replica)))

    def start_without_data(self, deployment: Deployment, replica: Replica) -> Replica:
        """Start an etcd member again at its old ports, with a data directory of its new generation."""
        servers = self.local(deployment).servers
        server = next(part for part in servers if (part.service, part.index) == (replica.service, replica.index))
        argv = without_data(server.argv, self.statuses(deployment)[replica.key].generation + 1)
        return self.replica_of(deployment, self.supervisor.restart(replica.key, leader_of(replica), argv))

    def member_urls(self, deployment: Deployment, service: str) -> dict[str, str]:
        """URLs of etcd's members or of the NATS server, ended ones included."""
        servers = self.local(deployment).servers
        return {f"{part.service}-{part.index}": part.url for part in servers if part.service == service}
