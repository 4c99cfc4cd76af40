"""What docs/graphs.md shows of the command is what the command says.

``python tests/acceptance/test_docs.py`` puts what it says now into the page.
"""

import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from child import ROOT, Sandbox

PAGE = ROOT / "docs" / "graphs.md"
BLOCK = re.compile(r"^```\n\$ (dynamo-fault [^\n]*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
COMMANDS: dict[str, str] = dict(BLOCK.findall(PAGE.read_text(encoding="utf-8")))
"""By command what it prints, as the page has it."""
RULE = re.compile(r"-+(  -+)+")


def said(command: str, sandbox: Sandbox) -> str:
    """What a command of the page prints, as it is on every machine."""
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
    assert sandbox.leftovers() == []
    interpreter = re.escape(str(Path(sys.executable).parent)) + r"/python[\d.]*"
    text = re.sub(interpreter, "venv/bin/python3", done.stdout).replace(f"{ROOT}/", "")  # it may lie below the other
    text = text.replace(str(sandbox.state), "~/.local/state/dynamo-fault").replace(str(sandbox.base / "home"), "~")
    return ruled(text)


def ruled(text: str) -> str:
    """Tables whose last rule is as wide as its column, whatever was replaced there."""
    lines = text.splitlines()
    for index, line in enumerate(lines):
        if RULE.fullmatch(line):
            start = line.rindex(" ") + 1
            end = next((at for at in range(index, len(lines)) if not lines[at]), len(lines))
            width = max(len(lines[at][start:]) for at in range(index - 1, end) if at != index)
            lines[index] = line[:start] + "-" * width
    return "".join(f"{line}\n" for line in lines)


@pytest.mark.dynamo
@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_of_the_page_prints_what_the_page_shows(command: str, sandbox: Sandbox) -> None:
    assert said(command, sandbox) == COMMANDS[command]


def test_the_page_shows_commands() -> None:
    assert len(COMMANDS) >= 5


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as place:
        text = PAGE.read_text(encoding="utf-8")
        for found, old in COMMANDS.items():
            text = text.replace(f"$ {found}\n{old}```", f"$ {found}\n{said(found, Sandbox(Path(place)))}```")
        PAGE.write_text(text, encoding="utf-8")
