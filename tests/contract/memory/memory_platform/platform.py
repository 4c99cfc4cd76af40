"""Platform `memory`: replicas are dictionaries, and a server in this process answers for the frontends among them."""

import secrets
import shlex
from dataclasses import replace
from datetime import timedelta
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any

from DynamoFaultLibrary.clock import monotonic, seconds_text, utc_text, wait_until
from DynamoFaultLibrary.errors import DeploymentError, FaultError, Unready, Unsupported
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.guard.client import GuardClient
from DynamoFaultLibrary.ledger import Entry, Ledger
from DynamoFaultLibrary.ledger.undo import Recipe
from DynamoFaultLibrary.platforms.base import Deployment, Plan, PlannedProcess, Platform
from DynamoFaultLibrary.platforms.effects import Direction, End, Partition, PartitionMode
from DynamoFaultLibrary.platforms.http import post_json
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.replicas import EndedReplica, Node, Replica, ReplicaExit
from DynamoFaultLibrary.platforms.running import RunningProcess
from DynamoFaultLibrary.platforms.settings import DeploySettings, check_settings
from memory_platform.effects import Cut, EndOfReplica, Pause
from memory_platform.frontend import Frontend

ENGINE = "DynamoFaultLibrary.engines.position"
NODES = ("memory-0", "memory-1")

Life = dict[str, Any]
"""One life of a ``replica``: ``command``, ``requests``, whether it is ``stopped``, its ``exit`` (None before)."""


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
        return self._text[mark:]

    def flush(self) -> None:
        """What is written can be read."""


