"""How long ``dynamo-fault compare`` takes for two runs of 190 tests, and how often it is right about 5 repeats a side.

Usage: python tests/bench/compare.py [--times N] [--results FOLDER FOLDER]

Exits with 1 if a comparison takes more than 3 s, if a version beside itself raises an alarm, or if a p99 that is 20 %
longer is missed in more than one comparison of ten. --results times these two folders in place of made ones.
"""

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[2]
sys.path.insert(0, str(ROOT / "tests"))

from made_runs import Version, make_run  # noqa: E402

from DynamoFaultLibrary.reports.compare import Comparison, Judgement, Side, compare  # noqa: E402
from DynamoFaultLibrary.runs import read_run  # noqa: E402

LIMIT_S, TRIES, REPEATS = 3.0, 3, 5
SUITES = Version(tests=190, loads=54, requests=1350)
"""As many tests, loads and requests as the suites have."""
LOADS = Version(tests=8, loads=8, requests=1000)
PLANTED, SLOWER = 2, 1.2
MOST_MISSED = 0.1


def main() -> None:
    """Measure and report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=int, default=20, help="comparisons (default: %(default)s)")
    parser.add_argument("--results", type=Path, nargs=2, help="two results folders")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as place:
        took = duration(options.results or two_runs(Path(place)))
        alarms, found = judgements(Path(place), options.times)
    print(f"two runs: {took:.2f} s, at most {LIMIT_S:g} s")
    print(f"a version beside itself: {alarms} of {options.times} comparisons with an alarm")
    print(f"p99 {SLOWER - 1:.0%} longer in 1 of {LOADS.loads} loads: found in {found} of {options.times} comparisons")
    missed = options.times - found
    sys.exit(1 if took > LIMIT_S or alarms or missed > MOST_MISSED * options.times else 0)


def two_runs(place: Path) -> list[Path]:
    """Results folders as large as those of all suites."""
    rng = np.random.default_rng(1)
    return [make_run(place / name, SUITES, rng) for name in ("a", "b")]


def duration(folders: list[Path]) -> float:
    """Seconds of the whole command, the median of some tries."""
    command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "compare", *map(str, folders)]
    times = []
    for _ in range(TRIES):
        began = time.perf_counter()
        subprocess.run(command, check=False, stdout=subprocess.DEVNULL, cwd=ROOT)
        times.append(time.perf_counter() - began)
    return statistics.median(times)


def judgements(place: Path, times: int) -> tuple[int, int]:
    """Comparisons of a version with itself that raised an alarm, and those with a slower one that found it."""
    alarms = found = 0
    for number in range(times):
        rng = np.random.default_rng(number)
        usual, same, slow = (
            [read_run(make_run(place / f"{name}-{number}-{run}", version, rng)) for run in range(REPEATS)]
            for name, version in (("u", LOADS), ("s", LOADS), ("p", replace(LOADS, slow_tail={PLANTED: SLOWER})))
        )
        itself, slower = (compare([Side("usual", usual), Side("other", each)])[0] for each in (same, slow))
        alarms += bool(itself.with_judgement(Judgement.WORSE, Judgement.BETTER))
        found += is_found(slower)
    return alarms, found


def is_found(comparison: Comparison) -> bool:
    """Whether the planted regression is among those that are worse."""
    worse = comparison.with_judgement(Judgement.WORSE)
    return any(each.measure.name == "p99" and f"Suite {PLANTED}." in each.load for each in worse)


if __name__ == "__main__":
    main()
