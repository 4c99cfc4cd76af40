"""Bring graphs up on this machine, and take them away."""

import re
import secrets
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from time import sleep

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.engines.model import TINY_MODEL, write_tiny_model
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unready
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.platforms.base import Deployment, Plan, Remark
from DynamoFaultLibrary.platforms.http import get_text
from DynamoFaultLibrary.platforms.local import commands, cuda
from DynamoFaultLibrary.platforms.local.child import Exit, ProcessSpec, ProcessStatus
from DynamoFaultLibrary.platforms.local.fitting import instances_of
from DynamoFaultLibrary.platforms.local.host import Host
from DynamoFaultLibrary.platforms.local.log_file import LocalLog
from DynamoFaultLibrary.platforms.local.machine import LocalDeployment, PlannedReplica
from DynamoFaultLibrary.platforms.local.network import make_network
from DynamoFaultLibrary.platforms.local.observing import LocalObserving
from DynamoFaultLibrary.platforms.local.places import Leases, Names
from DynamoFaultLibrary.platforms.local.planes import Part
from DynamoFaultLibrary.platforms.local.planning import Drawing, Start, draw
from DynamoFaultLibrary.platforms.local.settings import check_graph
from DynamoFaultLibrary.platforms.local.shimming import LocalShimming
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.platforms.log_store import Log, text_of
from DynamoFaultLibrary.platforms.readiness import INTERVAL, TIMEOUT, Expectation, wait_until_ready
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Incarnation
from DynamoFaultLibrary.platforms.settings import DeploySettings, check_settings
from DynamoFaultLibrary.plugins import LOCAL

_LOG_LINES = 15
_NO_MODEL = re.compile(r"Failed to fetch model|huggingface\.co|LocalEntryNotFoundError|couldn't connect to")
_NO_MODEL_HINT = (
    f" (its model is not in the Hugging Face cache and could not be fetched; model={TINY_MODEL} needs no network)"
)


