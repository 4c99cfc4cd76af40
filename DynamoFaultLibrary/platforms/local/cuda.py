"""The CUDA shim on this machine: where its sources are, and how it is built."""

import hashlib
import os
import platform
import shutil
import subprocess
import tempfile
from pathlib import Path

from DynamoFaultLibrary.errors import Unsupported
from DynamoFaultLibrary.ledger.store import state_directory

PRELOAD_VARIABLE = "LD_PRELOAD"
LIBRARY = "libdynamo_fault_cuda.so"
_TOOLS = ("gcc", "make")
_BUILD_TIMEOUT = 120


def shim_sources() -> Path:
    """Directory of the shim's Makefile: inside the installed package, or in the source tree."""
    package = Path(__file__).parents[2]
    installed = package / "cuda_shim"
    return installed if installed.is_dir() else package.parent / "cuda_shim"


def missing_tools() -> list[str]:
    """What this machine lacks to build the shim."""
    return [tool for tool in _TOOLS if shutil.which(tool) is None]


def build_shim() -> Path:
    """Build the shim, unless these very sources were built before, and return the library.

    Raises:
        Unsupported: gcc or make is missing, or the build fails.
    """
    sources = shim_sources()
    library = state_directory() / "cuda_shim" / _digest(sources) / LIBRARY
    if library.exists():
        return library
    missing = missing_tools()
    if missing:
        raise Unsupported(f"the CUDA shim cannot be built: this machine has no {' and no '.join(missing)}")
    library.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=library.parent) as place:
        command = ["make", "--silent", "--directory", str(sources), f"BUILD={place}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_BUILD_TIMEOUT)
        if done.returncode != 0:
            raise Unsupported(f"the CUDA shim in '{sources}' cannot be built: {done.stderr.strip()[-500:]}")
        (Path(place) / LIBRARY).replace(library)  # at once, since other runs may build it too
    return library


def _digest(sources: Path) -> str:
    """Names the sources and the machine that a library is good for."""
    digest = hashlib.sha256(f"{platform.machine()} {os.confstr('CS_GNU_LIBC_VERSION')}".encode())
    for path in [sources / "Makefile", *sorted((sources / "src").iterdir())]:
        digest.update(path.read_bytes())
    return digest.hexdigest()[:16]
