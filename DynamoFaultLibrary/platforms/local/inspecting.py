"""See what the processes of a replica run with, by /proc."""

from DynamoFaultLibrary.platforms.local.replacing import LocalSignalling
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.running import RunningProcess
from DynamoFaultLibrary.processes import STOPPED, read_words


class LocalInspecting(LocalSignalling):
    """See `platforms.running.Inspecting`."""

    def inspect(self, replica: Replica) -> list[RunningProcess]:
        """Processes that show a command line; one that is about to end does not."""
        found = []
        for process in self.processes(replica):
            command = read_words(process.pid, "cmdline")
            environment = dict(entry.partition("=")[::2] for entry in read_words(process.pid, "environ"))
            if command and process.is_running:
                found.append(RunningProcess(str(process), command, environment, process.state == STOPPED))
        return found
