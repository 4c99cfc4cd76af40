import asyncio
import io
import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import orjson
import pytest
import uvloop

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.plan import LoadPlan, Workload
from DynamoFaultLibrary.load.process import SenderProcess
from DynamoFaultLibrary.load.records import Endpoint, Outcome, RequestSpec, read_records
from DynamoFaultLibrary.load.sender import Output, Sender

COMPLETIONS = "/v1/completions"
DEADLINE = timedelta(seconds=10)
SPEC = RequestSpec("request-1", "http://127.0.0.1:1", Endpoint.COMPLETION, "m", "a b", 3, True, 5.0)


class Journal(io.BytesIO):
    """A file that notes what was written, and when it was flushed, in one list with others."""

    def __init__(self, name: str, seen: list[tuple[str, Any]]) -> None:
        super().__init__()
        self.name, self.seen = name, seen

    def flush(self) -> None:
        for line in self.getvalue().splitlines():
            self.seen.append((self.name, orjson.loads(line)))
        self.seek(0)
        self.truncate()


def test_a_request_that_is_cancelled_before_it_was_sent_has_a_record_and_an_end() -> None:
    """It had neither, so whoever waited for it waited for ever (row 30)."""
    seen: list[tuple[str, Any]] = []

    async def run() -> None:
        sender = Sender(Output(Journal("record", seen), Journal("event", seen)))
        sender.do_request(SPEC.to_json())
        sender.do_watch(SPEC.id, 2)
        sender.do_cancel(SPEC.id)
        while len(seen) < 3:
            await asyncio.sleep(0)

    uvloop.run(asyncio.wait_for(run(), 10))
    (first, record), (second, tokens), (third, done) = seen
    assert (first, second, third) == ("record", "event", "event")
    assert (record["id"], record["outcome"]) == (SPEC.id, Outcome.CANCELLED)
    assert 0 < record["started_monotonic_s"] == record["ended_monotonic_s"]
    assert tokens == {"event": "tokens", "id": SPEC.id, "tokens": 2, "reached": False}
    assert (done["event"], done["record"]) == ("done", record)


def test_a_sender_that_ends_before_a_request_was_sent_records_it() -> None:
    seen: list[tuple[str, Any]] = []

    async def run() -> None:
        commands = asyncio.StreamReader()
        commands.feed_data(json.dumps({"do": "request", "spec": SPEC.to_json()}).encode() + b"\n")
        commands.feed_eof()
        await Sender(Output(Journal("record", seen), Journal("event", seen))).serve(commands)

    uvloop.run(asyncio.wait_for(run(), 10))
    assert [name for name, _ in seen] == ["record", "event"]
    assert seen[0][1]["outcome"] == Outcome.CANCELLED


def test_records_of_one_turn_are_written_together_and_before_what_tells_of_them() -> None:
    seen: list[tuple[str, Any]] = []

    async def run() -> None:
        output = Output(Journal("record", seen), Journal("event", seen))
        output.write(b"1\n")
        output.write(b"2\n")
        assert seen == []
        output.emit(event="x")
        output.write(b"3\n")
        await asyncio.sleep(0)
        await asyncio.sleep(0)

    uvloop.run(run())
    assert seen == [("record", 1), ("record", 2), ("event", {"event": "x"}), ("record", 3)]


@pytest.fixture
def sender(tmp_path: Path) -> Iterator[SenderProcess]:
    process = SenderProcess(tmp_path / "load")
    yield process
    process.close()


