"""Platform `local`: a graph's replicas as process groups on this machine, under a supervisor."""

import itertools
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from time import sleep

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.cuda_toggle import TOGGLE_NAME, TOGGLE_VARIABLE, Toggle
from DynamoFaultLibrary.engines.model import TINY_MODEL, write_tiny_model
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, RecoveryError
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.ledger import Entry, Ledger
from DynamoFaultLibrary.ledger.recovery import problems, recover, recover_dead_runs
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.ledger.undo import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.platforms.base import Deployment, DeploySettings, Partition, Replica, ReplicaExit
from DynamoFaultLibrary.platforms.http import get_text
from DynamoFaultLibrary.platforms.local import commands, cuda
from DynamoFaultLibrary.platforms.local.child import ProcessSpec
from DynamoFaultLibrary.platforms.local.client import ProcessStatus, SupervisorClient
from DynamoFaultLibrary.platforms.local.host import Host
from DynamoFaultLibrary.platforms.local.network import Network, SharedNetwork, make_network
from DynamoFaultLibrary.platforms.local.partition import LocalCut, plan_cut
from DynamoFaultLibrary.platforms.local.planes import Part, Planes, plan_planes, without_data
from DynamoFaultLibrary.platforms.local.ports import PortLeases
from DynamoFaultLibrary.platforms.readiness import INTERVAL, TIMEOUT, Expectation, wait_until_ready
from DynamoFaultLibrary.processes import ProcessId, group_members, marked_processes, read_variable

_LOG_LINES = 15


@dataclass(frozen=True)
class _Part:
    """A replica as planned: where it belongs, its supervisor name, its metrics."""

    service: str
    index: int
    process: str
    metrics_url: str | None


@dataclass
class _Local:
    """What only this platform knows of a deployment."""

    work: Path
    network: Network = field(default_factory=SharedNetwork)
    ports: list[int] = field(default_factory=list)
    parts: list[_Part] = field(default_factory=list)
    servers: list[Part] = field(default_factory=list)
    gpus: list[str] = field(default_factory=commands.visible_gpus)
    """GPUs that no replica has been given yet; there are enough, see `commands.check_requirements`."""
    preloads: dict[str, str | None] = field(default_factory=dict)
    """LD_PRELOAD of each process group, without the CUDA shim."""