class MemoryPlatform:
    """See the protocols in `platforms.base`."""

    name = "memory"
    settings = frozenset({"network=isolated"})
    replaces_ended = False
    poll_s = 0.002

    def __init__(self, ledger: Ledger) -> None:
        self.deployments: dict[str, Deployment] = {}
        self.present: dict[str, Life] = {}
        """The last life of each replica, by its key."""
        self.cuts: dict[str, list[set[str]]] = {}
        """By cut the keys of those that do not reach each other."""
        self.past: dict[str, Life] = {}
        """All lives that there ever were, by incarnation."""
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), partial(Frontend, self))
        self._guard = GuardClient(ledger)
        self.path = f"/{secrets.token_hex(4)}/"  # tells it from another one that had this port
        self.server = f"http://127.0.0.1:{self._http.server_port}{self.path}"
        Thread(target=self._http.serve_forever, args=(0.01,), daemon=True).start()

    # Deploying

    def plan(self, graph: Graph, settings: DeploySettings) -> Plan:
        check_settings(settings, self.name, self.settings)
        if others := [worker.name for worker in graph.workers if worker.module != ENGINE]:
            raise Unsupported(f"platform 'memory' has no engine but {ENGINE}; {others} have another one")
        services = [(service, n) for service in graph.services.values() for n in range(service.replicas)]
        return Plan([PlannedProcess(s.name, f"{s.name}-{n}", shlex.join(s.command), "", {}) for s, n in services])

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        name, plan = f"{graph.name}-{secrets.token_hex(4)}", self.plan(graph, settings)
        model = graph.workers[0].argument("--model-name") or graph.workers[0].argument("--model-path") or ""
        deployment = Deployment(name, graph, settings, results, f"{self.server}{name}", model, plan=plan)
        self.deployments[name] = deployment
        for process in plan.processes:
            index, log = int(process.name.rpartition("-")[2]), MemoryLog(process.name)
            node, key = NODES[index % len(NODES)], f"{name}/{process.name}"
            self._begin(Replica(process.service, index, process.name, key, "", node, None, log), process.command)
        try:
            self.wait_ready(deployment, settings.timeout)
        except BaseException as error:
            self.delete(deployment)
            if isinstance(error, Unready):  # it never was
                raise DeploymentError(str(error)) from error
            raise
        return deployment

    def delete(self, deployment: Deployment) -> None:
        for life in self.lives(deployment):
            life["exit"] = life["exit"] or ReplicaExit("deleted", monotonic(), None)
            del self.present[life["replica"].key]
        del self.deployments[deployment.name]

    def is_lost(self, deployment: Deployment) -> bool:
        return False

    def close(self) -> None:
        self._guard.close()  # which undoes what it guards
        for deployment in list(self.deployments.values()):
            self.delete(deployment)
        self._http.shutdown()
        self._http.server_close()

    # Observing

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        return [life["replica"] for life in self.lives(deployment, service) if not life["exit"]]

    def ended(self, deployment: Deployment) -> list[EndedReplica]:
        return [EndedReplica(life["replica"], life["exit"]) for life in self.lives(deployment) if life["exit"]]

    def wait_exit(self, replica: Replica, timeout: timedelta) -> ReplicaExit | None:
        life = self.past[str(replica.incarnation)]
        wait_until(lambda: life["exit"] is not None, timeout, self.poll_s)
        found: ReplicaExit | None = life["exit"]
        return found

    def logs(self, deployment: Deployment, service: str) -> list[Log]:
        return [life["replica"].log for life in self.lives(deployment, service)]

    def metrics(
        self, deployment: Deployment, *services: str, timeout_s: float = 10.0
    ) -> tuple[dict[str, str], list[str]]:
        lives = [life for each in services for life in self.lives(deployment, each) if not life["exit"]]
        texts = {life["replica"].name: self.counts(life) for life in lives if not life["stopped"]}
        return texts, [f"no metrics of {life['replica'].name}: it is stopped" for life in lives if life["stopped"]]

    def inspect(self, replica: Replica) -> list[RunningProcess]:
        life = self.past[str(replica.incarnation)]
        process = RunningProcess(str(replica.incarnation), shlex.split(life["command"]), {}, life["stopped"])
        return [] if life["exit"] else [process]

    def nodes(self) -> list[Node]:
        return [Node(name, is_ready=True, is_schedulable=True, conditions={"Ready": "True"}) for name in NODES]

    # Replacing

    def respawn(self, deployment: Deployment, replica: Replica) -> Replica:
        self.lives(deployment)  # one that is gone has nothing to start
        return self._follow(self.past[str(replica.incarnation)])

    def wait_ready(self, deployment: Deployment, timeout: timedelta) -> None:
        body = {"model": deployment.model, "prompt": "ready ?", "max_tokens": 1}
        seen = ""

        def answers() -> bool:
            nonlocal seen
            front, workers = self.sides(deployment)
            seen = "; ".join(filter(None, (self.obstacle(front, one) for one in workers if not one["exit"])))
            try:
                for _ in range(0 if seen else deployment.settings.ready_responses):
                    post_json(f"{deployment.url}/v1/completions", body, min(timeout.total_seconds(), 10.0))
            except OSError as error:
                seen = f"{type(error).__name__}: {error}"
            return not seen

        if not wait_until(answers, timeout, self.poll_s):
            ago = [f"{end}, {seconds_text(monotonic() - end.exit.at)} ago" for end in self.ended(deployment)]
            late = f"{deployment.url} was not ready within {timeout.total_seconds():g} s; last seen: {seen}"
            raise Unready("; ".join([late, *ago]))

    # Effects

    def plan_end(self, deployment: Deployment, replica: Replica, end: End) -> EndOfReplica:
        life = self._running(replica, end.process_name)
        what, facts = str(replica.incarnation), {"signal": end.signal_name}
        return EndOfReplica(self, "start", what, facts, deployment, life, end)

    def plan_pause(self, deployment: Deployment, replica: Replica, process_name: str | None) -> Pause:
        life = self._running(replica, process_name)
        if life["stopped"]:
            raise FaultError(f"{replica.name} is stopped already, so to stall it would prove nothing")
        return Pause(self, "continue", str(replica.incarnation), {}, life)

    def plan_cut(self, deployment: Deployment, partition: Partition) -> Cut:
        wanted = (partition.mode, partition.direction, partition.loss, partition.rate)
        if wanted != (PartitionMode.DROP, Direction.BOTH, 100, None):
            raise Unsupported("platform 'memory' can only drop all that replicas send each other")
        return Cut(self, "join", secrets.token_hex(4), {"mode": partition.mode.value}, partition.pairs)

    def undo(self, recipe: Recipe) -> str:
        """Carry out a recipe, whoever has sent it to the server."""
        if recipe["action"] == "join":
            return "joined" if self.cuts.pop(recipe["what"], None) else "was joined"
        life = self.past[recipe["what"]]
        name, key = life["replica"].name, life["replica"].key
        if key not in self.present:
            return "its deployment is gone"
        if recipe["action"] == "continue":
            life["stopped"] = False
            return f"{name} goes on"
        return f"{name} runs as {self._follow(life).incarnation}"

    def guard(self, entry: Entry) -> None:
        self._guard.guard(entry)

    def release(self, entry: Entry) -> None:
        self._guard.release(entry)

    # What the others share

    def lives(self, deployment: Deployment, service: str | None = None) -> list[Life]:
        """The last life of each replica, of all services or of one."""
        if deployment.name not in self.deployments:
            raise DeploymentError(f"deployment '{deployment.name}' was deleted")
        services = list(deployment.graph.services)
        if service not in (None, *services):
            raise DeploymentError(f"deployment '{deployment.name}' has no service '{service}'; it has {services}")
        mine = [life for key, life in self.present.items() if key.startswith(f"{deployment.name}/")]
        return [life for life in mine if service in (None, life["replica"].service)]

    def sides(self, deployment: Deployment) -> tuple[Life, list[Life]]:
        """The frontend, and the workers behind it."""
        front, *_ = self.lives(deployment, deployment.graph.frontend.name)
        return front, [life for worker in deployment.graph.workers for life in self.lives(deployment, worker.name)]

    def obstacle(self, one: Life, other: Life) -> str:
        """What keeps two replicas from speaking with each other; empty when nothing does."""
        for life in (one, other):
            if life["exit"] or life["stopped"]:
                return f"{life['replica'].name} {'has ended' if life['exit'] else 'is stopped'}"
        ends = one["replica"], other["replica"]
        return f"{ends[0].name} and {ends[1].name} are cut off from each other" if self.is_cut(*ends) else ""

    def is_cut(self, *ends: Replica) -> bool:
        return any({end.key for end in ends} == pair for pairs in list(self.cuts.values()) for pair in pairs)

    def counts(self, life: Life) -> str:
        """Metrics as Prometheus has them."""
        return f"memory_requests_total {life['requests']}\n"

    def _begin(self, replica: Replica, command: str) -> Replica:
        begun = replace(replica, incarnation=f"life {len(self.past) + 1}")
        life: Life = {"replica": begun, "command": command, "exit": None, "stopped": False, "requests": 0}
        self.past[str(begun.incarnation)] = self.present[begun.key] = life
        life["replica"].log.write(f"{begun.incarnation} begins")
        return begun

    def _follow(self, life: Life) -> Replica:
        """The replica as it is there now: with another life in the place of this one, if that is its last."""
        replica: Replica = life["replica"]
        if self.present[replica.key] is life:
            life["exit"] = life["exit"] or ReplicaExit("replaced", monotonic(), None)
            self._begin(replica, life["command"])
        present: Replica = self.present[replica.key]["replica"]
        return present

    def _running(self, replica: Replica, process_name: str | None = None) -> Life:
        """The life of a replica, which has one process."""
        life = self.past[str(replica.incarnation)]
        running = [] if life["exit"] else [life["command"]]
        if not running or (process_name or "") not in life["command"]:
            raise FaultError(f"no process of {replica.name} matches '{process_name}'; running are {running}")
        return life


def open_platform(ledger: Ledger) -> Platform:
    """See `DynamoFaultLibrary.plugins`."""
    return MemoryPlatform(ledger)
