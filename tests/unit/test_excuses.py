"""What a known defect excuses, whatever the library was imported as."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from robot.api import ExecutionResult
from robot.errors import TimeoutExceeded

from DynamoFaultLibrary.errors import DeploymentError, RecoveryError, Unanswered, Unready
from DynamoFaultLibrary.keywords.excuses import is_symptom

DATA = Path(__file__).parent / "testdata"
SUITE = """
*** Settings ***
Library      {library}    deployed=True{name}
Test Tags    robot:skip-on-failure

*** Test Cases ***
No Load
    Get Request Count    load=none

Wrong Argument
    Get Known Workers    timeout=soon

Unknown Keyword
    Get Whatever There Is

Caught
    Run Keyword And Expect Error    no load*    Get Request Count    load=none
    Fail    what the system did

Assertion
    Get Known Workers    ==    7
"""


@pytest.mark.parametrize(
    ("error", "tags", "is_one"),
    [
        (AssertionError("a"), ["Check"], True),
        (Unready("a"), ["Wait"], True),
        (Unanswered("a"), ["Load"], True),
        (DeploymentError("a"), ["Getter"], False),
        (RecoveryError("a"), ["Recovery"], False),
        (TimeoutExceeded("a"), ["Wait"], True),
        (TimeoutExceeded("a"), ["Deployment"], False),
        (TimeoutExceeded("a"), ["Fault", "Request"], False),
    ],
)
def test_only_what_the_system_did_is_a_symptom(error: BaseException, tags: list[str], is_one: bool) -> None:
    """A test's timeout in the proof of `Cancel Request` was excused, though no fault was proven."""
    assert is_symptom(error, tags) is is_one


@pytest.mark.parametrize("name", ["", "    AS    Dynamo"])
def test_a_broken_test_is_not_excused_whatever_the_library_is_called(name: str, tmp_path: Path) -> None:
    """With ``AS`` all failures of this library were skipped as a known defect (kin of row 15)."""
    suite = tmp_path / "a.robot"
    suite.write_text(SUITE.format(library=DATA / "FakeDynamo.py", name=name), encoding="utf-8")
    command = [sys.executable, "-m", "robot", "--outputdir", tmp_path / "results", "--log", "none", suite]
    environment = {**os.environ, "DYNAMO_FAULT_STATE": str(tmp_path / "state")}
    subprocess.run([*map(str, command)], check=False, env=environment, cwd=tmp_path, capture_output=True, timeout=60)
    tests = ExecutionResult(tmp_path / "results" / "output.xml").suite.tests
    assert {test.name: test.status for test in tests} == {
        "No Load": "FAIL",
        "Wrong Argument": "FAIL",
        "Unknown Keyword": "FAIL",
        "Caught": "SKIP",
        "Assertion": "SKIP",
    }
