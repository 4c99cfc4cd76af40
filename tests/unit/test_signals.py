"""However the tests were started, their children have default signals (row 40)."""

import subprocess
import sys
from pathlib import Path

import pytest

CONFTEST = Path(__file__).parents[1] / "conftest.py"
CHILD = "import signal; print(*(signal.getsignal(getattr(signal, name)) is signal.SIG_IGN for name in names))"


@pytest.mark.parametrize("names", [["SIGHUP"], ["SIGHUP", "SIGINT", "SIGTERM"]], ids=" ".join)
def test_children_of_tests_start_with_default_signals_under_nohup(names: list[str]) -> None:
    script = (
        "import runpy, subprocess, sys\n"
        f"runpy.run_path({str(CONFTEST)!r})\n"
        f"subprocess.run([sys.executable, '-c', {f'names = {names}; {CHILD}'!r}], check=True)"
    )
    ignoring = f'trap \'\' {" ".join(name.removeprefix("SIG") for name in names)}; exec "$0" -c "$1"'
    answer = subprocess.run(
        ["sh", "-c", ignoring, sys.executable, script], capture_output=True, text=True, check=True, timeout=30
    )
    assert answer.stdout.split() == ["False"] * len(names)
