"""Platform `local`: a graph's replicas as process groups on this machine, under a supervisor."""

from datetime import timedelta

from DynamoFaultLibrary.ledger import Entry, Ledger
from DynamoFaultLibrary.platforms.base import Deployment, Platform
from DynamoFaultLibrary.platforms.cuda import ToggledCuda
from DynamoFaultLibrary.platforms.effects import CudaRule, Partition
from DynamoFaultLibrary.platforms.local import ends
from DynamoFaultLibrary.platforms.local.deploying import LocalDeploying
from DynamoFaultLibrary.platforms.local.inspecting import LocalInspecting
from DynamoFaultLibrary.platforms.local.partition import LocalCut, plan_cut
from DynamoFaultLibrary.platforms.local.replacing import LocalReplacing
from DynamoFaultLibrary.platforms.replicas import Replica


def open_platform(ledger: Ledger) -> Platform:
    """This machine, with that ledger."""
    return LocalPlatform(ledger)


class LocalPlatform(LocalDeploying, LocalInspecting, LocalReplacing):
    """All that this machine can; deploying brings observing and the CUDA shim along."""

    name = "local"
    replaces_ended = False
    poll_s = 0.005

    plan_end, plan_pause = ends.plan_end, ends.plan_pause

    def plan_cut(self, deployment: Deployment, partition: Partition) -> LocalCut:
        return plan_cut(self.local(deployment).network, deployment, partition)

    def plan_cuda(self, deployment: Deployment, replica: Replica, rule: CudaRule, timeout: timedelta) -> ToggledCuda:
        return ToggledCuda(self, deployment, replica, rule, timeout)

    def guard(self, entry: Entry) -> None:
        """Have the supervisor undo a fault at its expiry, or when this process dies."""
        self.supervisor.guard(entry)

    def release(self, entry: Entry) -> None:
        """Tell the supervisor that a fault is undone."""
        if self.has_supervisor:
            self.supervisor.release(entry)
