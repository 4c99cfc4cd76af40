import mmap
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.errors import Unsupported
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.platforms.local import cuda
from DynamoFaultLibrary.platforms.local.shimming import LocalShimming
from DynamoFaultLibrary.processes import ProcessId
from tests.replicas import make_replica


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    return tmp_path / "state"


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_the_shim_is_built_once_into_the_state_directory(state: Path) -> None:
    library = cuda.build_shim()
    assert library.is_relative_to(state)
    assert library.read_bytes().startswith(b"\x7fELF")
    assert [path.name for path in library.parent.iterdir()] == [library.name]
    before = library.stat().st_mtime_ns
    assert cuda.build_shim() == library
    assert library.stat().st_mtime_ns == before


@pytest.mark.parametrize(
    ("there", "message"),
    [({"make"}, "this machine has no gcc"), (set(), "this machine has no gcc and no make")],
)
def test_without_its_tools_the_test_is_skipped_with_the_reason(
    there: set[str], message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cuda.shutil, "which", lambda tool: tool if tool in there else None)
    with pytest.raises(Unsupported, match=f"the CUDA shim cannot be built: {message}$"):
        cuda.build_shim()


@pytest.mark.skipif(shutil.which("gcc") is None, reason="gcc is not installed")
def test_sources_that_do_not_compile_skip_the_test_with_the_compilers_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sources = tmp_path / "cuda_shim"
    shutil.copytree(cuda.shim_sources(), sources, ignore=shutil.ignore_patterns("build", "tests"))
    (sources / "src" / "page.c").write_text("#error broken\n")
    monkeypatch.setattr(cuda, "shim_sources", lambda: sources)
    with pytest.raises(Unsupported, match=r"(?s)cannot be built: .*#error broken"):
        cuda.build_shim()


def test_the_sources_are_found() -> None:
    assert (cuda.shim_sources() / "Makefile").is_file()
    assert (cuda.shim_sources() / "src" / "entries.def").is_file()


def test_processes_that_have_the_shim_mapped_are_told(
    tmp_path: Path, ledger: Ledger, start: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    me, other = ProcessId.current(), start("/bin/sleep", "60").identity
    monkeypatch.setattr(LocalShimming, "processes", lambda self, replica: [me, other])
    replica = make_replica("W", 0, me)
    library = tmp_path / cuda.LIBRARY
    library.write_bytes(b"x")
    with library.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        assert LocalShimming(ledger).shimmed_processes(replica) == [f"pid {me.pid}"]
    assert LocalShimming(ledger).shimmed_processes(replica) == []
