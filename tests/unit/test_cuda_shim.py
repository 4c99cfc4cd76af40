"""Runs the C library's own tests, so that they count here too. They need gcc, no GPU: see cuda_shim/tests."""

import importlib.util
import shutil
import sys
from pathlib import Path

import pytest

TESTS = Path(__file__).parents[2] / "cuda_shim" / "tests" / "test_shim.py"

pytestmark = pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")

_specification = importlib.util.spec_from_file_location("cuda_shim_tests", TESTS)
assert _specification is not None
assert _specification.loader is not None
_module = importlib.util.module_from_spec(_specification)
sys.modules[_specification.name] = _module
_specification.loader.exec_module(_module)

setUpModule, tearDownModule = _module.setUpModule, _module.tearDownModule  # unittest's names
globals().update({name: case for name, case in vars(_module).items() if isinstance(case, type) and name != "Case"})
