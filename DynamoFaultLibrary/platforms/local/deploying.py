"""Bring graphs up on this machine, and take them away."""

import secrets
import shlex
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from time import sleep

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.engines.model import TINY_MODEL, write_tiny_model
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unready
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.ledger.undo import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.platforms.base import Deployment, DeploySettings, EndedReplica, Plan, PlannedProcess
from DynamoFaultLibrary.platforms.http import get_text
from DynamoFaultLibrary.platforms.local import commands, cuda
from DynamoFaultLibrary.platforms.local.child import ProcessSpec
from DynamoFaultLibrary.platforms.local.host import Host
from DynamoFaultLibrary.platforms.local.machine import LocalDeployment, PlannedReplica
from DynamoFaultLibrary.platforms.local.network import make_network
from DynamoFaultLibrary.platforms.local.observing import LocalObserving
from DynamoFaultLibrary.platforms.local.planes import Part, Planes, plan_planes
from DynamoFaultLibrary.platforms.local.settings import check_models, check_settings
from DynamoFaultLibrary.platforms.local.shimming import LocalShimming
from DynamoFaultLibrary.platforms.readiness import INTERVAL, TIMEOUT, Expectation, wait_until_ready

_LOG_LINES = 15


class LocalDeploying(LocalObserving, LocalShimming):
    """See `platforms.base.Deploying`."""

    def plan(self, graph: Graph, settings: DeploySettings) -> Plan:
        """Say which processes `deploy` would start."""
        check_settings(graph, settings)
        interpreter = commands.choose_interpreter(settings.interpreter)
        processes = []
        for service in [*graph.workers, graph.frontend]:
            own = {**graph.environment, **service.environment}
            command = shlex.join(commands.command_line(service, interpreter, own))
            processes += [
                PlannedProcess(service.name, f"{service.name}-{index}", command, "", own)
                for index in range(service.replicas)
            ]
        return Plan(processes)

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        """Start planes, workers and frontend, and wait until they answer well."""
        check_settings(graph, settings)
        interpreter = commands.choose_interpreter(settings.interpreter)
        commands.check_requirements(graph, interpreter)
        check_models(graph)
        supervisor = self.supervisor  # starts in the background while we plan
        own = secrets.token_hex(4)  # not a pid: containers that share a home have the same ones
        name = f"{graph.name}-{own}"
        local = self.deployments[name] = LocalDeployment(state_directory() / "work" / own)
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
        except BaseException as error:
            with suppress(FaultLibraryError):
                self.delete(deployment)
            if isinstance(error, Unready):  # it never was, so this is no symptom of a defect under test
                raise DeploymentError(str(error)) from error
            raise
        return deployment

    def delete(self, deployment: Deployment) -> None:
        """End all process groups, remove the work directory, free the ports."""
        if self.is_lost(deployment):
            return  # all of it is gone already
        local = self.local(deployment)
        self.supervisor.end([part.process for part in local.parts])
        self.supervisor.remove_directory(local.work)
        local.network.close()
        self.ports.give_back(local.ports)
        del self.deployments[deployment.name]

    def wait_ready(self, deployment: Deployment, timeout: timedelta) -> None:
        """Wait for every replica that has not ended to be known to the frontend, and for good responses."""
        gone = {end.replica.process for end in self.ended(deployment)}
        workers = [service.name for service in deployment.graph.workers]
        urls = [
            replica.metrics_url
            for service in workers
            for replica in self.replicas(deployment, service)
            if replica.metrics_url
        ]
        expected = Expectation(urls, max(deployment.settings.ready_responses, len(urls)), timeout)

        def check_alive() -> None:
            self._check_alive(deployment, [end for end in self.ended(deployment) if end.replica.process not in gone])

        try:
            deployment.model = wait_until_ready(deployment.url, expected, check_alive)
        except Unready as error:
            before = [end for end in self.ended(deployment) if end.replica.process in gone]
            ended = [f"{end}, {seconds_text(monotonic() - end.exit.at)} ago" for end in before]
            raise Unready("; ".join([str(error), *ended])) from error

    def _take_port(self, local: LocalDeployment) -> int:
        port = self.ports.take()
        local.ports.append(port)
        return port

    def _start_planes(
        self, deployment: Deployment, local: LocalDeployment, planes: Planes, shared: dict[str, str]
    ) -> None:
        local.servers = planes.parts
        for part in planes.parts:
            if part.service not in deployment.infrastructure:
                deployment.infrastructure.append(part.service)
            self._start(deployment, local, part.service, part.index, part.host, part.argv, shared, None)
        for part in planes.parts:
            self._wait_healthy(deployment, part)

    def _wait_healthy(self, deployment: Deployment, part: Part) -> None:
        deadline = monotonic() + deployment.settings.timeout.total_seconds()
        while True:
            with suppress(OSError):
                get_text(part.health_url, TIMEOUT)
                return
            self._check_alive(deployment, self.ended(deployment))
            if monotonic() > deadline:
                limit = deployment.settings.timeout.total_seconds()
                raise DeploymentError(f"{part.service} did not become healthy at {part.health_url} within {limit:g} s")
            sleep(INTERVAL)

    def _check_alive(self, deployment: Deployment, ended: list[EndedReplica]) -> None:
        for end in ended:
            log = end.replica.log
            raise Unready(
                f"'{end.replica.name}' has ended before the graph was ready: {end.exit.how}; "
                f"end of its log {log}:\n{_tail(log)}"
            )

    def _start_service(
        self, deployment: Deployment, local: LocalDeployment, service: Service, shared: dict[str, str], interpreter: str
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
            commands.check_program(service, argv, environment)
            self._start(deployment, local, service.name, index, host, argv, environment, metrics_url)

    def _http_port(self, deployment: Deployment, local: LocalDeployment) -> int:
        wanted = deployment.settings.http_port
        if wanted is None or deployment.url:
            return self._take_port(local)
        local.ports.append(self.ports.take_exactly(wanted))
        return wanted

    def _start(
        self,
        deployment: Deployment,
        local: LocalDeployment,
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
        marked = {**environment, DEPLOYMENT_VARIABLE: key, **self.shim_environment(local, service, key)}
        self.supervisor.start(ProcessSpec(key, argv, marked, str(local.work), str(log), namespace))
        local.parts.append(PlannedReplica(service, index, key, log, metrics_url))


def _tail(log: Path) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"({error})"
    return "\n".join(lines[-_LOG_LINES:]) or "(empty)"
