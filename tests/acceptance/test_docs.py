"""What docs/graphs.md shows of the command is what the command says."""

import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from child import ROOT, Sandbox

PAGE = (ROOT / "docs" / "graphs.md").read_text(encoding="utf-8")
PROMPT = "$ "
BLOCKS = {
    lines[0].removeprefix(PROMPT): lines[1:]
    for block in re.findall(r"^```\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    if (lines := block.splitlines())[0].startswith(PROMPT)
}
"""By command the lines that it prints, as the page has them."""


@pytest.fixture(scope="module")
def sandbox(tmp_path_factory: pytest.TempPathFactory) -> Sandbox:
    return Sandbox(tmp_path_factory.mktemp("docs"))


def plain(lines: list[str]) -> list[str]:
    """Lines as they are on every machine: without its paths, and without the widths that they make."""
    text = "\n".join(lines).replace(sys.executable, "python3").replace(f"{ROOT}/", "")
    text = text.replace(str(Path(sys.executable).parent / "python3"), "python3")
    return [re.sub(r"-{3,}", "---", re.sub(r" {2,}", "  ", line)) for line in text.splitlines()]


def test_the_page_shows_commands() -> None:
    assert len(BLOCKS) >= 5


@pytest.mark.dynamo
@pytest.mark.parametrize("command", BLOCKS)
def test_a_command_of_the_page_prints_what_the_page_shows(command: str, sandbox: Sandbox) -> None:
    program, *arguments = shlex.split(command)
    assert program == "dynamo-fault"
    done = subprocess.run(
        [sys.executable, "-m", "DynamoFaultLibrary.cli", *arguments],
        env=sandbox.environment,
        cwd=ROOT,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
        timeout=60,
    )
    assert plain(done.stdout.splitlines()) == plain(BLOCKS[command])
    assert sandbox.leftovers() == []
