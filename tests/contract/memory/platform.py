"""Platform `memory`: replicas are dictionaries, and a server in this process answers for the frontends among them."""

import itertools
import secrets
import shlex
from collections.abc import Iterator
from datetime import timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from DynamoFaultLibrary.clock import monotonic, seconds_text, wait_until
from DynamoFaultLibrary.errors import DeploymentError, FaultError, RecoveryError, Unready, Unsupported
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.platforms.base import Deployment, Plan, PlannedProcess
from DynamoFaultLibrary.platforms.effects import Direction, End, Partition, PartitionMode
from DynamoFaultLibrary.platforms.http import post_json
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Node, Replica, ReplicaExit
from DynamoFaultLibrary.platforms.settings import DeploySettings
from memory.effects import Cut, EndOfReplica, Pause
from memory.frontend import Frontend
from memory.log import MemoryLog

ENGINE = "DynamoFaultLibrary.engines.position"
NODES = ("memory-0", "memory-1")

Copy = dict[str, Any]
"""A replica: ``key``, ``service``, ``index``, ``log`` and ``count`` of requests, over all its lives; of this one
``life``, ``exit`` (None as long as it runs) and whether it is ``stopped``."""


class MemoryPlatform:
    """See the protocols in `platforms.base`."""

    name = "memory"
    settings = frozenset({"network"})  # whatever it says, each replica can be cut off
    replaces_ended = False
    poll_s = 0.002

    def __init__(self, ledger: Ledger) -> None:
        self.copies: dict[str, Copy] = {}
        self.cuts: dict[str, list[set[str]]] = {}
        """By cut the pairs of replicas that do not reach each other."""
        self._exits: dict[str, ReplicaExit] = {}
        """How lives have ended."""
        self._lives = (f"life {number}" for number in itertools.count(1))
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Frontend, self))
        self.path = f"/{secrets.token_hex(4)}"  # none of who had this port before
        self.server = f"http://127.0.0.1:{self._http.server_port}{self.path}"
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    # Deploying

    def plan(self, graph: Graph, settings: DeploySettings) -> Plan:
        if others := [worker.name for worker in graph.workers if worker.module != ENGINE]:
            raise Unsupported(f"platform 'memory' has no engine but {ENGINE}, and {others} run others")
        return Plan([PlannedProcess(s.name, f"{s.name}-{n}", shlex.join(s.command), "", {}) for s, n in _all(graph)])

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        name = f"{graph.name}-{secrets.token_hex(4)}"
        model = graph.workers[0].argument("--model-name") or ""
        plan = self.plan(graph, settings)
        deployment = Deployment(name, graph, settings, results, f"{self.server}/{name}", model, plan=plan)
        for service, index in _all(graph):
            log, key = MemoryLog(f"{service.name}-{index}"), f"{name}/{service.name}-{index}"
            self.copies[key] = self._start({"key": key, "service": service, "index": index, "log": log, "count": 0})
        try:
            self.wait_ready(deployment, settings.timeout)
        except Unready as error:
            self.delete(deployment)
            raise DeploymentError(str(error)) from error
        return deployment

    def delete(self, deployment: Deployment) -> None:
        for copy in self._of(deployment):
            self.end(copy, ReplicaExit("deleted", monotonic(), None))
            del self.copies[copy["key"]]

    def is_lost(self, deployment: Deployment) -> bool:
        return False

    def close(self) -> None:
        self._http.shutdown()
        self._http.server_close()
        self.copies.clear()

    # Observing

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        return [_replica(copy) for copy in self._of(deployment, service) if copy["exit"] is None]

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        return [EndedReplica(_replica(copy), copy["exit"]) for copy in self._of(deployment) if copy["exit"]]

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        wait_until(lambda: replica.incarnation in self._exits, timeout, self.poll_s)
        return self._exits.get(str(replica.incarnation))

    def logs(self, deployment: Deployment, service: str) -> list[MemoryLog]:
        return [copy["log"] for copy in self._of(deployment, service)]

    def metrics(self, deployment: Deployment, service: str, timeout_s: float = 10.0) -> dict[str, str]:
        asked = [copy for copy in self._of(deployment, service) if copy["exit"] is None]
        if stopped := [copy["log"].replica for copy in asked if copy["stopped"]]:
            raise Unready(f"no metrics of {', '.join(stopped)}: stopped")
        return {copy["log"].replica: metrics_of(copy) for copy in asked}

    def nodes(self) -> list[Node]:
        return [Node(name, is_ready=True, is_schedulable=True, conditions={"Ready": "True"}) for name in NODES]

    # Faults

    def plan_end(self, deployment: Deployment, replica: Replica, end: End) -> EndOfReplica:
        _check_command(self._alive(replica), end.process_name)
        return EndOfReplica(self, deployment, replica, end)

    def plan_pause(self, deployment: Deployment, replica: Replica, process_name: str | None) -> Pause:
        copy = self._alive(replica)
        _check_command(copy, process_name)
        if copy["stopped"]:
            raise FaultError(f"{replica.name} is stopped already, so to stall it would prove nothing")
        return Pause(self, replica)

    def plan_cut(self, deployment: Deployment, partition: Partition) -> Cut:
        wanted = (partition.mode, partition.direction, partition.loss, partition.rate)
        if wanted != (PartitionMode.DROP, Direction.BOTH, 100, None):
            raise Unsupported("platform 'memory' drops all that two replicas send each other, and knows no other cut")
        return Cut(self, partition)
