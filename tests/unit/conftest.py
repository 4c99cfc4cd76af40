"""What several unit tests share: real child processes, a real loopback HTTP server, a real ledger."""

import contextlib
import json
import os
import signal
import struct
import subprocess
import tempfile
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings
from hypothesis.configuration import set_hypothesis_home_dir

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.cuda_toggle import CLASSES
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.load.folder import LoadFolder, LoadState
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.platforms.local.toggle import LocalToggle
from DynamoFaultLibrary.processes import ProcessId

set_hypothesis_home_dir(Path(tempfile.gettempdir()) / "dynamo-fault-hypothesis")
settings.register_profile("unit", deadline=None, database=None, max_examples=60, derandomize=True)
settings.load_profile("unit")

DEADLINE = 5.0
SLEEP = "/bin/sleep"


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    return Ledger("run-1", Owner(ProcessId.current()), tmp_path / "state")


@pytest.fixture
def eventually() -> Callable[[Callable[[], bool]], None]:
    def check(condition: Callable[[], bool]) -> None:
        assert wait_until(condition, DEADLINE), f"the condition did not hold within {DEADLINE:g} s"

    return check


class Started:
    """A child in a session of its own; `lines` reads what it prints, so that a test knows when it is there."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process
        self.pid = process.pid
        identity = ProcessId.of(process.pid)
        assert identity is not None
        self.identity = identity

    def line(self) -> str:
        assert self.process.stdout is not None
        return self.process.stdout.readline().strip()

    def say(self, line: str) -> None:
        assert self.process.stdin is not None
        print(line, file=self.process.stdin, flush=True)

    def release(self) -> None:
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.process.wait(DEADLINE)


@pytest.fixture
def start() -> Iterator[Callable[..., Started]]:
    children: list[Started] = []

    def begin(*argv: str, env: dict[str, str] | None = None) -> Started:
        process = subprocess.Popen(
            argv,
            env={**os.environ, **(env or {})},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        children.append(Started(process))
        return children[-1]

    yield begin
    for child in children:
        # A session keeps its leader's pid reserved as long as it has a member, so this can hit nobody else.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        child.process.wait(DEADLINE)
        for stream in (child.process.stdin, child.process.stdout):
            if stream is not None:
                stream.close()


@pytest.fixture
def sleeper(start: Callable[..., Started]) -> Started:
    return start(SLEEP, "60")


@pytest.fixture
def write_load(tmp_path: Path) -> Callable[..., Path]:
    """Writes the folder of a load below `tmp_path`, with a record for each (start, end, outcome)."""

    def write(
        place: str,
        *requests: tuple[float, float, Outcome],
        state: LoadState = LoadState.COMPLETED,
        test: str = "",
        deployment: str = "",
    ) -> Path:
        path = tmp_path / place
        path.mkdir(parents=True)
        plan = LoadPlan(path.name, "http://127.0.0.1:1", "m", 4, request_count=max(1, len(requests)))
        LoadFolder(path, path.name, plan, state, tally={"good": len(requests)}, test=test, deployment=deployment).save()
        records = [
            Record(f"r-{number}", path.name, 0, Endpoint.CHAT, True, 8, status=200, output_tokens=8, outcome=outcome)
            for number, (_, _, outcome) in enumerate(requests)
        ]
        for record, (start, end, _) in zip(records, requests, strict=True):
            record.started_monotonic_s, record.ended_monotonic_s = start, end
        (path / "requests.jsonl").write_bytes(b"".join(record.to_line() for record in records))
        return path

    return write


Answer = Callable[[BaseHTTPRequestHandler], None]


class Loopback(ThreadingHTTPServer):
    """Answers by path; keeps what it was asked."""

    daemon_threads = True
    block_on_close = False

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.routes: dict[str, Answer] = {}
        self.seen: list[tuple[str, dict[str, str], Any]] = []
        self.ended = threading.Event()
        self.url = f"http://127.0.0.1:{self.server_address[1]}"

    def answer(self, path: str, body: Any, status: int = 200) -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()

        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

        self.routes[path] = send

    def stream(self, path: str, *events: bytes) -> None:
        def send(handler: BaseHTTPRequestHandler) -> None:
            handler.send_response(200)
            handler.send_header("Content-Type", "text/event-stream")
            handler.end_headers()
            for event in events:
                handler.wfile.write(event)
                handler.wfile.flush()

        self.routes[path] = send


class _Handler(BaseHTTPRequestHandler):
    server: Loopback
    disable_nagle_algorithm = True  # else the body of an answer waits for the other side to acknowledge its head

    def do_GET(self) -> None:  # the base class names it so
        self.reply(None)

    def do_POST(self) -> None:  # the base class names it so
        self.reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def reply(self, body: Any) -> None:
        self.server.seen.append((self.path, {name.lower(): value for name, value in self.headers.items()}, body))
        self.server.routes[self.path](self)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  # the base class names it so
        pass


@pytest.fixture
def loopbacks() -> Iterator[Callable[[], Loopback]]:
    """Starts as many servers as a test wants."""
    started: list[tuple[Loopback, threading.Thread]] = []

    def begin() -> Loopback:
        server = Loopback()
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        started.append((server, thread))
        return server

    yield begin
    for server, thread in started:
        server.ended.set()
        server.shutdown()
        server.server_close()
        thread.join(DEADLINE)


@pytest.fixture
def loopback(loopbacks: Callable[[], Loopback]) -> Loopback:
    return loopbacks()


@pytest.fixture
def leave() -> Callable[..., None]:
    """Writes the counters that a process under the CUDA shim would leave."""

    def write(
        toggle: LocalToggle,
        process: ProcessId | None = None,
        *,
        on: bool = False,
        generation: int = 0,
        launches: int = 0,
    ) -> None:
        process = process or ProcessId.current()
        failed = [launches if name == "launch" else 0 for name in CLASSES]
        gpus = [launches, *[0] * 64]
        numbers = [process.started, generation, 1, 2, 3_000_000_000, 4, 0, *failed, *failed, *gpus]
        data = struct.pack(f"=8sII{len(numbers)}Q", b"DFCUDA1\0", process.pid, on, *numbers)
        (toggle.counters_directory / f"{process.pid}-{process.started}").write_bytes(data)

    return write
