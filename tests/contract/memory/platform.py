"""Platform `memory`: replicas are dictionaries, and a server in this process answers for the frontends among them."""

import itertools
import secrets
import shlex
from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from DynamoFaultLibrary.clock import monotonic, seconds_text, utc_text, wait_until
from DynamoFaultLibrary.errors import DeploymentError, FaultError, RecoveryError, Unready, Unsupported
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.ledger.undo import Recipe
from DynamoFaultLibrary.platforms.base import Deployment, Plan, PlannedProcess
from DynamoFaultLibrary.platforms.effects import Direction, End, Partition, PartitionMode
from DynamoFaultLibrary.platforms.http import get_json, post_json
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Node, Replica, ReplicaExit
from DynamoFaultLibrary.platforms.settings import DeploySettings
from memory.effects import Cut, EndOfReplica, Pause
from memory.frontend import Frontend

ENGINE = "DynamoFaultLibrary.engines.position"
NODES = ("memory-0", "memory-1")

Life = dict[str, Any]
"""One life of a replica: who it is, whether it is ``stopped``, its ``exit`` (None while it runs), its ``requests``."""


class MemoryLog:
    """See `platforms.log_store.Log`."""

    def __init__(self, replica: str) -> None:
        self.replica = replica
        self._text = b""

    def __str__(self) -> str:
        return f"memory of {self.replica}"

    def write(self, line: str) -> None:
        self._text += f"{utc_text()} INFO {line}\n".encode()

    def mark(self) -> int:
        return len(self._text)

    def since(self, mark: int = 0) -> bytes:
        return self._text[mark:]  # never empty: each life says that it begins

    def flush(self) -> None:
        """What is written can be read."""


class MemoryPlatform:
    """See the protocols in `platforms.base`."""

    name = "memory"
    settings = frozenset({"network"})  # each replica can be cut off, as if it had a host of its own
    replaces_ended = False
    poll_s = 0.002

    def __init__(self, ledger: Ledger) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.present: dict[str, Life] = {}
        """The last life of each replica, by its key."""
        self.cuts: dict[str, list[set[str]]] = {}
        """By cut the keys of those that do not reach each other."""
        self._lives: dict[str, Life] = {}
        """All that there ever were, by incarnation."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Frontend, self))
        self.path = f"/{secrets.token_hex(4)}"  # tells it from another one that had this port
        self.server = f"http://127.0.0.1:{self._http.server_port}{self.path}"
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    # Deploying

    def plan(self, graph: Graph, settings: DeploySettings) -> Plan:
        if others := [worker.name for worker in graph.workers if worker.module != ENGINE]:
            raise Unsupported(f"platform 'memory' has no engine but {ENGINE}, and {others} run others")
        services = [(service, n) for service in graph.services.values() for n in range(service.replicas)]
        return Plan([PlannedProcess(s.name, f"{s.name}-{n}", shlex.join(s.command), "", {}) for s, n in services])

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        name, plan = f"{graph.name}-{secrets.token_hex(4)}", self.plan(graph, settings)
        model = graph.workers[0].argument("--model-name") or graph.workers[0].argument("--model-path") or ""
        deployment = Deployment(name, graph, settings, results, f"{self.server}/{name}", model, plan=plan)
        self.deployments[name] = deployment
        for process in plan.processes:
            who = {"deployment": name, "service": process.service, "name": process.name, "command": process.command}
            self._begin({**who, "key": f"{name}/{process.name}", "log": MemoryLog(process.name)})
        try:
            self.wait_ready(deployment, settings.timeout)
        except Unready as error:
            self.delete(deployment)
            raise DeploymentError(str(error)) from error
        return deployment

    def delete(self, deployment: Deployment) -> None:
        for life in self._of(deployment):
            life["exit"] = life["exit"] or ReplicaExit("deleted", monotonic(), None)
            del self.present[life["key"]]
        del self.deployments[deployment.name]

    def is_lost(self, deployment: Deployment) -> bool:
        return False

    def close(self) -> None:
        for deployment in list(self.deployments.values()):
            self.delete(deployment)
        self._http.shutdown()
        self._http.server_close()

    # Observing

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        return [_replica(life) for life in self._of(deployment, service) if not life["exit"]]

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        return [EndedReplica(_replica(life), life["exit"]) for life in self._of(deployment) if life["exit"]]

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        life = self._life(replica)
        wait_until(lambda: life["exit"] is not None, timeout, self.poll_s)
        found: ReplicaExit | None = life["exit"]
        return found

    def logs(self, deployment: Deployment, service: str) -> list[MemoryLog]:
        return [life["log"] for life in self._of(deployment, service)]

    def metrics(self, deployment: Deployment, service: str, timeout_s: float = 10.0) -> dict[str, str]:
        lives = [life for life in self._of(deployment, service) if not life["exit"]]
        if silent := [life["name"] for life in lives if life["stopped"]]:
            raise Unready(f"no metrics of {', '.join(silent)}: stopped")
        return {life["name"]: counts(life) for life in lives}

    def nodes(self) -> list[Node]:
        return [Node(name, is_ready=True, is_schedulable=True, conditions={"Ready": "True"}) for name in NODES]

    # Replacing

    def respawn(self, deployment: Deployment, replica: Replica) -> Replica:
        self._of(deployment)  # a deployment that is gone has nothing to start
        life = self._life(replica)
        if self.present[replica.key] is life:
            life["exit"] = life["exit"] or ReplicaExit("replaced", monotonic(), None)
            self._begin(life)
        return _replica(self.present[replica.key])

    def wait_ready(self, deployment: Deployment, timeout: timedelta) -> None:
        ...

    # Faults

    def plan_end(self, deployment: Deployment, replica: Replica, end: End) -> EndOfReplica:
        life = self._life(replica, end.process_name)
        undoing = {"action": "start", "life": replica.incarnation}
        return EndOfReplica(self, {"signal": end.signal_name}, undoing, deployment, replica, life, end)

    def plan_pause(self, deployment: Deployment, replica: Replica, process_name: str | None) -> Pause:
        life = self._life(replica, process_name)
        if life["stopped"]:
            raise FaultError(f"{replica.name} is stopped already, so to stall it would prove nothing")
        return Pause(self, {}, {"action": "continue", "life": replica.incarnation}, life)

    def plan_cut(self, deployment: Deployment, partition: Partition) -> Cut:
        wanted = (partition.mode, partition.direction, partition.loss, partition.rate)
        if wanted != (PartitionMode.DROP, Direction.BOTH, 100, None):
            raise Unsupported("platform 'memory' can drop all that replicas send each other, both ways, and no part of it")
        pairs = [(one, other) for one in partition.sources for other in partition.targets if one != other]
        return Cut(self, {"mode": "drop"}, {"action": "join", "cut": secrets.token_hex(4)}, pairs)

    def undo(self, recipe: Recipe) -> str:
        if recipe["action"] == "join":
            return "joined" if self.cuts.pop(recipe["cut"], None) else "was joined"
        life = self._lives[recipe["life"]]
        if self.present.get(life["key"]) is not life:
            return "its process or its deployment is gone"
        if recipe["action"] == "start": 
            begin
        life["stopped"] = False
        ...
