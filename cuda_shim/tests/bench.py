"""What the shim costs, on the stub driver: ``make bench``. Prints one number a line; nothing is asserted."""

import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

from harness import Build, Probe, Toggle

CALLS = 20_000_000
TURNS = 7


def cost(build: Build, toggle: Toggle, way: str) -> tuple[float, float]:
    """Median nanoseconds a call, without and with the shim, in turn."""
    probes = Probe(build, way, toggle.path, preload=""), Probe(build, way, toggle.path)
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(TURNS):
        for probe, taken in zip(probes, times, strict=True):
            probe.send(f"ns {CALLS}")
            taken.append(float(probe.answer()))
    for probe in probes:
        probe.end()
    return statistics.median(times[0]), statistics.median(times[1])


def latency(build: Build, toggle: Toggle) -> float:
    """Median microseconds from the toggle's writing to the first failed call."""
    probe = Probe(build, "proc", toggle.path)
    waits = []
    for _ in range(50):
        probe.send("until")
        time.sleep(0.02)
        began = time.monotonic()
        toggle.rules("xid=79")
        waits.append((float(probe.answer()) - began) * 1e6)
        toggle.rules(on="0")
        probe.until("launch", 0)
    probe.end()
    return statistics.median(waits)


def main() -> None:
    with tempfile.TemporaryDirectory(prefix="cuda-shim-") as name:
        place = Path(name)
        build, toggle = Build(place), Toggle(place)
        for way, what in (("link", "a linked function"), ("proc", "a function that was looked up")):
            bare, loaded = cost(build, toggle, way)
            print(f"{what}: {bare:.2f} ns, under the shim {loaded:.2f} ns, added {loaded - bare:.2f} ns")
        print(f"toggle to first failed call: {latency(build, toggle):.0f} us")


if __name__ == "__main__":
    main()
