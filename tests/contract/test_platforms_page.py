"""docs/platforms.md is right: its code is the third platform's, its tables name the whole port, following it works."""

import inspect
import re
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from contract_bench import MEMORY

from DynamoFaultLibrary.platforms import base, running
from DynamoFaultLibrary.platforms.base import Platform
from DynamoFaultLibrary.platforms.effects import Effect
from DynamoFaultLibrary.plugins import GROUP

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "platforms.md").read_text(encoding="utf-8")
PACKAGE = MEMORY / "memory_platform"
BLOCKS = re.findall(r"^```(\w+)\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
PYTHON = [code for language, code in BLOCKS if language == "python"]


def first_cells(heading: str) -> set[str]:
    """What the first column of the table with that heading has."""
    table = PAGE.split(f"| {heading} |", 1)[1].split("\n\n", 1)[0]
    return set(re.findall(r"^\| `(\w+)` \|", table, re.MULTILINE))


def bare(code: str) -> str:
    """Without indentation and empty lines: a method stands alone on the page."""
    return "".join(f"{line.strip()}\n" for line in code.splitlines() if line.strip())


@pytest.mark.parametrize("code", PYTHON, ids=lambda code: code.strip().partition("\n")[0])
def test_the_code_of_the_page_is_the_platforms(code: str) -> None:
    assert any(bare(code) in bare(path.read_text(encoding="utf-8")) for path in PACKAGE.glob("*.py"))


def test_the_page_has_code() -> None:
    assert len(PYTHON) >= 4


def test_the_page_names_each_protocol_and_each_attribute() -> None:
    modules = (base, running)
    protocols = {
        name
        for module in modules
        for name, found in inspect.getmembers(module, inspect.isclass)
        if getattr(found, "_is_protocol", False) and found.__module__ == module.__name__
    }
    assert first_cells("protocol") == protocols - {"Platform"}
    assert first_cells("attribute") == {*Platform.__annotations__, *base.Observing.__annotations__}


def test_the_page_knows_the_life_of_an_effect() -> None:
    steps = re.findall(r"^\d\. `(\w+)`", PAGE, re.MULTILINE)
    assert steps == ["facts", "apply", "prove", "heal", "verify"]
    assert all(hasattr(Effect, step) for step in steps)


def test_the_platform_is_installed_by_what_the_page_says(tmp_path: Path) -> None:
    (declared,) = [tomllib.loads(code)["project"]["entry-points"] for language, code in BLOCKS if language == "toml"]
    package = declared[GROUP]["memory"]
    shutil.copytree(PACKAGE, tmp_path / package)
    installed = tmp_path / f"{package}-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {package}\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text(f"[{GROUP}]\nmemory = {package}\n")
    program = "from DynamoFaultLibrary.plugins import *; print(platform_module('memory', 'undoers').__file__)"
    path = f"{tmp_path}:{ROOT}"
    done = subprocess.run(
        [sys.executable, "-c", program], env={"PYTHONPATH": path}, check=True, capture_output=True, text=True
    )
    assert done.stdout.strip() == str(tmp_path / package / "undoers.py")


def test_the_commands_of_the_page_name_files_that_there_are() -> None:
    named = re.findall(r"tests/[\w/]+\.(?:py|robot)", PAGE)
    assert len(named) >= 5
    assert [name for name in named if not (ROOT / name).exists()] == []