class LocalPlatform:
    """Deploys graphs as local processes. The supervisor starts with the first deployment."""

    name = "local"

    def __init__(self, ledger: Ledger) -> None:
        self.ledger = ledger
        self._supervisor: SupervisorClient | None = None
        self._ports = PortLeases()
        self._deployments: dict[str, _Local] = {}
        self._lost: set[str] = set()
        """Deployments whose supervisor was killed."""
        self._numbers = itertools.count()
        self._shim: Path | None = None
        self._shimmed: frozenset[str] = frozenset()
        """Services whose replicas run under the CUDA shim from their next start on."""

    @property
    def supervisor(self) -> SupervisorClient:
        """The supervisor, started when it is first asked for."""
        if self._supervisor is None:
            recover_dead_runs(self.ledger.path)
            self._supervisor = SupervisorClient(self.ledger, self._bury)
        return self._supervisor

    def _bury(self) -> str:
        """The supervisor was killed: let go of what went with it, see that nothing is left, and say what it was."""
        lost, self._supervisor = self._deployments, None
        self._deployments = {}
        self._lost |= set(lost)
        for local in lost.values():
            self._ports.give_back(local.ports)
        problem = ""
        try:
            self._recover_by_ledger()
            for local in lost.values():
                local.network.close()
        except FaultLibraryError as error:
            problem = f"; {error}"
        return f": {', '.join(lost) or 'no deployment'}{problem}"

    def close(self) -> None:
        """End everything; the supervisor verifies that nothing is left."""
        networks = [local.network for local in self._deployments.values()]
        for local in self._deployments.values():
            self._ports.give_back(local.ports)
        self._deployments.clear()
        if self._supervisor is not None:
            self._supervisor.close()
            self._supervisor = None
            self._recover_by_ledger()
        for network in networks:
            network.close()

    def _recover_by_ledger(self) -> None:
        """Nothing is left to do, unless the supervisor was killed and its sentinel could not do all."""
        if self.ledger.path.exists():
            owner = self.ledger.owner
            left = recover(self.ledger.path, force=True, concerns=lambda entry: entry.owner == owner)
            if not left.is_clean:
                raise RecoveryError("; ".join(problems([left])))

    # Deploying

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        """Start planes, workers and frontend, and wait until they answer well."""
        interpreter = commands.choose_interpreter(settings.interpreter)
        commands.check_requirements(graph, interpreter)
        supervisor = self.supervisor  # starts in the background while we plan
        name = f"{graph.name}-{self.ledger.owner.process.pid}-{next(self._numbers)}"
        local = self._deployments[name] = _Local(state_directory() / "work" / name)
        deployment = Deployment(name, graph, settings, results, url="")
        try:
            supervisor.own_directory(local.work)
            results.mkdir(parents=True, exist_ok=True)
            (results / "graph.yaml").write_text(graph.to_yaml(), encoding="utf-8")
            local.network = make_network(settings.network, self.ledger)
            planes = plan_planes(settings, local.work, lambda: self._take_port(local), local.network.add_host)
            shared = commands.base_environment(local.work) | planes.environment
            self._start_planes(deployment, local, planes, shared)
            runnable = graph.copy()
            if commands.uses_tiny_model(runnable):
                shared["HF_HUB_OFFLINE"] = "1"
                commands.place_tiny_model(runnable, write_tiny_model(state_directory() / "models" / TINY_MODEL))
            for service in [*runnable.workers, runnable.frontend]:
                self._start_service(deployment, local, service, shared, interpreter)
            self.wait_ready(deployment, settings.timeout)
        except BaseException:
            with suppress(FaultLibraryError):
                self.delete(deployment)
            raise
        return deployment

    def delete(self, deployment: Deployment) -> None:
        """End all process groups, remove the work directory, free the ports."""
        if deployment.name in self._lost:
            return  # they are gone already
        local = self._local(deployment)
        self.supervisor.end([part.process for part in local.parts])
        self.supervisor.remove_directory(local.work)
        local.network.close()
        self._ports.give_back(local.ports)
        del self._deployments[deployment.name]

    def wait_ready(self, deployment: Deployment, timeout: timedelta) -> None:
        """Wait for every replica that has not ended to be known to the frontend, and for good responses."""
        workers = [service.name for service in deployment.graph.workers]
        urls = [
            replica.metrics_url
            for service in workers
            for replica in self.replicas(deployment, service)
            if replica.metrics_url
        ]
        expected = Expectation(urls, max(deployment.settings.ready_responses, len(urls)), timeout)
        watched = {status.name for status in self._running(deployment)}
        deployment.model = wait_until_ready(deployment.url, expected, lambda: self._check_alive(deployment, watched))

    def _take_port(self, local: _Local) -> int:
        port = self._ports.take()
        local.ports.append(port)
        return port

    def _start_planes(self, deployment: Deployment, local: _Local, planes: Planes, shared: dict[str, str]) -> None:
        local.servers = planes.parts
        for part in planes.parts:
            if part.service not in deployment.infrastructure:
                deployment.infrastructure.append(part.service)
            self._start(deployment, local, part.service, part.index, part.host, part.argv, shared, None)
        for part in planes.parts:
            self._wait_healthy(deployment, part)

    def _wait_healthy(self, deployment: Deployment, part: Part) -> None:
        deadline = monotonic() + deployment.settings.timeout.total_seconds()
        watched = {status.name for status in self._running(deployment)}
        while True:
            with suppress(OSError):
                get_text(part.health_url, TIMEOUT)
                return
            self._check_alive(deployment, watched)
            if monotonic() > deadline:
                limit = deployment.settings.timeout.total_seconds()
                raise DeploymentError(f"{part.service} did not become healthy at {part.health_url} within {limit:g} s")
            sleep(INTERVAL)

    def _start_service(
        self, deployment: Deployment, local: _Local, service: Service, shared: dict[str, str], interpreter: str
    ) -> None:
        for index in range(service.replicas):
            host = local.network.add_host(f"{service.name}-{index}")
            own = commands.service_environment(deployment.graph, service, lambda: self._take_port(local))
            environment = {**shared, **commands.host_environment(host), **own}
            environment["POD_NAME"] = f"{deployment.name}-{service.name.lower()}-{index}"
            if service.gpus and commands.GPUS_VARIABLE not in own:
                given = [local.gpus.pop(0) for _ in range(service.gpus)]
                environment[commands.GPUS_VARIABLE] = ",".join(given)
            if service.is_frontend:
                url = f"http://{host.address}:{self._http_port(deployment, local)}"
                environment["DYN_HTTP_PORT"] = url.rpartition(":")[2]
                metrics_url = f"{url}/metrics"
                deployment.url = deployment.url or url
            else:
                environment["DYN_SYSTEM_PORT"] = str(self._take_port(local))
                metrics_url = f"http://{host.address}:{environment['DYN_SYSTEM_PORT']}/metrics"
            argv = commands.command_line(service, interpreter, environment)
            self._start(deployment, local, service.name, index, host, argv, environment, metrics_url)

    def _http_port(self, deployment: Deployment, local: _Local) -> int:
        wanted = deployment.settings.http_port
        if wanted is None or deployment.url:
            return self._take_port(local)
        local.ports.append(self._ports.take_exactly(wanted))
        return wanted

    def _start(
        self,
        deployment: Deployment,
        local: _Local,
        service: str,
        index: int,
        host: Host,
        argv: list[str],
        environment: dict[str, str],
        metrics_url: str | None,
    ) -> None:
        replica = f"{service}-{index}"
        log = deployment.results / service / f"{replica}.log"
        key = f"{deployment.name}/{replica}"
        namespace = host.namespace.path if host.namespace else ""
        local.preloads[key] = environment.get(cuda.PRELOAD_VARIABLE)
        marked = {**environment, DEPLOYMENT_VARIABLE: key}
        if service in self._shimmed:
            marked |= self._shim_environment(local, key)
        spec = ProcessSpec(key, argv, marked, str(local.work), str(log), namespace)
        self.supervisor.start(spec)
        local.parts.append(_Part(service, index, spec.name, metrics_url))

    def _check_alive(self, deployment: Deployment, watched: set[str]) -> None:
        parts = {part.process for part in self._local(deployment).parts}
        for name, status in self.supervisor.status().items():
            if name in parts & watched and status.exit is not None:
                raise DeploymentError(
                    f"'{name.rpartition('/')[2]}' ended while the deployment came up: {status.exit}; "
                    f"end of its log {status.log}:\n{_tail(status.log)}"
                )

    # Observing

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        """Replicas that have not ended."""
        running = {status.name: status for status in self._running(deployment)}
        parts = self._parts(deployment, service)
        return [_replica(part, running[part.process]) for part in parts if part.process in running]

    def logs(self, deployment: Deployment, service: str) -> list[Path]:
        """Log files; a replica that was started again goes on in the same file."""
        parts = self._parts(deployment, service)
        status = self.supervisor.status()
        return [status[part.process].log for part in parts]

    def metrics(self, deployment: Deployment, service: str) -> dict[str, str]:
        """Prometheus texts of the replicas that run."""
        texts = {}
        for replica in self.replicas(deployment, service):
            if replica.metrics_url:
                try:
                    texts[replica.name] = get_text(replica.metrics_url, TIMEOUT)
                except OSError as error:
                    raise DeploymentError(f"no metrics of {replica.name} at {replica.metrics_url}: {error}") from error
        return texts

    def _local(self, deployment: Deployment) -> _Local:
        if deployment.name in self._lost:
            raise DeploymentError(
                f"deployment '{deployment.name}' is gone: its supervisor was killed; call 'Deploy Graph' again"
            )
        if deployment.name not in self._deployments:
            raise DeploymentError(f"deployment '{deployment.name}' was deleted")
        return self._deployments[deployment.name]

    def _parts(self, deployment: Deployment, service: str) -> list[_Part]:
        parts = self._local(deployment).parts
        found = [part for part in parts if part.service == service]
        if not found:
            services = list(dict.fromkeys(part.service for part in parts))
            raise DeploymentError(f"deployment '{deployment.name}' has no service '{service}'; it has {services}")
        return found

    def _running(self, deployment: Deployment) -> list[ProcessStatus]:
        parts = {part.process for part in self._local(deployment).parts}
        return [s for s in self.supervisor.status().values() if s.name in parts and s.exit is None]

    # Signalling

    def processes(self, replica: Replica) -> list[ProcessId]:
        """The replica's processes, its leader first: its group, and whoever left that but carries its mark."""
        members = {*group_members(replica.process.pid), *marked_processes(DEPLOYMENT_VARIABLE, replica.key)}
        return sorted(members, key=lambda member: (member != replica.process, member.started, member.pid))

    def send(self, replica: Replica, processes: Sequence[ProcessId], number: int) -> list[ProcessId]:
        """Send a signal to each of `processes`; returns those that were there to get it."""
        return [process for process in processes if process.send(number)]

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        """Wait until the supervisor has reaped the leader of the replica's group."""
        status = self.supervisor.wait_exit(replica.key, timeout)
        if status.process != replica.process:
            return ReplicaExit("replaced by the supervisor", monotonic(), None)
        if status.exit is None:
            return None
        return ReplicaExit(str(status.exit), status.exit.at, status.exit.signal)

    # Replacing

    def respawn(self, deployment: Deployment, replica: Replica) -> Replica:
        """End what is left of the replica, and start it with the same command, environment and ports."""
        part = next(part for part in self._local(deployment).parts if part.process == replica.key)
        status = self.supervisor.restart(replica.key, replica.process)
        return _replica(part, status)

    # The CUDA shim

    def shim_cuda(self, services: Sequence[str]) -> None:
        """Build the shim; those replicas of `services` that run now get it when they are started again."""
        self._shim = cuda.build_shim() if services else None
        self._shimmed = frozenset(services)
        for local in self._deployments.values():
            for part in local.parts:
                none = {cuda.PRELOAD_VARIABLE: local.preloads[part.process], TOGGLE_VARIABLE: None}
                wanted = self._shim_environment(local, part.process) if part.service in self._shimmed else none
                self.supervisor.change_environment(part.process, wanted)

    def awaits_cuda_change(self, replica: Replica) -> bool:
        """Whether the environment that the replica's leader was started with is not the one that it is to have."""
        return (self.cuda_toggle(replica) is not None) != (replica.service in self._shimmed)

    def cuda_toggle(self, replica: Replica) -> Toggle | None:
        """The toggle that the replica's processes were started with."""
        path = read_variable(replica.process.pid, TOGGLE_VARIABLE)
        return Toggle(Path(path)) if path else None

    def _shim_environment(self, local: _Local, key: str) -> dict[str, str]:
        toggle = Toggle(local.work / "cuda" / key.rpartition("/")[2] / TOGGLE_NAME)
        toggle.prepare()
        preloads = filter(None, [str(self._shim), local.preloads[key]])
        return {cuda.PRELOAD_VARIABLE: ":".join(preloads), TOGGLE_VARIABLE: str(toggle.path)}

    # Control plane

    def member_urls(self, deployment: Deployment, service: str) -> dict[str, str]:
        """URLs of etcd's members or of the NATS server, ended ones included."""
        servers = self._local(deployment).servers
        return {f"{part.service}-{part.index}": part.url for part in servers if part.service == service}

    def start_without_data(self, deployment: Deployment, replica: Replica) -> Replica:
        """Start an etcd member again at its old ports, with a data directory of its new generation."""
        servers = self._local(deployment).servers
        server = next(part for part in servers if (part.service, part.index) == (replica.service, replica.index))
        argv = without_data(server.argv, replica.generation + 1)
        status = self.supervisor.restart(replica.key, replica.process, argv)
        part = next(part for part in self._local(deployment).parts if part.process == replica.key)
        return _replica(part, status)

    # Partitioning

    def plan_cut(self, deployment: Deployment, partition: Partition) -> LocalCut:
        """See `platforms.base.Partitioning`."""
        return plan_cut(self._local(deployment).network, deployment, partition)

    # Guarding

    def guard(self, entry: Entry) -> None:
        """Have the supervisor undo a fault at its expiry, or when this process dies."""
        self.supervisor.guard(entry)

    def release(self, entry: Entry) -> None:
        """Tell the supervisor that a fault is undone."""
        if self._supervisor is not None:
            self._supervisor.release(entry)


def _replica(part: _Part, status: ProcessStatus) -> Replica:
    return Replica(
        service=part.service,
        index=part.index,
        name=part.process.rpartition("/")[2],
        key=part.process,
        process=status.process,
        generation=status.generation,
        log=status.log,
        metrics_url=part.metrics_url,
    )


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"({error})"
    return "\n".join(lines[-_LOG_LINES:]) or "(empty)"
