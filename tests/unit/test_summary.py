"""The last lines of ``dynamo-fault run`` tell a newcomer what came of it."""

from pathlib import Path

import pytest
from robot.api import TestSuite as Suite

from DynamoFaultLibrary.summary import summary

DEFECT = "    [Tags]    robot:skip-on-failure    defect:7545\n"
FINDINGS = "Known defects are described in docs/findings.md, and in the documentation of their tests."


def run(tmp_path: Path, tests: str) -> list[str]:
    output = tmp_path / "output.xml"
    Suite.from_string(f"*** Test Cases ***\n{tests}").run(output=str(output), stdout=None, stderr=None, log=None)
    return summary(output)


def test_everything_is_counted_and_told_by_name_or_reason(tmp_path: Path) -> None:
    gpus = "    Skip    graph '{}' needs 2 NVIDIA GPUs, this machine has 0\n"
    lines = run(
        tmp_path,
        "Good\n    No Operation\n"
        f"On Gpus\n{gpus.format('torch')}On Gpus Too\n{gpus.format('vllm-agg')}"
        "Without Rights\n    Skip    network=isolated needs root\n"
        f"Known One\n{DEFECT}    Fail    it hangs\nKnown Two\n{DEFECT}    Fail    it hangs\n"
        "Bad\n    Fail    no good response\\nand a second line\n",
    )
    assert lines == [
        "7 tests: 1 passed, 3 were skipped, 2 show known defects of Dynamo, 1 failed.",
        "Skipped:",
        "  2 x needs 2 NVIDIA GPUs, this machine has 0",
        "  1 x network=isolated needs root",
        "Failed:",
        f"  {lines[5].strip().split(':')[0]}: no good response",
        FINDINGS,
    ]
    assert lines[5].strip().split(":")[0].endswith(".Bad")


def test_numbers_agree_with_their_nouns(tmp_path: Path) -> None:
    lines = run(tmp_path, f"Skipped\n    Skip    no root\nKnown\n{DEFECT}    Fail    it hangs\n")
    assert lines[0] == "2 tests: 0 passed, 1 was skipped, 1 shows a known defect of Dynamo, 0 failed."
    assert run(tmp_path, "Good\n    No Operation\n") == [
        "1 test: 1 passed, 0 were skipped, 0 show known defects of Dynamo, 0 failed."
    ]


def test_a_known_defect_that_is_gone_is_told_loudly(tmp_path: Path) -> None:
    lines = run(tmp_path, f"Known\n{DEFECT}    No Operation\n")
    assert lines[1:] == ["FIXED? 1 test of a known defect passed:", lines[2], FINDINGS]
    assert lines[2].endswith(".Known (defect:7545)")


def test_a_test_of_a_known_defect_that_could_not_run_shows_no_defect(tmp_path: Path) -> None:
    lines = run(tmp_path, f"Known\n{DEFECT}    Skip    network=isolated needs root\n")
    assert lines == [
        "1 test: 0 passed, 1 was skipped, 0 show known defects of Dynamo, 0 failed.",
        "Skipped:",
        "  1 x network=isolated needs root",
    ]


def test_a_line_that_announces_another_one_comes_with_it(tmp_path: Path) -> None:
    lines = run(tmp_path, "Bad\n    Fail    Several failures occurred:\\n\\n1) no leader\n")
    assert lines[2].endswith("Bad: Several failures occurred: 1) no leader")


def test_a_long_message_is_cut(tmp_path: Path) -> None:
    lines = run(tmp_path, f"Bad\n    Fail    {'x' * 500}\n")
    assert lines[2].endswith("x...")
    assert len(lines[2]) < 250


@pytest.mark.parametrize(("content", "why"), [(None, "does not exist"), ("<robot><suite", "is torn"), ("", "is torn")])
def test_without_results_it_says_so(tmp_path: Path, content: str | None, why: str) -> None:
    output = tmp_path / "output.xml"
    if content is not None:
        output.write_text(content)
    assert summary(output) == [f"There are no results: '{output}' {why}."]
