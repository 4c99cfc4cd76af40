"""The shim on a real GPU, where there is one: what run.py measures meets its targets."""

import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

HERE = Path(__file__).parent
GPUS = list(Path("/proc/driver/nvidia/gpus").glob("*"))

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not GPUS, reason="this machine has no NVIDIA GPU"),
    pytest.mark.skipif(find_spec("torch") is None, reason="PyTorch is not installed"),
]


def test_every_kind_of_work_fails_on_command_and_only_then() -> None:
    options = ["--two-gpus"] if len(GPUS) > 1 else []
    done = subprocess.run([sys.executable, HERE / "run.py", *options], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
