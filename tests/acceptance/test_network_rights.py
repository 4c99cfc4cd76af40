"""Isolated networks with and without the rights of root."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from child import DATA, Run, Sandbox

PARTITION = ("--test", "Partition Network", str(DATA / "sabotage.robot"))
"""A suite that deploys with network=isolated; nobody sabotages it here."""


def without_rights(sandbox: Sandbox, *command: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a module of Python as a user who may not administer networks."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        pytest.skip("setpriv, to give rights away, is not installed")
    return subprocess.run(
        [setpriv, "--bounding-set=-sys_admin,-net_admin", sys.executable, "-m", *map(str, command)],
        env=sandbox.environment,
        cwd=sandbox.base,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_without_them_the_test_is_skipped_with_the_reason(sandbox: Sandbox) -> None:
    answer = without_rights(sandbox, "robot", "--outputdir", sandbox.results, *PARTITION)
    (outcome,) = Run(sandbox, answer.returncode, answer.stdout).tests.values()
    assert outcome.status == "SKIP", answer.stdout
    assert "may not make network namespaces" in outcome.message
    assert "dynamo-fault run --own-network" in outcome.message


def test_in_a_user_namespace_they_are_not_needed(sandbox: Sandbox) -> None:
    command = ("DynamoFaultLibrary.cli", "run", "--own-network", "--processes", "1", "--outputdir", sandbox.results)
    answer = without_rights(sandbox, *command, *PARTITION)
    if "does not allow user namespaces" in answer.stderr:
        pytest.skip(answer.stderr)
    (outcome,) = Run(sandbox, answer.returncode, answer.stdout).tests.values()
    assert (answer.returncode, outcome.status) == (0, "PASS"), answer.stdout


def test_the_doctor_says_which_it_is(sandbox: Sandbox) -> None:
    answer = without_rights(sandbox, "DynamoFaultLibrary.cli", "doctor")
    (line,) = [line for line in answer.stdout.splitlines() if "isolated networks" in line]
    assert line.startswith("no")
    assert "dynamo-fault run --own-network" in line
    assert "Deploy Graph with network=isolated skips its tests" in line
