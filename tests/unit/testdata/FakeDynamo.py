"""The library on a platform that starts nothing, with an HTTP server that answers like a frontend.

It shows what users read when they get an argument wrong: conversion, checks and messages are the library's own.
"""

import json
import shutil
import tempfile
import threading
from dataclasses import dataclass
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar, cast

from robot.api.deco import keyword, library

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.graph import Graph, Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.keywords.component import CONVERTERS
from DynamoFaultLibrary.keywords.observation import DEPLOYMENT, observe
from DynamoFaultLibrary.library import DynamoFaultLibrary
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.effects import Effect, End
from DynamoFaultLibrary.platforms.local import ends
from DynamoFaultLibrary.platforms.local.log_file import LocalLog
from DynamoFaultLibrary.platforms.local.toggle import LocalToggle
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.running import RunningProcess
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.processes import ProcessId

GRAPH = "mocker-vllm-agg.yaml"
A_LIFE = ProcessId(1, 1)
METRICS = """
# TYPE dynamo_frontend_requests_total counter
dynamo_frontend_requests_total{status="success"} 3
# TYPE dynamo_frontend_model_migration_total counter
dynamo_frontend_model_migration_total{migration_type="ongoing_request"} 0
"""


@dataclass
class FakePlatform:
    """Knows replicas, logs and members; whatever would act on them is refused."""

    place: Path
    url: str
    name: str = "fake"
    replaces_ended: bool = False
    poll_s: float = 0.001

    def replicas(self, deployment: Deployment, service: str) -> list[Replica]:
        count = 3 if service in deployment.infrastructure else deployment.graph.service(service).replicas
        return [
            Replica(service, index, f"{service}-{index}", f"{service}-{index}", A_LIFE, "n", None, log)
            for index, log in enumerate(self.logs(deployment, service)[:1] * count)
        ]

    def ended(self, deployment: Deployment) -> list[Any]:
        return []

    def logs(self, deployment: Deployment, service: str) -> list[Log]:
        if service not in deployment.infrastructure:
            deployment.graph.service(service)
        log = self.place / f"{service}-0.log"
        log.write_text("started\n", encoding="utf-8")
        return [LocalLog(log)]

    def metrics(
        self, deployment: Deployment, *services: str, timeout_s: float = 10.0
    ) -> tuple[dict[str, str], list[str]]:
        running = (replica for service in services for replica in self.replicas(deployment, service))
        return {replica.name: METRICS for replica in running}, []

    def member_urls(self, deployment: Deployment, service: str) -> dict[str, str]:
        return {f"{service}-{index}": f"{self.url}/{index}" for index in range(3)}

    def processes(self, replica: Replica) -> list[ProcessId]:
        return [replica.incarnation]  # type: ignore[list-item]  # as `replicas` has it

    def plan_end(self, deployment: Deployment, replica: Replica, end: End) -> Effect:
        return ends.plan_end(cast("Any", self), deployment, replica, end)

    def plan_pause(self, deployment: Deployment, replica: Replica, process_name: str | None) -> Effect:
        return ends.plan_pause(cast("Any", self), deployment, replica, process_name)

    def inspect(self, replica: Replica) -> list[RunningProcess]:
        return [RunningProcess("pid 1", ["python3", "-m", "dynamo.frontend"], {"HOME": "/"}, False)]

    def shimmed_processes(self, replica: Replica) -> list[str]:
        return []

    def cuda_toggle(self, replica: Replica) -> LocalToggle:
        toggle = LocalToggle(self.place / replica.name / "toggle")
        toggle.prepare()
        return toggle

    def is_lost(self, deployment: Deployment) -> bool:
        return False

    def deploy(self, graph: Graph, settings: DeploySettings, results: Path) -> Deployment:
        raise FaultError("the fake platform deploys nothing")

    def guard(self, entry: Any) -> None:
        pass

    def release(self, entry: Any) -> None:
        pass

    def close(self) -> None:
        pass

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)

        def refuse(*arguments: Any, **named: Any) -> Any:
            raise FaultError(f"the fake platform has no '{name}'")

        return refuse