class LocalDeploying(LocalObserving, LocalShimming):
    """See `platforms.base.Deploying`."""

    settings = frozenset({"interpreter", "http_port", "network"})

    def plan(self, graph: Graph, settings: DeploySettings) -> Plan:
        """Say which processes `deploy` would start, by the same planning, with names for what it would take."""
        self._check(graph, settings)
        interpreter = commands.choose_interpreter(settings.interpreter)
        return draw(graph, settings, Names(graph.name), interpreter).plan()

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        """Start planes, workers and frontend, and wait until they answer well."""
        self._check(graph, settings)
        interpreter = commands.choose_interpreter(settings.interpreter)
        draw(graph, settings, Names(graph.name), interpreter).findings.raise_first()
        supervisor = self.supervisor  # starts in the background while we plan
        own = secrets.token_hex(4)  # not a pid: containers that share a home have the same ones
        name = f"{graph.name}-{own}"
        local = self.deployments[name] = LocalDeployment(state_directory() / "work" / own)
        deployment = Deployment(name, graph, settings, results, url="")
        try:
            supervisor.own_directory(local.work)
            local.network = make_network(settings.network, self.ledger)
            drawing = draw(graph, settings, Leases(name, local, self.ports, settings.http_port), interpreter)
            drawing.findings.raise_first()
            self._prepare(drawing, local, interpreter)
            deployment.plan = drawing.plan()
            self._start_planes(deployment, local, drawing)
            self._start_pods(deployment, local, drawing.starts)
            self._wait_ready(deployment, settings.timeout, gone=frozenset())  # none may end before it was ready
            remarks = self._ended_sidecars(local)
            deployment.plan = replace(deployment.plan, missing=[*deployment.plan.missing, *remarks])
        except BaseException as error:
            with suppress(FaultLibraryError):
                self.delete(deployment)
            if isinstance(error, Unready):  # it never was, so this is no symptom of a defect under test
                raise DeploymentError(str(error)) from error
            raise
        return deployment

    def _check(self, graph: Graph, settings: DeploySettings) -> None:
        check_settings(settings, LOCAL, self.settings)
        check_graph(graph, settings)

    def delete(self, deployment: Deployment) -> None:
        """End all process groups, remove the work directory, free the ports."""
        if self.is_lost(deployment):
            return  # all of it is gone already
        local = self.local(deployment)
        self.supervisor.end([*(part.process for part in local.parts), *local.beside])
        self.supervisor.remove_directory(local.work)
        local.network.close()
        self.ports.give_back(local.ports)
        del self.deployments[deployment.name]

    def wait_ready(self, deployment: Deployment, timeout: timedelta) -> None:
        """Wait for every replica that has not ended to be known to the frontend, and for good responses."""
        gone = frozenset(end.replica.incarnation for end in self.ended(deployment))
        self._wait_ready(deployment, timeout, gone)

    def _wait_ready(self, deployment: Deployment, timeout: timedelta, gone: frozenset[Incarnation]) -> None:
        """Wait for all replicas but those that are gone; another one that ends is a reason to give up."""
        deadline = monotonic() + timeout.total_seconds()
        urls = self.metrics_urls(deployment, deployment.graph.workers)
        others = self.metrics_urls(deployment, deployment.graph.others)
        responses = max(deployment.settings.ready_responses, len(urls))
        expected = Expectation(urls, responses, timeout, others, self._unnamed(deployment))

        def check_alive() -> None:
            self._check_alive([end for end in self.ended(deployment) if end.replica.incarnation not in gone])

        try:
            deployment.model = wait_until_ready(deployment.url, expected, check_alive)
            self._wait_probes(deployment, deadline, timeout, check_alive)
        except Unready as error:
            before = [end for end in self.ended(deployment) if end.replica.incarnation in gone]
            ended = [f"{end}, {seconds_text(monotonic() - end.exit.at)} ago (log: {end.replica.log})" for end in before]
            beside = [f"{one.what} of {one.service}: {one.why}" for one in self._ended_sidecars(self.local(deployment))]
            raise Unready("; ".join([str(error), *ended, *beside])) from error

    def _unnamed(self, deployment: Deployment) -> int:
        """Instances that the replicas' processes have beside their first."""
        workers = deployment.graph.workers
        return sum((instances_of(worker) - 1) * len(self.replicas(deployment, worker.name)) for worker in workers)

    def _wait_probes(
        self, deployment: Deployment, deadline: float, timeout: timedelta, check_alive: Callable[[], None]
    ) -> None:
        """Wait for replicas that the frontend does not know, where the graph says how to see that they are ready."""
        ended = {end.replica.key for end in self.ended(deployment)}
        for key, probe in self.local(deployment).probes.items():
            while key not in ended and (problem := probe.problem()):
                check_alive()
                if monotonic() > deadline:
                    raise Unready(f"{probe} did not succeed within {timeout.total_seconds():g} s; last seen: {problem}")
                sleep(INTERVAL)

    @staticmethod
    def _prepare(drawing: Drawing, local: LocalDeployment, interpreter: str) -> None:
        commands.prepare_work(local.work, interpreter)
        if drawing.uses_tiny_model:
            directory = write_tiny_model(state_directory() / "models" / TINY_MODEL)
            (local.work / TINY_MODEL).symlink_to(directory)
        drawing.tree.write()

    def _start_planes(self, deployment: Deployment, local: LocalDeployment, drawing: Drawing) -> None:
        planes = drawing.planes
        local.servers = planes.parts
        for part in planes.parts:
            if part.service not in deployment.infrastructure:
                deployment.infrastructure.append(part.service)
            called = f"{part.service}-{part.index}"
            log = LocalLog(deployment.results / part.service / f"{called}.log")
            replica = PlannedReplica(part.service, part.index, f"{deployment.name}/{called}", log, None)
            self._start(local, replica, part.host, ProcessSpec("", part.argv, drawing.shared, str(local.work), ""))
        for part in planes.parts:
            self._wait_healthy(deployment, part)

    def _wait_healthy(self, deployment: Deployment, part: Part) -> None:
        limit = deployment.settings.timeout.total_seconds()
        deadline = monotonic() + limit
        while True:
            with suppress(OSError):
                get_text(part.health_url, TIMEOUT)
                return
            self._check_alive(self.ended(deployment))
            if monotonic() > deadline:
                raise DeploymentError(f"{part.service} did not become healthy at {part.health_url} within {limit:g} s")
            sleep(INTERVAL)

    def _check_alive(self, ended: list[EndedReplica]) -> None:
        for end in ended:
            log = end.replica.log
            tail = _tail(log)
            hint = _NO_MODEL_HINT if _NO_MODEL.search(tail) else ""
            raise Unready(f"{end} before the graph was ready{hint}; end of its log {log}:\n{tail}")

    def _start_pods(self, deployment: Deployment, local: LocalDeployment, starts: Sequence[Start]) -> None:
        """Start containers; a pod waits for its own init containers, and for those of no other pod."""
        deployment.url = next((start.url for start in starts if start.url and start.container.is_main), "")
        pods: dict[str, list[Start]] = {}
        for start in starts:
            pods.setdefault(start.replica, []).append(start)
        inits: dict[str, list[Start]] = {}
        for pod in pods.values():
            inits |= self._go_on(deployment, local, pod)
        deadline = monotonic() + deployment.settings.timeout.total_seconds()
        while inits:
            statuses = self.supervisor.status()
            for key in list(inits):
                if statuses[key].exit is not None or monotonic() > deadline:
                    self._check_init(deployment, local.beside[key], statuses[key])
                    inits |= self._go_on(deployment, local, inits.pop(key))
            self._check_alive(self.ended(deployment))
            sleep(INTERVAL)

    def _go_on(self, deployment: Deployment, local: LocalDeployment, pod: list[Start]) -> dict[str, list[Start]]:
        """Start a pod's containers up to its next init container; returns that and what follows it."""
        for index, start in enumerate(pod):
            key = self._start_container(deployment, local, start)
            if start.container.is_init:
                return {key: pod[index + 1 :]}
        return {}

    def _start_container(self, deployment: Deployment, local: LocalDeployment, start: Start) -> str:
        file = start.name.replace("/", ".")
        log = LocalLog(deployment.results / start.service / f"{file}.log")
        key = f"{deployment.name}/{file}"
        stage = str(local.work / "stage")
        spec = ProcessSpec(key, start.argv, start.environment, start.directory, str(log), "", start.mounts, stage)
        if start.container.is_main:
            replica = PlannedReplica(start.service, start.index, key, log, start.metrics_url)
            self._start(local, replica, start.host, spec)
            if start.probe is not None:
                marked = {**start.probe.environment, DEPLOYMENT_VARIABLE: key}  # who ends the replica ends its probe
                local.probes[key] = replace(start.probe, environment=marked)
            return key
        local.beside[key] = log
        marked = {**start.environment, DEPLOYMENT_VARIABLE: key}
        self._launch(replace(spec, env=marked, namespace=_path_of(start.host)))
        if start.container.is_init:
            local.inits.add(key)
        return key

    def _check_init(self, deployment: Deployment, log: LocalLog, status: ProcessStatus) -> None:
        if status.exit is not None and status.exit.code == 0:
            return
        limit = deployment.settings.timeout.total_seconds()
        how = _said(status.exit) if status.exit else f"had not ended after {limit:g} s"
        name = status.name.rpartition(".")[2]
        raise DeploymentError(
            f"init container '{name}' of service '{log.path.parent.name}' {how}; end of its log {log}:\n{_tail(log)}"
        )

    def _ended_sidecars(self, local: LocalDeployment) -> list[Remark]:
        """A sidecar that has ended does not keep a graph from serving: it is told."""
        statuses = self.supervisor.status()
        ended = [(key, log, statuses[key].exit) for key, log in local.beside.items() if key not in local.inits]
        return [
            Remark(log.path.parent.name, f"sidecar {key.rpartition('.')[2]}", f"it {_said(how)}, see {log}")
            for key, log, how in ended
            if how is not None
        ]

    def _start(self, local: LocalDeployment, replica: PlannedReplica, host: Host, spec: ProcessSpec) -> None:
        key = replica.process
        local.preloads[key] = spec.env.get(cuda.PRELOAD_VARIABLE)
        marked = {**spec.env, DEPLOYMENT_VARIABLE: key, **self.shim_environment(local, replica.service, key)}
        self._launch(replace(spec, name=key, env=marked, log=str(replica.log), namespace=_path_of(host)))
        local.parts.append(replica)

    def _launch(self, spec: ProcessSpec) -> None:
        """Start a process; what its program is worth in its own mounts is seen here at last."""
        try:
            self.supervisor.start(spec)
        except DeploymentError as error:
            name = spec.name.rpartition("/")[2]
            raise DeploymentError(f"'{name}' cannot be started as '{spec.argv[0]}': {error}") from error


def _said(end: Exit) -> str:
    return f"{'was' if end.signal else 'ended with'} {end}"


def _path_of(host: Host) -> str:
    return host.namespace.path if host.namespace else ""


def _tail(log: Log) -> str:
    try:
        lines = text_of(log).splitlines()
    except DeploymentError as error:
        return f"({error})"
    return "\n".join(lines[-_LOG_LINES:]) or "(empty)"
