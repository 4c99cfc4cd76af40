"""From a graph to the processes that this machine would start for it. Nothing is started or written here."""

import os
import shlex
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

from DynamoFaultLibrary.engines.model import TINY_MODEL
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unsupported
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.graph.model import strings
from DynamoFaultLibrary.graph.references import references
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.platforms.base import Plan, PlannedProcess
from DynamoFaultLibrary.platforms.local import commands
from DynamoFaultLibrary.platforms.local.environment import SECRET, Variables, container_variables
from DynamoFaultLibrary.platforms.local.findings import Findings
from DynamoFaultLibrary.platforms.local.fitting import fit_options, tell_model, why_not_here
from DynamoFaultLibrary.platforms.local.host import Host
from DynamoFaultLibrary.platforms.local.mounts import can_mount
from DynamoFaultLibrary.platforms.local.overriding import override_options, override_variables
from DynamoFaultLibrary.platforms.local.places import Place
from DynamoFaultLibrary.platforms.local.planes import Planes, plan_planes
from DynamoFaultLibrary.platforms.local.pod import Container, Document, Pod, make_pod, mapping, words
from DynamoFaultLibrary.platforms.local.probes import Probe, find_probe, port_of
from DynamoFaultLibrary.platforms.local.settings import check_containers, model_problems, part_problems
from DynamoFaultLibrary.platforms.local.volumes import Tree, Volumes
from DynamoFaultLibrary.platforms.settings import DeploySettings

_SYSTEM, _HTTP = "DYN_SYSTEM_PORT", "DYN_HTTP_PORT"
_SYSTEM_PORT, _HTTP_PORT = 9090, 8000
"""Variables and ports that the operator gives workers and frontends."""


@dataclass
class PodPorts:
    """Which port of this machine stands for which of a pod's."""

    take: Callable[[], str]
    known: dict[int, str] = field(default_factory=dict)
    http: str = ""
    """Where a frontend answers."""

    def of(self, number: int) -> str:
        """The port that stands for one of the pod's, taken when it is first asked for."""
        if number not in self.known:
            self.known[number] = self.take()
        return self.known[number]


@dataclass(frozen=True)
class Start:
    """One process to start."""

    service: str
    index: int
    container: Container
    host: Host
    argv: list[str]
    environment: dict[str, str]
    own: dict[str, str]
    """Those of its variables that the graph gives it."""
    told: list[str]
    """`argv` without the values of secrets."""
    directory: str
    mounts: list[list[str]]
    metrics_url: str | None = None
    url: str = ""
    secrets: frozenset[str] = frozenset()
    """Variables whose values are nobody's business."""
    probe: Probe | None = None

    @property
    def replica(self) -> str:
        """Name of the replica."""
        return f"{self.service}-{self.index}"

    @property
    def name(self) -> str:
        """Name of the replica and, beside the main one, of the container."""
        return self.replica if self.container.is_main else f"{self.replica}/{self.container.name}"

    def planned(self) -> PlannedProcess:
        """As a plan tells it."""
        told = {name: SECRET if name in self.secrets else value for name, value in self.own.items()}
        return PlannedProcess(self.service, self.name, shlex.join(self.told), self.directory, told)


@dataclass
class Drawing:
    """All that a deployment needs: servers, files, processes, and what was found on the way."""

    planes: Planes
    shared: dict[str, str]
    findings: Findings = field(default_factory=Findings)
    tree: Tree = field(default_factory=Tree)
    starts: list[Start] = field(default_factory=list)
    uses_tiny_model: bool = False

    def plan(self) -> Plan:
        """As the platform's port has it."""
        processes = [start.planned() for start in self.starts]
        return Plan(processes, self.findings.overridden, self.findings.missing, self.findings.refusal)


def draw(graph: Graph, settings: DeploySettings, place: Place, interpreter: str) -> Drawing:
    """Plan the deployment of a graph. What hinders it is among the findings."""
    planes = Planes()
    findings = Findings()
    try:
        planes = plan_planes(settings, place.work, place.take_port, place.take_host)
    except DeploymentError as error:
        findings.refuse("", "planes", error)
    drawing = Drawing(planes, {**commands.base_environment(place.work, interpreter), **planes.environment}, findings)
    _Draughtsman(graph.copy(), settings, place, interpreter, drawing).draw()
    return drawing


