"""Ratios of the main job, each pair measured side by side in one run. Prints a table and writes JSON.

Usage: python tests/bench/migration.py [--rounds N] [--suites]
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

from DynamoFaultLibrary import DynamoFaultLibrary
from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.engines.model import write_tiny_model
from DynamoFaultLibrary.ledger import State
from DynamoFaultLibrary.platforms.local.ports import PortLeases

ROOT = Path(__file__).parents[2]
WORKER = "PositionWorker"
SCRIPT = """
set -e
export HOME={work} HF_HUB_OFFLINE=1 DYN_DISCOVERY_BACKEND=file DYN_FILE_KV={work}/kv DYN_REQUEST_PLANE=tcp
export DYN_TCP_RPC_HOST=127.0.0.1 DYN_TCP_RESPONSE_STREAM_HOST=lo DYN_HTTP_HOST=127.0.0.1 DYN_SYSTEM_HOST=127.0.0.1
for port in {ports[1]} {ports[2]}; do
  DYN_SYSTEM_PORT=$port {python} -m DynamoFaultLibrary.engines.position \
    --model-path {model} --model-name tiny-model >{work}/$port.log 2>&1 &
  echo $! >>{work}/pids
done
DYN_HTTP_PORT={ports[0]} {python} -m dynamo.frontend --router-mode round-robin >{work}/frontend.log 2>&1 &
echo $! >>{work}/pids
until curl -sf http://127.0.0.1:{ports[0]}/v1/completions -H 'content-type: application/json' \
  -d '{{"model":"tiny-model","prompt":"ready ?","max_tokens":1}}' >/dev/null; do sleep 0.02; done
"""


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--suites", action="store_true", help="also time the migration suites (about 4 minutes)")
    options = parser.parse_args()
    figures: dict[str, dict[str, float]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        work = Path(name)
        os.environ["DYNAMO_FAULT_STATE"] = str(work / "state")
        os.chdir(work)
        figures["deploy"] = bench_deploy(work, options.rounds)
        figures["kill"] = bench_kill(options.rounds)
        figures["ledger"] = bench_ledger(options.rounds)
        if options.suites:
            figures["pabot"] = bench_pabot(work)
    report(figures)
    target = ROOT / "results" / "bench"
    target.mkdir(parents=True, exist_ok=True)
    (target / "migration.json").write_text(json.dumps(figures, indent=1))


def bench_deploy(work: Path, rounds: int) -> dict[str, float]:
    """Deploy Graph to ready against a shell script that starts the same processes and polls for a good response."""
    ours, shell = [], []
    for number in range(rounds):
        measures: list[tuple[list[float], Callable[[], float]]] = [
            (ours, deploy_by_library),
            (shell, lambda: deploy_by_shell(work)),
        ]
        for figures, measure in measures if number % 2 else reversed(measures):
            figures.append(measure())
    return summary("Deploy Graph (s)", ours, "shell script (s)", shell, limit=1.2)


def deploy_by_library() -> float:
    library = DynamoFaultLibrary()
    try:
        began = monotonic()
        library.keywords["deploy_graph"]("position-agg.yaml")
        return monotonic() - began
    finally:
        library.close()


def deploy_by_shell(work: Path) -> float:
    leases = PortLeases()
    ports = [leases.take() for _ in range(3)]
    place = work / "shell"
    place.mkdir()
    model = write_tiny_model(work / "state" / "models" / "tiny-model")
    script = SCRIPT.format(work=place, ports=ports, python=sys.executable, model=model)
    try:
        began = monotonic()
        subprocess.run(["bash", "-c", script], check=True, timeout=60)
        return monotonic() - began
    finally:
        for pid in (place / "pids").read_text().split():
            os.kill(int(pid), 9)
        shutil.rmtree(place)
        leases.give_back(ports)


def bench_kill(rounds: int) -> dict[str, float]:
    """From the death of the worker to the return of Kill Worker with its evidence."""
    beyond, whole = [], []
    for _ in range(rounds):
        library = DynamoFaultLibrary()
        try:
            library.keywords["deploy_graph"]("position-agg.yaml")
            context = library.context
            replica = context.platform.replicas(context.deployment, WORKER)[0]
            library.keywords["get_served_model"]()
            began = monotonic()
            library.keywords["kill_worker"](WORKER, 0)
            returned = monotonic()
            ended = context.platform.wait_exit(replica, timedelta(seconds=1))
            assert ended is not None
            beyond.append(returned - ended.at)
            whole.append(returned - began)
        finally:
            library.close()
    return {
        "median_beyond_death_ms": statistics.median(beyond) * 1000,
        "worst_beyond_death_ms": max(beyond) * 1000,
        "median_keyword_ms": statistics.median(whole) * 1000,
        "limit_ms": 100,
    }


def bench_ledger(rounds: int) -> dict[str, float]:
    """One line of a fault with its fsync, against the fastest fault keyword, in turns."""
    lines, keywords = [], []
    library = DynamoFaultLibrary()
    try:
        library.keywords["deploy_graph"]("position-agg.yaml")
        ledger = library.context.ledger
        for _ in range(rounds * 3):
            began = monotonic()
            entry = ledger.intend("Stall Process", {}, {"action": "continue", "processes": []})
            lines.append(monotonic() - began)
            ledger.mark(entry, State.RECOVERED)
            began = monotonic()
            library.keywords["stall_process"](WORKER, replica=0)
            keywords.append(monotonic() - began)
            library.keywords["resume_process"](WORKER)
    finally:
        library.close()
    return summary("ledger line (s)", lines, "Stall Process (s)", keywords, limit=0.05)


def bench_pabot(work: Path) -> dict[str, float]:
    """Wall time of the migration suites: pabot with 4 processes against plain robot."""
    suites = str(ROOT / "suites" / "migration")
    robot = [sys.executable, "-m", "robot"]
    pabot = [sys.executable, "-m", "pabot.pabot", "--command", *robot, "--end-command", "--processes", "4"]
    times = []
    for command in ([*pabot, "--pabotlibport", "0"], robot):
        began = monotonic()
        answer = subprocess.run([*command, "--outputdir", str(work / "out"), suites], check=False, capture_output=True)
        assert answer.returncode == 0, answer.stdout.decode()[-2000:]
        times.append(monotonic() - began)
    return summary("pabot, 4 processes (s)", times[:1], "robot (s)", times[1:], limit=0.6)


def summary(name: str, ours: list[float], other: str, theirs: list[float], limit: float) -> dict[str, float]:
    """Medians, their ratio, and the limit that was set."""
    first, second = statistics.median(ours), statistics.median(theirs)
    return {name: first, other: second, "ratio": first / second, "limit": limit}


def report(figures: dict[str, dict[str, float]]) -> None:
    """Print a table."""
    for name, values in figures.items():
        print(f"{name:8}" + "   ".join(f"{what}: {value:.3g}" for what, value in values.items()))


if __name__ == "__main__":
    main()
