"""Run the migration suites many times and count what was not the same each time.

Usage: python tests/bench/soak.py [--times N]
"""

import argparse
import shutil
import subprocess
import sys
from collections import Counter
from pathlib import Path

from robot.api import ExecutionResult

ROOT = Path(__file__).parents[2]


def main() -> None:
    """Run, count, report; exit 1 if a test failed in any round."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=50)
    times = parser.parse_args().times
    results = ROOT / "results" / "soak"
    failed: Counter[str] = Counter()
    run = 0
    for number in range(1, times + 1):
        output = results / f"{number:03}"
        shutil.rmtree(output, ignore_errors=True)
        command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "run", "--outputdir", str(output)]
        subprocess.run([*command, str(ROOT / "suites" / "migration")], check=False, capture_output=True, cwd=ROOT)
        tests = [test for test in ExecutionResult(output / "output.xml").suite.all_tests if not test.skipped]
        bad = [f"{test.full_name}: {test.message}" for test in tests if test.failed]
        failed.update(bad)
        run += len(tests)
        print(f"round {number}: {len(tests)} tests, {len(bad)} failed", flush=True)
        if not bad:
            shutil.rmtree(output)  # what failed is kept for a look
    print(f"{run - failed.total()} passed, {failed.total()} failed in {times} rounds")
    for name, count in failed.most_common():
        print(f"{count} x {name}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
