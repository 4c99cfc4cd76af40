"""Replicas on this machine under the CUDA shim, each with a toggle of its own."""

from collections.abc import Sequence
from pathlib import Path

from DynamoFaultLibrary.cuda_toggle import TOGGLE_NAME, TOGGLE_VARIABLE
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.platforms.local import cuda
from DynamoFaultLibrary.platforms.local.machine import LocalDeployment, leader_of
from DynamoFaultLibrary.platforms.local.replacing import LocalSignalling
from DynamoFaultLibrary.platforms.local.toggle import LocalToggle
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.processes import read_variable


class LocalShimming(LocalSignalling):
    """See `platforms.base.CudaShimming`."""

    def __init__(self, ledger: Ledger) -> None:
        super().__init__(ledger)
        self._shim: Path | None = None
        self._shimmed: frozenset[str] = frozenset()
        """Services whose replicas run under the CUDA shim from their next start on."""

    def shim_cuda(self, services: Sequence[str]) -> None:
        """Build the shim; those replicas of `services` that run now get it when they are started again."""
        self._shim = cuda.build_shim() if services else None
        self._shimmed = frozenset(services)
        for local in self.deployments.values():
            for part in local.parts:
                none = {cuda.PRELOAD_VARIABLE: local.preloads[part.process], TOGGLE_VARIABLE: None}
                wanted = self.shim_environment(local, part.service, part.process)
                self.supervisor.change_environment(part.process, wanted or none)

    def awaits_cuda_change(self, replica: Replica) -> bool:
        """Whether the environment that the replica's leader was started with is not the one that it is to have."""
        return (self.cuda_toggle(replica) is not None) != (replica.service in self._shimmed)

    def cuda_toggle(self, replica: Replica) -> LocalToggle | None:
        """The toggle that the replica's processes were started with."""
        path = read_variable(leader_of(replica).pid, TOGGLE_VARIABLE)
        return LocalToggle(Path(path)) if path else None

    def shimmed_processes(self, replica: Replica) -> list[str]:
        """By what /proc says of the maps of its processes."""
        return [str(process) for process in self.processes(replica) if cuda.LIBRARY in _maps(process.pid)]

    def shim_environment(self, local: LocalDeployment, service: str, key: str) -> dict[str, str]:
        """What puts the process group `key` under the shim, if its service is to run so."""
        if service not in self._shimmed:
            return {}
        toggle = LocalToggle(local.work / "cuda" / key.rpartition("/")[2] / TOGGLE_NAME)
        toggle.prepare()
        preloads = filter(None, [str(self._shim), local.preloads[key]])
        return {cuda.PRELOAD_VARIABLE: ":".join(preloads), TOGGLE_VARIABLE: str(toggle.path)}


def _maps(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/maps").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
