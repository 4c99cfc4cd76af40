import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from child import DATA, ROOT, Sandbox


@pytest.fixture
def sandbox(tmp_path: Path) -> Iterator[Sandbox]:
    """A place for child runs; whatever a test did, nothing may be left of them."""
    place = Sandbox(tmp_path)
    yield place
    assert place.leftovers() == []


@pytest.fixture(scope="session")
def stub_cuda(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Variables for suites on `stub-cuda.yaml`: the stub driver of the shim's own tests, built, and the worker."""
    if shutil.which("gcc") is None:
        pytest.skip("gcc is not installed")
    driver = tmp_path_factory.mktemp("stub") / "libcuda.so.1"
    source = ROOT / "cuda_shim" / "tests" / "stub_driver.c"
    script = f"-Wl,--version-script={source.with_suffix('.map')}"
    subprocess.run(["gcc", "-w", "-shared", "-fPIC", "-Wl,-Bsymbolic", script, "-o", driver, source], check=True)
    return {"STUB_CUDA": str(driver), "STUB_WORKER": str(DATA / "stub_cuda_worker.py")}
