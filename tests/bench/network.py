"""What isolated networks and partitions cost. Prints a table and writes JSON.

Usage: python tests/bench/network.py [--rounds N]
"""

import argparse
import json
import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from DynamoFaultLibrary import DynamoFaultLibrary
from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.faults.network import PartitionType
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.platforms.effects import Direction, PartitionMode
from DynamoFaultLibrary.platforms.settings import NetworkMode

ROOT = Path(__file__).parents[2]
LIMIT_MS = 50
SHAPES: dict[str, dict[str, Any]] = {
    "drop": {},
    "drop, one way": {"direction": Direction.TO},
    "reject": {"mode": PartitionMode.REJECT},
    "loss 30 %": {"loss": 30},
    "rate 1 Mbit": {"rate": "1 Mbit"},
}


def main() -> None:
    """Measure, print, write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=15)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        os.environ["DYNAMO_FAULT_STATE"] = str(Path(name) / "state")
        robot_context.results_root = lambda: Path(name) / "results"
        deploy = bench_deploy(rounds)
        partitions = {shape: bench_partition(options, rounds) for shape, options in SHAPES.items()}
        partitions["reset"] = bench_reset(rounds)
    print(f"deploy: shared {deploy['shared_s']:.3f} s, isolated {deploy['isolated_s']:.3f} s, x{deploy['ratio']:.2f}")
    for shape, found in partitions.items():
        text = ", ".join(f"{what} {value:.1f}" for what, value in found.items())
        print(f"{shape:14} {text}  (limit {LIMIT_MS} each)")
    target = ROOT / "results" / "bench"
    target.mkdir(parents=True, exist_ok=True)
    (target / "network.json").write_text(json.dumps({"deploy": deploy, "partitions": partitions}, indent=1))


@contextmanager
def deployed(network: NetworkMode) -> Iterator[dict[str, Any]]:
    """The keywords of a library that has deployed a graph."""
    library = DynamoFaultLibrary()
    try:
        library.keywords["deploy_graph"]("position-agg.yaml", network=network)
        yield library.keywords
    finally:
        library.close()


def bench_deploy(rounds: int) -> dict[str, float]:
    """Deploy Graph to ready, isolated against shared, in turns."""
    times: dict[NetworkMode, list[float]] = {mode: [] for mode in NetworkMode}
    for number in range(rounds):
        for mode in list(NetworkMode)[:: 1 if number % 2 else -1]:
            began = monotonic()
            with deployed(mode):
                times[mode].append(monotonic() - began)
    shared, isolated = (statistics.median(times[mode]) for mode in (NetworkMode.SHARED, NetworkMode.ISOLATED))
    return {"shared_s": shared, "isolated_s": isolated, "ratio": isolated / shared}


def bench_partition(options: dict[str, Any], rounds: int) -> dict[str, float]:
    """Partition Network and its healing between a frontend and two workers, ledger and proof included."""
    on, off = [], []
    with deployed(NetworkMode.ISOLATED) as keywords:
        for _ in range(rounds):
            began = monotonic()
            fault = keywords["partition_network"](PartitionType.FRONTEND_WORKER, **options)
            proven = monotonic()
            keywords["recover_fault"](fault)
            on.append(proven - began)
            off.append(monotonic() - proven)
    return {**figures("on", on), **figures("off", off)}


def bench_reset(rounds: int) -> dict[str, float]:
    """The same for a reset, which is over at once; on a fresh graph each, since Dynamo shuns a worker after it."""
    times = []
    for _ in range(rounds):
        with deployed(NetworkMode.ISOLATED) as keywords:
            began = monotonic()
            keywords["partition_network"](PartitionType.FRONTEND_WORKER, mode=PartitionMode.RESET)
            times.append(monotonic() - began)
    return figures("on", times)


def figures(what: str, seconds: list[float]) -> dict[str, float]:
    """Median and worst in milliseconds."""
    return {f"{what}_median_ms": statistics.median(seconds) * 1000, f"{what}_worst_ms": max(seconds) * 1000}


if __name__ == "__main__":
    main()
