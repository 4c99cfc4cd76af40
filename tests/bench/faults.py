"""How soon a fault keyword returns after the earliest evidence of its fault. Prints a table and writes JSON.

Usage: python tests/bench/faults.py [--rounds N]
"""

import argparse
import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from DynamoFaultLibrary import DynamoFaultLibrary
from DynamoFaultLibrary.clock import monotonic

ROOT = Path(__file__).parents[2]
WORKER = "PositionWorker"
LIMIT_MS = 10.0


def main() -> None:
    """Measure, print, write; exit 1 if a median is above the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=20)
    rounds = parser.parse_args().rounds
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        os.environ["DYNAMO_FAULT_STATE"] = str(Path(name) / "state")
        os.chdir(name)
        figures = measure(rounds)
    for kind, values in figures.items():
        print(f"{kind:14}" + "   ".join(f"{what}: {value:.2f}" for what, value in values.items()))
    target = ROOT / "results" / "bench"
    target.mkdir(parents=True, exist_ok=True)
    (target / "faults.json").write_text(json.dumps(figures, indent=1))
    sys.exit(any(values["median_ms"] > LIMIT_MS for values in figures.values()))


def measure(rounds: int) -> dict[str, dict[str, float]]:
    """Each kind in turn on one graph."""
    library = DynamoFaultLibrary()
    call = library.keywords
    kinds: dict[str, Callable[[], str]] = {
        "Stall Process": lambda: call["stall_process"](WORKER, replica=0),
        "Kill Worker": lambda: call["kill_worker"](WORKER, 0),
        "Terminate Process": lambda: call["terminate_process"](WORKER, "position", "SIGKILL", 0),
    }
    times: dict[str, list[float]] = {kind: [] for kind in kinds}
    try:
        call["deploy_graph"]("position-agg.yaml")
        for _ in range(rounds):
            for kind, inject in kinds.items():
                inject()
                returned = monotonic()
                active = library.context.injector.faults[-1]
                times[kind].append((returned - active.effective_s) * 1000)
                active.fault.undo()  # without waiting for readiness, which is not what is measured
                library.context.injector.forget(lambda fault, ours=active: fault is ours, "measured")
    finally:
        library.close()
    return {
        kind: {"median_ms": statistics.median(values), "worst_ms": max(values), "limit_ms": LIMIT_MS}
        for kind, values in times.items()
    }


if __name__ == "__main__":
    main()
