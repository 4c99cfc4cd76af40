"""Run suites N times on the machine as it is, and N times beside busy loops: does the verdict of any test change?

Usage: python tests/bench/verdicts.py [--times N] [--loops N] [--limit MINUTES] [ARGUMENTS of dynamo-fault run]

Without ARGUMENTS all suites are run. Exits with 1 if a test failed, had more than one verdict, or is missing in a run.
"""

import argparse
import contextlib
import os
import shutil
import signal
import subprocess
import sys
from collections import Counter, defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import FrameType

from robot.api import ExecutionResult
from robot.errors import DataError

from DynamoFaultLibrary.processes import die_with_parent
from DynamoFaultLibrary.reports.grid import Grid

ROOT = Path(__file__).parents[2]
IDLE, BUSY = "idle", "busy"
MISSING = "missing"
PATIENCE = 60.0
"""Seconds that a run gets to end cleanly when its time is over."""

Verdicts = dict[str, dict[str, Counter[str]]]
"""By full name of a test, then by condition: how often it had which verdict."""


def main() -> None:
    """Run, count, report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--times", type=_count, default=10, help="runs in each condition (default: %(default)s)")
    parser.add_argument("--loops", type=_count, default=os.cpu_count() or 1, help="busy loops (default: one a core)")
    parser.add_argument("--limit", type=_count, default=45, help="minutes that one run may take (default: %(default)s)")
    options, arguments = parser.parse_known_args()
    signal.signal(signal.SIGTERM, _leave)  # so that children end as after Ctrl-C
    results = ROOT / "results" / "verdicts"
    shutil.rmtree(results, ignore_errors=True)
    runs: list[tuple[str, dict[str, str]]] = []
    for condition in (IDLE, BUSY):
        with busy_loops(options.loops if condition == BUSY else 0):
            for number in range(1, options.times + 1):
                seen = verdicts_of(results / f"{condition}-{number:02}", arguments or ["suites"], options.limit * 60.0)
                runs.append((condition, seen))
                print(f"{condition} {number}: {_told(Counter(seen.values())) or 'no result'}", flush=True)
    report(collect(runs))


def _count(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError(f"expected 1 or more, not {text}")
    return number


def _leave(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


@contextlib.contextmanager
def busy_loops(count: int) -> Iterator[list[int]]:
    """Keep `count` cores busy. The loops end with this process, also when it is killed. Yields their pids."""
    loops = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"], preexec_fn=die_with_parent)  # noqa: PLW1509
        for _ in range(count)
    ]
    try:
        yield [loop.pid for loop in loops]
    finally:
        for loop in loops:
            loop.kill()
            loop.wait()


def verdicts_of(output: Path, arguments: list[str], limit_s: float) -> dict[str, str]:
    """Run once; the status of each test by its full name. A run without results has no test."""
    command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "run", "--outputdir", str(output), *arguments]
    output.mkdir(parents=True)
    with (output / "console.txt").open("w") as console:
        run = subprocess.Popen(
            command,
            cwd=ROOT,
            stdout=console,
            stderr=console,
            start_new_session=True,
            preexec_fn=lambda: die_with_parent(signal.SIGTERM),  # noqa: PLW1509
        )
        try:
            run.wait(limit_s)
        except subprocess.TimeoutExpired:
            print(f"{output.name}: ended after {limit_s / 60:g} min", flush=True)
        finally:
            if run.poll() is None:
                end(run)
    try:
        return {test.full_name: test.status for test in ExecutionResult(output / "output.xml").suite.all_tests}
    except DataError as error:
        print(f"{output.name}: {error}", flush=True)
        return {}


def end(run: subprocess.Popen[bytes]) -> None:
    """As Ctrl-C would; at once if that takes too long."""
    run.terminate()
    try:
        run.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        run.kill()
        run.wait()


def collect(runs: list[tuple[str, dict[str, str]]]) -> Verdicts:
    """Count by test and condition. A test that a run lacks is missing there, not well."""
    names = {name for _, seen in runs for name in seen}
    found: Verdicts = defaultdict(lambda: defaultdict(Counter))
    for condition, seen in runs:
        for name in names:
            found[name][condition][seen.get(name, MISSING)] += 1
    return found


def unsteady(found: Verdicts) -> list[list[str]]:
    """Tests that failed, are missing in a run, or had more than one verdict."""
    rows = []
    for name in sorted(found):
        seen = set().union(*found[name].values())
        if len(seen) > 1 or seen & {"FAIL", MISSING}:
            rows.append([name, _told(found[name][IDLE]), _told(found[name][BUSY])])
    return rows


def report(found: Verdicts) -> None:
    """Print the table and exit."""
    rows = unsteady(found)
    if rows:
        print("\n" + Grid(["Test", "Idle", "Busy"], rows).to_text())
    print(f"\n{len(found)} tests, {len(rows)} of them failed or had more than one verdict")
    sys.exit(1 if rows or not found else 0)


def _told(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {status}" for status, count in sorted(counts.items()))


if __name__ == "__main__":
    main()
