"""What is in the wheel and in the source distribution, whatever else lies in the checkout."""

import shutil
import subprocess
import sys
import tarfile
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
SOURCES = ("DynamoFaultLibrary", "cuda_shim", "docs", "resources", "suites", "tests")
FILES = ("LICENSE", "README.md", "pyproject.toml", "tox.ini", ".gitignore")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of this one, with a virtual environment in it that git does not ignore."""
    pytest.importorskip("hatchling", reason="needs hatchling, which builds the distributions")
    place = tmp_path_factory.mktemp("checkout")
    skipped = shutil.ignore_patterns("__pycache__", "build")
    for name in SOURCES:
        shutil.copytree(ROOT / name, place / name, ignore=skipped)
    for name in FILES:
        shutil.copy(ROOT / name, place)
    (place / ".v" / "bin").mkdir(parents=True)
    (place / ".v" / "bin" / "python3").symlink_to("/usr/bin/python3")
    subprocess.run([sys.executable, "-m", "hatchling", "build"], cwd=place, check=True, timeout=120)
    return place


def test_a_virtual_environment_in_the_checkout_stays_out_of_the_source_distribution(checkout: Path) -> None:
    """Its links to absolute paths broke every installation from it (row 39)."""
    (path,) = (checkout / "dist").glob("*.tar.gz")
    with tarfile.open(path) as archive:
        parts = {Path(*Path(name).parts[1:]) for name in archive.getnames()}
    names = {part.parts[0] for part in parts}
    assert names == {*SOURCES, *FILES, "PKG-INFO"}
    assert Path("suites/migration/origin_1.robot") in parts


def test_the_wheel_holds_what_the_library_reads_at_run_time(checkout: Path) -> None:
    (path,) = (checkout / "dist").glob("*.whl")
    names = set(zipfile.ZipFile(path).namelist())
    wanted = [
        *(ROOT / "DynamoFaultLibrary").rglob("*.py"),
        *((ROOT / "resources").rglob("*.resource")),
        *((ROOT / "resources").rglob("*.yaml")),
        *((ROOT / "cuda_shim" / "src").iterdir()),
        ROOT / "cuda_shim" / "Makefile",
    ]
    expected = {str(path.relative_to(ROOT)) for path in wanted}
    expected = {name if name.startswith("DynamoFault") else f"DynamoFaultLibrary/{name}" for name in expected}
    assert sorted(expected - names) == []
    assert {Path(name).parts[0].partition("-")[0] for name in names} == {
        "DynamoFaultLibrary",
        "robotframework_dynamofaultlibrary",
    }