@dataclass
class _Draughtsman:
    """Draws one deployment; `graph` is a copy that it may change."""

    graph: Graph
    settings: DeploySettings
    place: Place
    interpreter: str
    drawing: Drawing

    def __post_init__(self) -> None:
        self.findings = self.drawing.findings
        home = Path(self.drawing.shared["HF_HOME"])
        needed = (self.place.work, home, Path(self.interpreter), Path(__file__), state_directory())
        self.volumes = Volumes(self.place.work, needed, self.drawing.tree, self.findings)
        own = {name for name, value in self.drawing.shared.items() if os.environ.get(name) == value}
        self.private = own - {"HF_HOME"}
        """Variables of the user's shell, whose values are nobody's business."""

    def draw(self) -> None:
        services = self._services()
        servers = {part.service for part in self.drawing.planes.parts}
        for name, what, problem in part_problems(self.graph, services, servers):
            self.findings.refuse(name, what, DeploymentError(problem))
        for service in services:
            with self._noting(service.name, "options"):
                override_options(service, self.settings, self.findings)
                fit_options(service, self.interpreter, self.findings)
        for what, error in commands.requirement_problems(self.graph, services, self.interpreter):
            self.findings.refuse("", what, error)
        for name, problem in model_problems(services):
            self.findings.refuse(name, "model", DeploymentError(problem))
        self._place_tiny_model()
        for service in services:
            if service.role.is_worker:
                tell_model(service, self.drawing.shared, self.findings)
            for index in range(service.replicas):
                with self._noting(service.name, "pod"):
                    self._draw_pod(service, index)
        if any(start.mounts for start in self.drawing.starts) and not can_mount():
            error = Unsupported(
                f"graph '{self.graph.name}' has volumes, and this user may not give processes mounts of their own: "
                "run as root, or allow user namespaces"
            )
            self.findings.refuse("", "volumes", error)

    @contextmanager
    def _noting(self, service: str, what: str) -> Iterator[None]:
        try:
            yield
        except FaultLibraryError as error:
            self.findings.refuse(service, what, error)

    def _services(self) -> list[Service]:
        """Those that can run here, in the order in which they start: frontends find all others there."""
        found = list(self.graph.workers)
        for service in self.graph.others:
            why = why_not_here(service, self.graph, self.interpreter)
            if why:
                self.findings.lack(service.name, f"the service ({service.role})", f"{why}; it is not started")
            else:
                found.append(service)
        frontends = [service for service in self.graph.services.values() if service.is_frontend]
        return [*found, *frontends]

    def _place_tiny_model(self) -> None:
        """The model's directory stands where options name it; elsewhere its name is a path in the work directory."""
        texts = (text for part in (self.graph.document, self.graph.companions) for _, text in strings(part))
        if not any(TINY_MODEL in text for text in texts):
            return
        self.drawing.uses_tiny_model = True
        directory = _tiny_directory()
        if commands.uses_tiny_model(self.graph):
            self.drawing.shared["HF_HUB_OFFLINE"] = "1"
            with self._noting("", "model"):
                commands.place_tiny_model(self.graph, directory)

    def _draw_pod(self, service: Service, index: int) -> None:
        replica = f"{service.name}-{index}"
        host = self.place.take_host(replica)
        name = f"{self.place.name}-{service.name.lower()}-{index}"
        pod = make_pod(self.graph, service, index, name, host.address)
        check_containers(pod)
        ports = PodPorts(self.place.take_port)
        for container in pod.containers():
            if (start := self._draw_container(pod, container, host, ports)) is not None:
                self.drawing.starts.append(start)

    def _draw_container(self, pod: Pod, container: Container, host: Host, ports: PodPorts) -> Start | None:
        service = pod.service
        common = {**self.drawing.shared, **commands.host_environment(host), **pod.operator_environment()}
        if container.is_main and service.is_frontend:
            ports.http = ports.known[_HTTP_PORT] = self.place.take_http_port()
        variables = container_variables(
            pod, container, common, lambda *said: self._map_port(service, ports, *said), self.private
        )
        self._tell_missing(pod, container, variables)
        own = override_variables(service.name, variables, common, self.settings, self.findings)
        listening = _listening(service, container, own, ports)
        environment = {**commands.merged(common, own), **listening}
        gpus = service.gpus if container.is_main and not commands.is_mocker(service) else 0
        if gpus and commands.GPUS_VARIABLE not in own:
            environment[commands.GPUS_VARIABLE] = self.place.take_gpus(gpus)
        mounts = self.volumes.mounts(pod, container)
        directory = self._directory(pod, container, mounts)
        argv = self._command(pod, container, environment, variables, directory, mounts)
        if argv is None:
            return None
        hidden = {name: f"$({name})" for name in self.private - own.keys()} | dict.fromkeys(variables.secrets, SECRET)
        told = commands.command_line("", container.words, self.interpreter, {**environment, **hidden})
        url = f"http://{host.address}:{ports.http}" if ports.http else ""
        metrics_url = f"{url or f'http://{host.address}:{listening[_SYSTEM]}'}/metrics" if container.is_main else None
        start = Start(
            service=service.name,
            index=pod.index,
            container=container,
            host=host,
            argv=argv,
            environment=environment,
            own=own,
            told=[commands.with_tiny_model(word, _tiny_directory()) for word in told],
            directory=directory,
            mounts=mounts,
            metrics_url=metrics_url,
            url=url,
            secrets=frozenset(variables.secrets),
        )
        return self._with_probe(start, service, ports)

    def _map_port(self, service: Service, ports: PodPorts, name: str, value: str, is_secret: bool) -> str:
        """The value of a port's variable: what listens in a pod at that port listens here at another one.

        One that was edited on purpose stays.
        """
        if name in self.settings.edits.env:
            return value
        if ports.http and name == _HTTP:
            ports.known[int(value)] = ports.http
        told = SECRET if is_secret else value
        self.findings.override(service.name, f"{name}={told}", "a free port: replicas share this machine")
        return ports.of(int(value))

    def _with_probe(self, start: Start, service: Service, ports: PodPorts) -> Start:
        """Frontends and workers have a readiness of their own: the frontend knows them and answers well."""
        if not start.container.is_main or service.is_frontend or service.role.is_worker:
            return start
        found = find_probe(start.container, service.document)
        probe = self._probe(start, found, ports)
        if found and probe is None:
            kinds = [kind for kind in found if kind in ("httpGet", "tcpSocket", "exec", "grpc")]
            self.findings.lack(start.service, f"probe {' '.join(kinds)}", "it cannot be asked here; the service counts")
        return replace(start, probe=probe)

    def _probe(self, start: Start, found: Document, ports: PodPorts) -> Probe | None:
        get, connect, run = (mapping(found, kind, start.service) for kind in ("httpGet", "tcpSocket", "exec"))
        if get and (number := port_of(start.container, get)) in ports.known:
            path = str(get.get("path") or "").removeprefix("/")
            return Probe(start.service, url=f"http://{start.host.address}:{ports.of(number or 0)}/{path}")
        if connect and (number := port_of(start.container, connect)) in ports.known:
            port = ports.of(number or 0)
            return Probe(start.service, address=(start.host.address, int(port) if port.isdecimal() else 0))
        command = words(run, f"a probe of service '{start.service}'")
        if command and not start.mounts and start.host.namespace is None:
            return Probe(start.service, command=command, environment=start.environment, directory=Path(start.directory))
        return None

    def _tell_missing(self, pod: Pod, container: Container, variables: Variables) -> None:
        for name, why in variables.missing.items():
            if name not in variables.optional:
                told = name if container.is_main else f"{name} of container {container.name}"
                instead = "this machine's own is used" if name in self.drawing.shared else "left unset"
                self.findings.lack(pod.service.name, told, f"{why}; {instead}")

    def _command(
        self,
        pod: Pod,
        container: Container,
        environment: dict[str, str],
        variables: Variables,
        directory: str,
        mounts: list[list[str]],
    ) -> list[str] | None:
        """The command line; None when the container is not started here, which is told."""
        service, words = pod.service, container.words
        whose = f"service '{service.name}'" + ("" if container.is_main else f", container '{container.name}',")
        for name in sorted({name for word in words for name in references(word)}):
            may_be_command = container.is_main and service.shell is not None and name not in variables.missing
            why = "" if may_be_command else variables.why_missing(name, environment)
            if why:
                what = f"$({name})"
                error = f"{whose} uses {what} in its command, but {why}; give it with env={{{name}: …}}"
                self.findings.refuse(service.name, what, DeploymentError(error))
        try:
            argv = commands.command_line(whose, words, self.interpreter, environment)
            argv = [commands.with_tiny_model(word, _tiny_directory()) for word in argv]
            commands.check_texts(whose, argv, environment)
            program = os.path.normpath(os.path.join(directory, argv[0])) if "/" in argv[0] else argv[0]
            if not self.drawing.tree.may_run(program, mounts):
                commands.check_program(whose, program, environment, words)
            if not container.is_main and (lacking := commands.lacking_packages(words, self.interpreter)):
                raise DeploymentError(f"{whose} needs the Python package {lacking[0]}, which is not here")
        except DeploymentError as error:
            if container.is_main or container.is_init:
                raise
            self.findings.lack(service.name, f"sidecar {container.name}", f"{error}; it is not started")
            return None
        if words[0].startswith("/") and words[0] != argv[0]:
            self.findings.override(service.name, words[0], f"{argv[0]}: there is no such interpreter here")
        return argv

    def _directory(self, pod: Pod, container: Container, mounts: list[list[str]]) -> str:
        wanted = container.document.get("workingDir")
        if not wanted:
            return str(self.place.work)
        path = Path(str(wanted))
        for source, target in mounts:
            if path.is_relative_to(target):  # a container's runtime makes it where it is missing
                self.drawing.tree.directories.add(Path(source) / path.relative_to(target))
                return str(path)
        if path.is_dir() or any(Path(target).is_relative_to(path) for _, target in mounts):
            return str(path)
        why = "there is no such directory here; the deployment's work directory is used"
        self.findings.lack(pod.service.name, f"workingDir {wanted}", why)
        return str(self.place.work)


def _listening(service: Service, container: Container, own: Mapping[str, str], ports: PodPorts) -> dict[str, str]:
    """Variables that say where a container's process listens."""
    if container.is_main and service.is_frontend:
        return {_HTTP: ports.http}
    if container.is_main:
        return {_SYSTEM: own.get(_SYSTEM) or ports.of(_SYSTEM_PORT)}
    if "dynamo.frontend" in commands.modules_of(container.words):
        return {_HTTP: own.get(_HTTP) or ports.of(_HTTP_PORT)}
    return {}


def _tiny_directory() -> Path:
    return state_directory() / "models" / TINY_MODEL
