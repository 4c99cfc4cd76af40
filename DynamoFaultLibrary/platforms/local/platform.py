"""Platform `local`: a graph's replicas as process groups on this machine, under a supervisor."""

from DynamoFaultLibrary.ledger import Entry
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import Partition
from DynamoFaultLibrary.platforms.local.deploying import LocalDeploying
from DynamoFaultLibrary.platforms.local.inspecting import LocalInspecting
from DynamoFaultLibrary.platforms.local.partition import LocalCut, plan_cut
from DynamoFaultLibrary.platforms.local.replacing import LocalReplacing


class LocalPlatform(LocalDeploying, LocalInspecting, LocalReplacing):
    """All that this machine can; deploying brings observing and the CUDA shim along."""

    name = "local"
    replaces_ended = False
    poll_s = 0.005

    def plan_cut(self, deployment: Deployment, partition: Partition) -> LocalCut:
        """See `platforms.base.Partitioning`."""
        return plan_cut(self.local(deployment).network, deployment, partition)

    def guard(self, entry: Entry) -> None:
        """Have the supervisor undo a fault at its expiry, or when this process dies."""
        self.supervisor.guard(entry)

    def release(self, entry: Entry) -> None:
        """Tell the supervisor that a fault is undone."""
        if self.has_supervisor:
            self.supervisor.release(entry)
