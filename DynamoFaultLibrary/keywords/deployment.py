"""Keywords that bring graphs up and take them away."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Literal

from robot.api import logger
from robot.api.deco import keyword

from DynamoFaultLibrary.clock import monotonic, seconds_text
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, RecoveryError, Unready
from DynamoFaultLibrary.faults.injector import ActiveFault
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.graph.change import Change
from DynamoFaultLibrary.graph.edits import Edits, apply_edits
from DynamoFaultLibrary.graph.opening import open_graph
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Component
from DynamoFaultLibrary.keywords.ends import frontend_is_gone, note_unordered_ends
from DynamoFaultLibrary.keywords.observation import DEPLOYMENT, observe
from DynamoFaultLibrary.platforms.base import Deployment, Plan, Replacing, require
from DynamoFaultLibrary.platforms.settings import DeploySettings, Discovery, EventPlane, NetworkMode, RequestPlane
from DynamoFaultLibrary.reports.graph_tables import edit_tables, plan_tables, process_tables, to_html
from DynamoFaultLibrary.reports.grid import Grid
from DynamoFaultLibrary.reports.timeline import EventKind
from DynamoFaultLibrary.times import check_time

GRAPH_FILE = "graph.yaml"
_LAST_METRICS_S = 1.0
"""Seconds that replicas get to tell their last metrics."""


class DeploymentKeywords(Component):
    """Deploy Graph, Delete Graph and what is known of a deployment."""

    @keyword(tags=["Deployment"])
    def deploy_graph(
        self,
        file: str,
        *,
        graph: str | None = None,
        alias: str | None = None,
        replicas: dict[str, int] | int | None = None,
        model: str | None = None,
        image: str | None = None,
        interpreter: str | None = None,
        env: dict[str, str] | None = None,
        args: dict[str, str] | None = None,
        frontend_args: dict[str, str] | None = None,
        router_mode: str | None = None,
        migration_limit: int | None = None,
        migration_max_seq_len: int | None = None,
        discovery: Literal[Discovery.FILE, Discovery.ETCD, None] = None,
        etcd_members: int | None = None,
        request_plane: Literal[RequestPlane.TCP, RequestPlane.NATS, None] = None,
        event_plane: Literal[EventPlane.ZMQ, EventPlane.NATS, None] = None,
        network: Literal[NetworkMode.SHARED, NetworkMode.ISOLATED, None] = None,
        http_port: int | None = None,
        ready_responses: int = DeploySettings.ready_responses,
        timeout: timedelta = DeploySettings.timeout,
        dry_run: bool = False,
    ) -> str:
        """Deploys a DynamoGraphDeployment and returns the frontend's URL when the graph is ready.

        Ready means: the frontend knows each worker replica and no other, and answers several requests in a row well
        (``ready_responses``, at least one a worker). Each deployment has ports and a discovery store of its own, so
        suites run in parallel. When it does not come up, the keyword fails with the last log lines of what went
        wrong, and nothing is left running.

        | *Argument* | *Meaning* |
        | ``file`` | A YAML file (``v1alpha1`` or ``v1beta1``) or a folder for ``kubectl kustomize``: a path, one beside the suite, or a shipped graph |
        | ``graph`` | The name of the graph to deploy, where the file has several; ``graphs.yaml#name`` says the same |
        | ``alias`` | What ``graph`` calls this deployment in other keywords; default: the name of the graph, see `Several graphs` |
        | ``replicas`` | Number of worker replicas, for all worker services or by service name |
        | ``model`` | The model of all services, wherever they name theirs; platform ``local`` refuses a path that does not exist |
        | ``image`` | Container image of the frontend and the workers; ``local`` runs no containers and refuses it |
        | ``interpreter`` | Python that runs Dynamo (``local`` only); default ``$DYNAMO_PYTHON``, else robot's own |
        | ``env`` | Environment variables for all services |
        | ``args`` | Command line options for the workers by name, dashes included, such as ``--max-num-seqs``; an empty value makes a flag |
        | ``frontend_args`` | Command line options for the frontend, in the same way |
        | ``router_mode``, ``migration_limit``, ``migration_max_seq_len`` | The frontend's options of those names |
        | ``discovery`` | ``file`` (the default of ``local``), or ``etcd`` with ``etcd_members`` 1 (the default), 3 or 5 |
        | ``request_plane``, ``event_plane`` | ``tcp`` (the default of ``local``) or ``nats``, and ``zmq`` (the same) or ``nats`` |
        | ``network`` | ``shared`` (the default of ``local``), or ``isolated``: each process on a host of its own, for `Partition Network` |
        | ``http_port`` | Port of the frontend (of its first replica), 1 to 65535 (``local`` only); default: a free one |
        | ``ready_responses`` | Good answers in a row that make the graph ready, 1 or more |
        | ``timeout`` | Time, above 0, for each of: etcd and NATS, init containers, and the graph to become ready once it is started |
        | ``dry_run`` | Start nothing; return the edited graph as YAML instead of the URL |

        Options are set in the command of a service as it is: in its lists of words, or inside the script that it gives
        to a shell. The log shows where each edit went, what the platform sets otherwise than the graph, and what cannot
        be on this machine; docs/graphs.md has the details. An edit that cannot be made is refused before anything
        starts, and so are an argument that would have no effect and two that say different things.

        ``dry_run`` fails as a deployment does, as far as that can be known without one, and logs the same tables and
        the edited graph. No deployment is added, and nothing is left.

        Skips the test when the graph needs GPUs or engines that are not there, or the network rights that are not.

        Example:
        | `Deploy Graph` | position-agg.yaml | replicas=3 | migration_limit=3 |
        | `Deploy Graph` | position-agg.yaml | alias=blue |
        | `Kill Worker` | PositionWorker | graph=blue |
        | &{options} = | `Create Dictionary` | --token-time=0.01 | # option and value |
        | `Deploy Graph` | position-agg.yaml | args=${options} |
        | ${yaml} = | `Deploy Graph` | position-agg.yaml | router_mode=kv | dry_run=True |
        """  # noqa: E501  # a table's row is a line
        began = monotonic()
        source = robot_context.suite_directory()
        _, edited = open_graph(file, graph, *([source] if source else []))
        for deployment in filter(self.context.platform.is_lost, self.context.deployments):
            self.context.remove_deployment(deployment)  # it went with its supervisor; its alias is free
        called = self.context.new_alias(alias, edited.name)
        edits = Edits(
            replicas=replicas,
            model=model,
            image=image,
            env=env or {},
            args=args or {},
            frontend_args=frontend_args or {},
            router_mode=router_mode,
            migration_limit=migration_limit,
            migration_max_seq_len=migration_max_seq_len,
        )
        changes = apply_edits(edited, edits)
        settings = DeploySettings(
            discovery=discovery,
            etcd_members=etcd_members,
            request_plane=request_plane,
            event_plane=event_plane,
            network=network,
            interpreter=interpreter,
            http_port=http_port,
            ready_responses=ready_responses,
            timeout=timeout,
            edits=edits,
        )
        if dry_run:
            return self._try(edited, changes, settings)
        deployment = self._deploy(edited, changes, settings, self._results(called))
        self.context.add_deployment(deployment, called)
        observe(self.context, deployment, DEPLOYMENT)
        took = monotonic() - began
        services = ", ".join(f"{service.replicas} {service.name}" for service in edited.services.values())
        self.note(
            EventKind.DEPLOY,
            f"{called} is ready after {seconds_text(took)}: {services} at {deployment.url}",
            startup_s=took,
        )
        return deployment.url

    def _try(self, graph: Graph, changes: Sequence[Change], settings: DeploySettings) -> str:
        """Log what a deployment would be; returns the edited graph."""
        yaml = graph.to_yaml()
        plan = Plan()
        try:
            plan = self.context.platform.plan(graph, settings)
        finally:
            _show(edit_tables(changes) | process_tables(plan) | plan_tables(plan), yaml)
        if plan.refusal:
            raise DeploymentError(plan.refusal)
        return yaml

    def _deploy(self, graph: Graph, changes: Sequence[Change], settings: DeploySettings, results: Path) -> Deployment:
        """Deploy, and log where each edit went, also when the graph does not come up."""
        plan = Plan()
        results.mkdir(parents=True, exist_ok=True)
        (results / GRAPH_FILE).write_text(graph.to_yaml(), encoding="utf-8")
        try:
            deployment = self.context.platform.deploy(graph, settings, results)
            plan = deployment.plan
        finally:
            _show(edit_tables(changes) | plan_tables(plan))
        return deployment

    @keyword(tags=["Deployment"])
    @on_graph
    def delete_graph(self) -> None:
        """Deletes the last deployed graph, or ``graph``: its processes are killed, its ports and directories freed.

        All of that is verified. Faults on it come off first; what one of them has ended is not started again. Loads on
        it are stopped, what they have in flight is recorded as cancelled; a single request in flight ends with a
        connection error.
        Does nothing when no graph is deployed at all. Fails when ``graph`` names none of those that are.
        """
        if not self.context.deployments:
            self.info("no graph is deployed")
            return
        self._delete(self.context.deployment)

    @keyword(tags=["Deployment"])
    def delete_all_graphs(self) -> None:
        """Deletes all deployed graphs, the last one first, as `Delete Graph` does; for teardowns.

        Goes on when one cannot be deleted, and then fails and names what is left. Does nothing when none is deployed.
        """
        problems = []
        for deployment in reversed(self.context.deployments):
            alias = self.context.alias_of(deployment)
            try:
                self._delete(deployment)
            except FaultLibraryError as error:
                is_left = deployment in self.context.deployments
                problems.append(f"graph '{alias}' is {'left' if is_left else 'deleted'}: {error}")
        if problems:
            raise DeploymentError("; ".join(problems))

    def _delete(self, deployment: Deployment) -> None:
        for load in self.context.loads.values():
            if load.deployment == deployment.name:
                load.give_up()
        note_unordered_ends(self.context)

        def belongs(fault: ActiveFault) -> bool:
            return fault.entry.target.get("deployment") == deployment.name

        self.context.injector.heal(belongs)
        self._save_metrics(deployment)
        self.context.platform.delete(deployment)
        name = self.context.alias_of(deployment)
        self.context.remove_deployment(deployment)  # first: it is gone, whatever becomes of the ledger
        problems = self.context.injector.forget(belongs, "its deployment was deleted")
        self.note(EventKind.DEPLOY, f"{name} is deleted")
        if problems:
            raise RecoveryError("; ".join(problems))

    @keyword(tags=["Deployment", "Getter"])
    @on_graph
    def get_frontend_url(self) -> str:
        """Returns the URL of the deployed graph's frontend, such as ``http://127.0.0.1:20123``."""
        return self.context.deployment.url

    @keyword(tags=["Deployment", "Getter"])
    @on_graph
    def get_served_model(self) -> str:
        """Returns the name of the model that the frontend serves."""
        return self.context.deployment.model

    @keyword(tags=["Deployment", "Wait"])
    @on_graph
    def wait_until_graph_is_ready(self, timeout: timedelta = timedelta(seconds=60)) -> None:
        """Waits until the frontend knows exactly the worker replicas that run, and answers well.

        Dynamo's file and etcd discovery keep a dead worker for about 10 s; until then a graph is not ready. Fails at
        once when a replica ends meanwhile, and when the frontend has ended and nobody starts it again.
        """
        check_time("timeout", timeout)
        deployment = self.context.deployment
        if gone := frontend_is_gone(self.context, deployment.name):
            raise Unready(f"{deployment.url} cannot become ready: {gone}")
        require(self.context.platform, Replacing).wait_ready(deployment, timeout)

    def _save_metrics(self, deployment: Deployment) -> None:
        """Keep what the replicas' metrics said last, beside their logs."""
        texts: dict[str, str] = {}
        with suppress(DeploymentError):  # one that hangs has nothing to say, nor has a graph that is gone
            texts, _ = self.context.platform.metrics(deployment, *deployment.graph.services, timeout_s=_LAST_METRICS_S)
        for name, text in texts.items():
            with suppress(OSError):  # a disk may be full
                path = deployment.results / name.rpartition("-")[0] / f"{name}.metrics"
                path.parent.mkdir(exist_ok=True)  # where a platform's logs lie elsewhere
                path.write_text(text, encoding="utf-8")

    def _results(self, alias: str) -> Path:
        """The suite's directory for its first deployment, one below it for each other, called by its alias."""
        directory = self.context.results_directory()
        if not (directory / GRAPH_FILE).exists():
            return directory
        place, number = directory / alias, 2
        while place.exists() or alias == "load":  # where the first deployment has its loads
            place, number = directory / f"{alias}-{number}", number + 1
        return place


def _show(tables: dict[str, Grid], yaml: str = "") -> None:
    html = to_html(tables, yaml)
    if html:
        logger.info(html, html=True)
