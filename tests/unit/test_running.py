"""What a process was told, by /proc; and which process of a replica is meant."""

import sys
from collections.abc import Callable
from typing import Any, cast

import pytest
from assertionengine import AssertionOperator

from DynamoFaultLibrary.errors import DeploymentError, Unready
from DynamoFaultLibrary.keywords.running import RunningKeywords
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.running import RunningProcess
from DynamoFaultLibrary.processes import read_words
from tests.replicas import make_replica

CONTAINS = AssertionOperator["contains"]
EQUAL = AssertionOperator["=="]
SCRIPT = "export A=1; python3 -m dynamo.frontend --old"
SHELL = RunningProcess("pid 2", ["/bin/sh", "-c", SCRIPT], {}, False)
PROGRAM = RunningProcess("pid 3", ["python3", "-m", "dynamo.frontend", "--name", "a b"], {"A": "1"}, False)


class Platform:
    """One service with the replicas that a test gives it, each with its processes."""

    name = "fake"

    def __init__(self, *replicas: list[RunningProcess]) -> None:
        self.found = dict(enumerate(replicas))
        self.deployment = None

    def replicas(self, deployment: Any, service: str) -> list[Replica]:
        return [make_replica(service, index) for index in self.found]

    def inspect(self, replica: Replica) -> list[RunningProcess]:
        return self.found[replica.index]


def keywords(*replicas: list[RunningProcess]) -> RunningKeywords:
    class Context:
        platform = Platform(*replicas)
        deployment = None

    return RunningKeywords(cast("Any", Context()))


def test_the_words_of_a_process_are_read_as_they_are(
    start: Callable[..., Any], eventually: Callable[..., None]
) -> None:
    child = start(sys.executable, "-c", "input()", "", "a b", env={"MARK": "x=y z", "EMPTY": ""})
    eventually(lambda: "-c" in read_words(child.pid, "cmdline"))
    assert read_words(child.pid, "cmdline")[1:] == ["-c", "input()", "", "a b"]
    assert {"MARK=x=y z", "EMPTY="} <= set(read_words(child.pid, "environ"))
    child.release()
    assert read_words(child.pid, "cmdline") == []


def test_the_program_is_meant_and_not_the_script_that_names_it() -> None:
    """The shell's own command line has the edited script: it proves nothing of the program."""
    found = keywords([SHELL, PROGRAM])
    assert found.get_command_line("Frontend", process_name="dynamo.frontend") == (
        "python3 -m dynamo.frontend --name 'a b'"
    )
    assert found.get_command_line("Frontend").startswith("/bin/sh -c ")
    with pytest.raises(
        DeploymentError, match=r"^no process of Frontend-0 has '--old' in its command line; running are"
    ):
        found.get_command_line("Frontend", process_name="--old")


def test_an_assertion_holds_for_each_replica() -> None:
    other = RunningProcess("pid 4", ["python3", "-m", "dynamo.frontend"], {"A": "2"}, False)
    found = keywords([PROGRAM], [other])
    assert found.get_command_line("Frontend", CONTAINS, "dynamo.frontend")
    with pytest.raises(AssertionError, match=r"^Command line of Frontend-1 \(pid 4\) "):
        found.get_command_line("Frontend", CONTAINS, "--name")
    assert found.get_command_line("Frontend", CONTAINS, "--name", replica=0)
    with pytest.raises(AssertionError, match=r"^Variable A of Frontend-1 \(pid 4\) "):
        found.get_process_variable("Frontend", "A", EQUAL, "1")
    assert found.get_process_variable("Frontend", "A", EQUAL, "2", replica="Frontend-1") == "2"


def test_a_variable_that_is_not_there_is_an_error_and_never_empty() -> None:
    with pytest.raises(DeploymentError, match=r"^Frontend-0 \(pid 3\) was started without a variable 'B'$"):
        keywords([PROGRAM]).get_process_variable("Frontend", "B")


def test_nothing_that_runs_is_nothing_to_ask() -> None:
    with pytest.raises(Unready, match=r"^service 'Frontend' has no running replica; running are \[\]$"):
        keywords().get_command_line("Frontend")
    with pytest.raises(Unready, match=r"^service 'Frontend' has no running replica '7'; running are \[0\]$"):
        keywords([PROGRAM]).get_command_line("Frontend", replica=7)
    with pytest.raises(Unready, match=r"^Frontend-0 has no process that shows a command line"):
        keywords([]).get_command_line("Frontend")