@dataclass
class FakeFault(Effect):
    """A fault, and its effect, that is there without doing anything."""

    kind: ClassVar[str] = "Fake Fault"
    lifetime: ClassVar[str] = "ttl"
    deployment: str

    @property
    def effect(self) -> Effect:
        return self

    @property
    def facts(self) -> dict[str, Any]:
        return {}

    @property
    def target(self) -> dict[str, Any]:
        return {"deployment": self.deployment, "service": "Frontend", "replica": "Frontend-0", "node": "n"}

    @property
    def recipe(self) -> dict[str, Any]:
        return {"action": "none"}

    def apply(self) -> None:
        pass

    def prove(self) -> list[str]:
        return ["nothing was done"]

    def undo(self) -> str:
        return self.heal()

    def heal(self) -> str:
        return "nothing to undo"


@library(scope="GLOBAL", doc_format="ROBOT", converters=CONVERTERS)
class FakeDynamo(DynamoFaultLibrary):
    """The library as users see it, with a fake platform."""

    def __init__(self, deployed: bool = False) -> None:
        super().__init__()
        self.server = ThreadingHTTPServer(("127.0.0.1", 0), _Frontend)
        self.server.daemon_threads = True
        threading.Thread(target=self.server.serve_forever, daemon=True).start()
        url = f"http://127.0.0.1:{self.server.server_address[1]}"
        self.place = Path(tempfile.mkdtemp(prefix="dynamo-fault-fake-"))
        self.context._platform = FakePlatform(self.place, url)  # type: ignore[assignment]
        self.deployed = deployed
        if deployed:
            graph = Manifest.load(find_graph(GRAPH)).graph()
            made = Deployment("fake-1", graph, DeploySettings(), self.place, url, "m", ["etcd", "nats"])
            self.context.add_deployment(made)
            observe(self.context, made, DEPLOYMENT)

    @keyword
    def prepare(self) -> tuple[Any, str]:
        """A load that has ended, a fault in the midst of it, and a request that has ended; returns request and fault.

        The fault is over before the load is, so that there are requests in each part.
        """
        request = self.keywords["start_request"](max_tokens=4)
        self.keywords["wait_for_request"](request)
        self.keywords["start_load"](concurrency=2, output_tokens=4)
        load = self.context.loads["default"]
        load.wait_for_good(20, timedelta(seconds=30))
        active = self.context.injector.inject(FakeFault("fake-1"))
        load.wait_for_good(20, timedelta(seconds=30))
        self.context.injector.recover(active)
        load.wait_for_good(20, timedelta(seconds=30))
        self.keywords["stop_load"]()
        return request, active.entry.id

    def close(self) -> None:
        super().close()
        self.server.shutdown()
        self.server.server_close()
        shutil.rmtree(self.place)


class _Frontend(BaseHTTPRequestHandler):
    disable_nagle_algorithm = True
    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if "maintenance" in self.path:
            return self.answer({"header": {"member_id": self.path[1]}, "leader": "1", "raftTerm": "2"})
        tokens = body["max_tokens"]
        usage = {"completion_tokens": tokens, "prompt_tokens": 1}
        if not body.get("stream"):
            end = {"text": "x", "message": {"content": "x"}, "finish_reason": "length"}
            return self.answer({"id": "a", "choices": [end], "usage": usage})
        chunks: list[Any] = [
            {"id": "a", "choices": [{"text": "x ", "delta": {"content": "x "}}]} for _ in range(tokens)
        ]
        chunks += [{"id": "a", "choices": [{"delta": {}, "finish_reason": "length"}], "usage": usage}]
        events = b"".join(b"data: " + json.dumps(chunk).encode() + b"\n\n" for chunk in chunks)
        return self.send(events + b"data: [DONE]\n\n", "text/event-stream")

    def do_GET(self) -> None:
        self.answer({"server_id": "N1", "account_details": [], "instances": []})

    def answer(self, body: Any) -> None:
        self.send(json.dumps(body).encode(), "application/json")

    def send(self, data: bytes, kind: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        pass