def one_token(handler: BaseHTTPRequestHandler) -> None:
    handler.protocol_version, handler.close_connection = "HTTP/1.1", False
    answer = {"choices": [{"text": "a", "finish_reason": "length"}], "usage": {"completion_tokens": 1}}
    body = json.dumps(answer).encode()
    handler.send_response(200)
    handler.send_header("Content-Length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def plan_of(url: str, **changes: Any) -> dict[str, Any]:
    shape = Workload(input_tokens=4, output_tokens=1, endpoint=Endpoint.COMPLETION, streaming=False)
    return LoadPlan("l", url, "m", 2, workload=shape, **changes).to_json()


def test_all_records_are_in_the_file_when_the_end_is_told(sender: SenderProcess, loopback: Any) -> None:
    loopback.routes[COMPLETIONS] = one_token
    sender.command("load", plan=plan_of(loopback.url, request_count=50))
    event = sender.wait_for(lambda event: event["event"] == "finished", DEADLINE, "the end")
    assert event["tally"]["good"] == 50
    assert len(read_records(sender.records)) == 50


def test_the_engine_may_open_as_many_connections_as_the_machine_lets_it(tmp_path: Path, loopback: Any) -> None:
    """A connection takes two descriptors, and many systems begin with 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(soft, 512), hard))
    try:
        process = SenderProcess(tmp_path / "load")
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    try:
        loopback.routes[COMPLETIONS] = one_token
        process.command("load", plan=plan_of(loopback.url, request_count=1))
        process.wait_for(lambda event: event["event"] == "finished", DEADLINE, "the end")
        assert resource.prlimit(process.pid, resource.RLIMIT_NOFILE) == (hard, hard)
    finally:
        process.close()


def test_what_has_ended_is_read_promptly_and_what_was_in_flight_is_recorded_when_its_robot_is_killed(
    tmp_path: Path, loopback: Any, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    left = list(range(3))

    def answer(handler: BaseHTTPRequestHandler) -> None:
        if left:
            left.pop()
            one_token(handler)
        else:
            loopback.ended.wait(10)

    loopback.routes[COMPLETIONS] = answer
    script = (
        "import json, sys, time; from pathlib import Path; from DynamoFaultLibrary.load.process import SenderProcess\n"
        "sender = SenderProcess(Path(sys.argv[1]))\n"
        "sender.command('load', plan=json.loads(sys.argv[2]))\ntime.sleep(60)"
    )
    folder = tmp_path / "load"
    robot = subprocess.Popen([sys.executable, "-c", script, folder, json.dumps(plan_of(loopback.url, duration_s=60.0))])
    try:
        records = folder / "requests.jsonl"
        eventually(lambda: records.exists() and len(read_records(records)) == 3)
    finally:
        os.kill(robot.pid, signal.SIGKILL)
        robot.wait()
    eventually(lambda: len(read_records(records)) == 5)
    assert [record.outcome for record in read_records(records)[3:]] == [Outcome.CANCELLED] * 2


def test_records_that_cannot_be_written_end_the_sender_with_a_sentence(
    tmp_path: Path, loopback: Any, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    loopback.routes[COMPLETIONS] = one_token
    folder = tmp_path / "load"
    folder.mkdir()
    (folder / "requests.jsonl").symlink_to("/dev/full")
    sender = SenderProcess(folder)
    sender.command("load", plan=plan_of(loopback.url, request_count=5))
    eventually(lambda: not sender.is_running)
    assert sender.log.read_text().splitlines()[-1] == "cannot write records: No space left on device"


def test_a_sender_that_was_killed_while_it_told_something_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Half a line ended the thread that reads, so whoever waited did so for the whole time-out."""
    (tmp_path / "torn_sender.py").write_text('print(\'{"event": "there"}\\n{"event": "do\', end=\'\')')
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    sender = SenderProcess(tmp_path / "load", "torn_sender")
    with pytest.raises(LoadError, match=f"waited for an answer, but the sending process {sender.pid} is gone"):
        sender.wait_for(lambda event: event["event"] == "done", DEADLINE, "an answer")
    assert sender.find(lambda event: event["event"] == "there")
    sender.close()


def test_a_request_is_cancelled_by_its_name(sender: SenderProcess, loopback: Any) -> None:
    loopback.routes[COMPLETIONS] = lambda handler: loopback.ended.wait(10)
    spec = RequestSpec(**{**SPEC.to_json(), "endpoint": Endpoint.COMPLETION, "url": loopback.url})
    sender.command("request", spec=spec.to_json())
    sender.command("cancel", id=spec.id)
    assert Request(spec, sender).wait(DEADLINE).outcome is Outcome.CANCELLED
