"""Each argument of the library's import is obeyed, and refused with one sentence when it is wrong (row 21).

Robot Framework 7.5 ended with status 255 and without a log.
"""

import pytest
from child import Run, Sandbox
from robot.result import TestCase

SUITE = """
*** Settings ***
Library    DynamoFaultLibrary    {argument}

*** Test Cases ***
The Library Is There
    ${{library}}    Get Library Instance    DynamoFaultLibrary
    ${{options}}    Evaluate    $library.context.options
    ${{value}}    Evaluate    {expression}
    Log    ${{value}}
    Should Be True    $value == {expected}
"""
OBEYED = [
    ("platform=local", "$options.platform", "'local'"),
    ("local", "$options.platform", "'local'"),
    ("seed=7", "$options.seed", "7"),
    ("fault_ttl=2 min", "$options.fault_ttl.total_seconds()", "120"),
    ("allowed_services=PositionWorker", "$options.radius.services", "['PositionWorker']"),
    ("allowed_services=PositionWorker, Frontend", "$options.radius.services", "['PositionWorker', 'Frontend']"),
    ("allowed_services=${{['PositionWorker']}}", "$options.radius.services", "['PositionWorker']"),
    ("allowed_nodes=a,b", "$options.radius.nodes", "['a', 'b']"),
    ("allowed_namespaces=blue", "$options.radius.namespaces", "['blue']"),
    ("max_faults=1", "$options.radius.max_faults", "1"),
    ("max_faults=${2}", "$options.radius.max_faults", "2"),
    ("max_faults=${None}", "$options.radius.max_faults", "None"),
]
REFUSED = [
    ("platform=moon", "there is no platform 'moon'; installed are local"),
    ("seed=x", "Argument 'seed' got value 'x' that cannot be converted to integer or None"),
    ("fault_ttl=soon", "Argument 'fault_ttl' got value 'soon' that cannot be converted to timedelta"),
    ("fault_ttl=0 s", "fault_ttl must be above 0 s and at most 24 h, not 0 s"),
    ("max_faults=one", "Argument 'max_faults' got value 'one' that cannot be converted to integer or None"),
    ("max_faults=-1", "max_faults must be 0 or more, not -1"),
    ("max_fault=1", "there is no import argument 'max_fault'; did you mean max_faults?"),
    ("allowed_services=${7}", "Argument 'allowed_services' got value '7' (integer) that cannot be converted"),
    ("allowed_services=", "allowed_services names nothing"),
]


CASES = [*OBEYED, *((argument, "$library", "None") for argument, _ in REFUSED)]


@pytest.fixture(scope="module")
def imports(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """One robot for all: a suite file for each import."""
    sandbox = Sandbox(tmp_path_factory.mktemp("imports"))
    suites = sandbox.base / "suites"
    suites.mkdir()
    for number, (argument, expression, expected) in enumerate(CASES):
        text = SUITE.format(argument=argument, expression=expression, expected=expected)
        (suites / f"import_{number}.robot").write_text(text)
    return sandbox.robot(suites)


def outcome(run: Run, argument: str) -> TestCase:
    number = [case[0] for case in CASES].index(argument)
    return next(test for test in run.result.suite.all_tests if test.parent.source.name == f"import_{number}.robot")


@pytest.mark.parametrize("argument", [case[0] for case in OBEYED])
def test_an_argument_is_obeyed(imports: Run, argument: str) -> None:
    test = outcome(imports, argument)
    assert test.status == "PASS", test.message


@pytest.mark.parametrize(("argument", "message"), REFUSED)
def test_a_wrong_argument_is_refused_with_a_sentence(imports: Run, argument: str, message: str) -> None:
    assert outcome(imports, argument).message == "No library 'DynamoFaultLibrary' found."
    assert f" failed: {message}" in " ".join(imports.console.split())


def test_robot_comes_to_its_end(imports: Run) -> None:
    assert imports.returncode == len(REFUSED)
    assert (imports.sandbox.results / "log.html").exists()
    assert imports.sandbox.leftovers() == []
