"""What a deployment takes from this machine: leases of it, or for a plan only names."""

from dataclasses import dataclass
from pathlib import Path

from DynamoFaultLibrary.platforms.local.host import LOOPBACK, Host
from DynamoFaultLibrary.platforms.local.machine import LocalDeployment
from DynamoFaultLibrary.platforms.local.ports import PortLeases


@dataclass(frozen=True)
class Names:
    """Names of ports, hosts and directories that nobody has taken yet."""

    name: str
    work: Path = Path("<work>")

    def take_port(self) -> str:
        """Some port."""
        return "<port>"

    def take_http_port(self) -> str:
        """Some port."""
        return self.take_port()

    def take_host(self, name: str) -> Host:
        """This machine."""
        return LOOPBACK

    def take_gpus(self, count: int) -> str:
        """Some GPUs."""
        return ",".join(["<gpu>"] * count)


class Leases:
    """Ports, hosts and GPUs that a deployment holds until it is deleted."""

    def __init__(self, name: str, local: LocalDeployment, ports: PortLeases, http_port: int | None) -> None:
        self.name = name
        self.work = local.work
        self._local = local
        self._ports = ports
        self._http_port = http_port

    def take_port(self) -> str:
        """A free port."""
        port = self._ports.take()
        self._local.ports.append(port)
        return str(port)

    def take_http_port(self) -> str:
        """The wanted port for the first frontend, free ones for the others."""
        if self._http_port is None:
            return self.take_port()
        port, self._http_port = self._http_port, None
        self._local.ports.append(self._ports.take_exactly(port))
        return str(port)

    def take_host(self, name: str) -> Host:
        """A host for the process of that name."""
        return self._local.network.add_host(name)

    def take_gpus(self, count: int) -> str:
        """GPUs that no other replica has."""
        return ",".join(self._local.gpus.pop(0) for _ in range(count))


Place = Names | Leases
"""What a deployment takes from this machine: names of things for a plan, or real things."""
