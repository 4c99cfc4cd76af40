"""Ratios of the load engine, each pair measured in turns in one run. Prints a table and writes JSON.

Usage: python tests/bench/load.py [--rounds N] [--records N] [--minutes N]

Against aiperf on a local Dynamo (CPU a request, wall time, throughput, latency), against wrk and a bare socket
on a loopback server that answers at once, statistics of many records, and the engine's memory over a long load.
"""

import argparse
import asyncio
import json
import multiprocessing
import os
import random
import re
import resource
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import cast

import httptools
import psutil
import uvloop

from DynamoFaultLibrary import DynamoFaultLibrary
from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.engines.model import TINY_MODEL
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.load.client import Engine, Load
from DynamoFaultLibrary.load.plan import LoadPlan, Workload
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.statistics import Figures
from DynamoFaultLibrary.load.windows import whole

ROOT = Path(__file__).parents[2]
STREAMS, TOKENS = 32, 32
FEW, MANY = 64, 320
"""Requests of a short and of a long load: their difference tells what a request costs without the start."""
SHAPES = (
    ("few", STREAMS, FEW),
    ("many", STREAMS, MANY),
    ("waves", STREAMS, 100),
    ("at once", 100, 100),
    ("two", 2, 40),
)
"""Name, clients and requests of the loads."""
LONG = timedelta(minutes=5)


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--minutes", type=float, default=0, help="length of the load whose memory is watched")
    options = parser.parse_args()
    figures: dict[str, dict[str, object]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        work = Path(name)
        os.environ["DYNAMO_FAULT_STATE"] = str(work / "state")
        os.chdir(work)
        figures["aiperf"] = bench_aiperf(work, options.rounds)
        with instant_server() as url:
            figures["limits"] = bench_limits(work, url, options.rounds)
            if options.minutes:
                figures["memory"] = bench_memory(work, url, options.minutes)
        figures["records"] = bench_records(work, options.records)
    for part, rows in figures.items():
        print(f"\n{part}")
        for name, value in rows.items():
            print(f"  {name}: {value}")
    target = ROOT / "results" / "bench"
    target.mkdir(parents=True, exist_ok=True)
    (target / "load.json").write_text(json.dumps(figures, indent=1))


@dataclass
class Run:
    """One load as it went: seconds of wall time and of CPU, and what it measured."""

    wall_s: float
    cpu_s: float
    figures: Figures


def run_load(plan: LoadPlan, directory: Path, engine: Engine) -> Run:
    """Start to results, as `Start Load` and `Wait For Load Completion` do it."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    began = monotonic()
    load = Load(plan, directory, engine)
    load.start(str(state_directory() / "models" / TINY_MODEL), LONG)
    load.wait(LONG)
    wall = monotonic() - began
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Run(wall, cpu, whole(load.table()).figures)


def bench_aiperf(work: Path, rounds: int) -> dict[str, object]:
    """Both engines in turns against the same frontend and two mocker workers."""
    library = DynamoFaultLibrary()
    runs: dict[str, list[Run]] = {}
    try:
        library.deploy_graph("mocker-vllm-agg.yaml", replicas=2)
        url = library.context.deployment.url
        for number in range(rounds):
            for engine in list(Engine) if number % 2 else reversed(Engine):
                for what, clients, count in SHAPES:
                    shape = Workload(input_tokens=TOKENS, output_tokens=TOKENS)
                    plan = LoadPlan(what, url, TINY_MODEL, clients, request_count=count, seed=number, workload=shape)
                    made = run_load(plan, work / f"{engine}-{what}-{number}", engine)
                    assert made.figures.good == count, made.figures
                    runs.setdefault(f"{engine}-{what}", []).append(made)
    finally:
        library.close()
    return compare_with_aiperf(runs)


def compare_with_aiperf(runs: dict[str, list[Run]]) -> dict[str, object]:
    """Medians and ratios, ours first."""

    def median(name: str, value: str) -> float:
        return statistics.median(getattr(run, value) for run in runs[name])

    def each(engine: Engine, figure: str, percent: str = "", shape: str = "many") -> list[float]:
        found = [getattr(run.figures, figure) for run in runs[f"{engine}-{shape}"]]
        return sorted(getattr(value, percent) if percent else value for value in found)

    rows: dict[str, object] = {}
    cpu = {e: (median(f"{e}-many", "cpu_s") - median(f"{e}-few", "cpu_s")) / (MANY - FEW) for e in Engine}
    rows["CPU a streamed request (ms), ours / aiperf"] = _ratio(
        cpu[Engine.NATIVE] * 1000, cpu[Engine.AIPERF] * 1000, "limit 1/30 = 0.033"
    )
    for shape, how in (("at once", "all at once"), ("waves", f"{STREAMS} at a time")):
        ours, theirs = (median(f"{engine}-{shape}", "wall_s") for engine in (Engine.NATIVE, Engine.AIPERF))
        rows[f"wall time of 100 requests, {how} (s), ours / aiperf"] = _ratio(ours, theirs, "limit 0.125")
    spent = [statistics.median(run.wall_s - run.figures.seconds for run in runs[f"{e}-waves"]) for e in Engine]
    rows["of that not spent on the server's answers (s), ours / aiperf"] = _ratio(*spent, "limit 1/20 = 0.05")
    ours, theirs = (statistics.median(each(engine, "throughput")) for engine in (Engine.NATIVE, Engine.AIPERF))
    rows["requests/s, ours / aiperf"] = _ratio(ours, theirs, "limit 1 or more")
    for shape, streams in (("many", STREAMS), ("two", 2)):
        for figure in ("latency", "time_to_first_token", "inter_token_latency"):
            for percent in ("p50", "p99"):
                rows[f"{streams} streams, {figure} {percent} (ms): least to most, ours | aiperf"] = " | ".join(
                    f"{values[0] * 1000:.2f} to {values[-1] * 1000:.2f}"
                    for values in (each(engine, figure, percent, shape) for engine in (Engine.NATIVE, Engine.AIPERF))
                )
    return rows


def _ratio(ours: float, other: float, limit: str) -> str:
    return f"{ours:.3f} / {other:.3f} = {ours / other:.3f} ({limit})"


BODY = json.dumps(
    {
        "id": "x",
        "choices": [{"index": 0, "text": "a", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 1, "completion_tokens": 1},
    }
).encode()
ANSWER = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(BODY), BODY)


class Instant(asyncio.Protocol):
    """Answers each request at once."""

    transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.parser = httptools.HttpRequestParser(self)

    def data_received(self, data: bytes) -> None:
        self.parser.feed_data(data)

    def on_message_complete(self) -> None:
        self.transport.write(ANSWER)


def serve_instantly(listener: socket.socket) -> None:
    """The server process."""

    async def serve() -> None:
        server = await asyncio.get_running_loop().create_server(Instant, sock=listener)
        await server.serve_forever()

    uvloop.run(serve())


@contextmanager
def instant_server() -> Iterator[str]:
    """A server process on loopback, on the first CPU; everything else of the benchmark runs on the second."""
    cpus = sorted(os.sched_getaffinity(0))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        process = multiprocessing.get_context("fork").Process(target=serve_instantly, args=(listener,), daemon=True)
        process.start()
        os.sched_setaffinity(process.pid or 0, {cpus[0]})
        os.sched_setaffinity(0, {cpus[-1]})
        try:
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            os.sched_setaffinity(0, set(cpus))
            process.terminate()
            process.join()


UNARY = Workload(input_tokens=1, output_tokens=1, endpoint=Endpoint.COMPLETION, streaming=False)


def bench_limits(work: Path, url: str, rounds: int) -> dict[str, object]:
    """Requests a second of one core, beside wrk; latency at a low rate, in turns with a bare socket."""
    rates, costs = [], []
    for number in range(rounds):
        counts = {}
        for count in (2_000, 42_000):
            plan = LoadPlan(f"rate-{count}", url, "m", 32, request_count=count, workload=UNARY)
            run = run_load(plan, work / f"rate-{count}-{number}", Engine.NATIVE)
            assert run.figures.good == count, run.figures
            counts[count] = run
        few, many = counts.values()
        costs.append((many.cpu_s - few.cpu_s) / 40_000)
        rates.append(many.figures.throughput or 0.0)
    rows: dict[str, object] = {
        "requests a second of CPU, start and end left out (limit 15000 or more)": round(1 / statistics.median(costs)),
        "requests/s on one core, as it went, least to most": f"{min(rates):.0f} to {max(rates):.0f}",
    }
    if shutil.which("wrk"):
        script = work / "post.lua"
        script.write_text('wrk.method = "POST"\nwrk.body = "{}"\nwrk.headers["Content-Type"] = "application/json"\n')
        command = ["wrk", "-t1", "-c32", "-d5s", "-s", str(script), f"{url}/v1/completions"]
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        found = re.search(r"Requests/sec:\s+([\d.]+)", said)
        rows["requests/s of wrk on one core (the server's limit)"] = round(float(found.group(1))) if found else said
    return rows | added_latency(work, url, rounds)


def added_latency(work: Path, url: str, rounds: int) -> dict[str, object]:
    """What the engine adds to a bare socket: rounds of 500 requests at 100/s, in turns with the socket's.

    Both sleep until a request is due and count from that moment. A socket whose client never sleeps between two
    requests stands beside it: what it lacks is what waking up costs on this machine.
    """
    seen: dict[tuple[str, int], list[float]] = defaultdict(list)
    for number in range(rounds):
        plan = LoadPlan("slow", url, "m", 32, request_count=500, request_rate=100.0, workload=UNARY)
        engine = run_load(plan, work / f"slow-{number}", Engine.NATIVE).figures.latency
        assert engine is not None
        bare, spinning = (sorted(socket_latencies(url, 500, spins=spins)) for spins in (False, True))
        for percent, ours, place in ((50, engine.p50, 249), (99, engine.p99, 494)):
            seen["ours", percent].append(ours * 1000)
            seen["bare", percent].append(bare[place] * 1000)
            seen["spinning", percent].append(spinning[place] * 1000)
    rows: dict[str, object] = {}
    for percent, limit in ((50, 0.15), (99, 1.0)):
        ours, bare, spinning = (seen[who, percent] for who in ("ours", "bare", "spinning"))
        added = statistics.median(mine - base for mine, base in zip(ours, bare, strict=True))
        rows[f"added to p{percent} at 100/s (ms), median of rounds"] = f"{added:.3f} (limit {limit:g})"
        for who, values in (("engine", ours), ("bare socket", bare), ("bare socket that never sleeps", spinning)):
            rows[f"p{percent} at 100/s (ms), each round, {who}"] = ", ".join(f"{value:.3f}" for value in values)
    return rows


def socket_latencies(url: str, count: int, *, spins: bool) -> list[float]:
    """Seconds from when a request is due (each 10 ms) to its whole answer, with nothing in between."""
    port = int(url.rpartition(":")[2])
    request = b"POST /v1/completions HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"
    taken = []
    with socket.create_connection(("127.0.0.1", port)) as connection:
        pace = monotonic()
        for number in range(count):
            due = pace + number * 0.01
            while (left := due - monotonic()) > 0:
                if not spins:
                    time.sleep(left)
            connection.sendall(request)
            got = 0
            while got < len(ANSWER):
                got += len(connection.recv(65536))
            taken.append(monotonic() - due)
    return taken


def bench_memory(work: Path, url: str, minutes: float) -> dict[str, object]:
    """The sending process's memory each tenth of a long load."""
    load = Load(LoadPlan("long", url, "m", 32, duration_s=minutes * 60, workload=UNARY), work / "long")
    load.start("", LONG)
    process, sizes = psutil.Process(load.sender.pid), []
    began = monotonic()

    def sample(event: dict[str, object]) -> None:
        if monotonic() - began >= len(sizes) * minutes * 6:
            sizes.append(round(process.memory_info().rss / 2**20, 1))

    load.wait(timedelta(minutes=minutes + 5), sample)
    return {f"MiB of the engine each tenth of {minutes:g} minutes": sizes, "requests": load.folder.tally["good"]}


def bench_records(work: Path, count: int) -> dict[str, object]:
    """`dynamo-fault report` over many streamed requests of 32 tokens."""
    directory = work / "many"
    directory.mkdir()
    chance = random.Random(1)  # noqa: S311  # made up, the same each time
    with (directory / "requests.jsonl").open("wb") as file:
        for number in range(count):
            file.write(made_up(number, chance).to_line())
    shutil.copy(next(work.glob("native-many-*")) / "load.json", directory / "load.json")
    began = monotonic()
    command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "report", "--html", str(work / "r.html"), str(directory)]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    assert status == 0
    size = (directory / "requests.jsonl").stat().st_size
    return {
        "records": count,
        "file (MB)": round(size / 1e6),
        "report (s, limit 20)": round(monotonic() - began, 1),
        "memory (MB, limit 300)": round(usage.ru_maxrss * 1024 / 1e6),
    }


def made_up(number: int, chance: random.Random) -> Record:
    """A streamed request of 32 tokens."""
    start = number * 0.001
    gaps = [round(chance.uniform(0.004, 0.009), 6) for _ in range(TOKENS - 1)]
    return Record(
        id=f"load-x-{number}",
        load="x",
        client=number % STREAMS,
        endpoint=Endpoint.CHAT,
        streaming=True,
        requested_tokens=TOKENS,
        input_tokens=TOKENS,
        prompt_hash=number,
        started_at="2026-01-01T00:00:00.000000Z",
        started_monotonic_s=start,
        ended_monotonic_s=start + 0.05 + sum(gaps),
        status=200,
        outcome=Outcome.OK if chance.random() > 0.001 else Outcome.TIMEOUT,
        output_tokens=TOKENS,
        ttft_s=0.05,
        gaps_s=gaps,
    )


if __name__ == "__main__":
    main()
