"""Every keyword of the library, by introspection: a wrong value gets a sentence, and a check of nothing fails.

A child robot runs generated tests, so what is judged is what users read. Nothing is deployed: see `FakeDynamo`.
A keyword or an argument that is new here must be told what is wrong for it, else this fails.
"""

import inspect
import json
import os
import re
import subprocess
import sys
import types
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

import pytest
from assertionengine import AssertionOperator
from robot.api import ExecutionResult, TypeInfo

from DynamoFaultLibrary import DynamoFaultLibrary
from DynamoFaultLibrary.keywords.component import CONVERTERS, Count, Duration, NameList, Number, Share
from DynamoFaultLibrary.load.client import Request

DATA = Path(__file__).parent / "testdata"
LIBRARY = DynamoFaultLibrary()
LIBRARY_NAME = DynamoFaultLibrary.__name__

VALID = {
    "count": "1",
    "duration": "1 s",
    "enable": "True",
    "fault": "${FAULT}",
    "file": "position-agg.yaml",
    "max_errors": "100",
    "member": "etcd-0",
    "min_count": "1",
    "min_rate": "0.5",
    "name": "free",
    "partition_type": "CUSTOM",
    "pattern": "started",
    "percentile": "50",
    "process_name": "python",
    "request": "${REQUEST}",
    "selector": "dynamo_frontend_requests_total",
    "service": "VllmWorker",
    "services": "VllmWorker",
    "source": "Frontend",
    "target": "VllmWorker",
    "tokens": "1",
    "ttl": "10 s",
}
"""What an argument gets while another one is tried."""

NEEDS: dict[tuple[str, str], tuple[str, ...]] = {
    ("get_longest_token_gap", "part"): ("load=default",),
    ("load_should_meet_sla", ""): ("latency=10 s",),
    ("load_should_violate_sla", ""): ("latency=0.1 ms",),
    ("partition_network", ""): ("source=Frontend", "target=VllmWorker"),
    ("start_load", "cancellation_delay"): ("cancellation_rate=0.5",),
    ("terminate_process", ""): ("process_name=python",),
    ("toggle_cuda_faults", ""): ("service=VllmWorker",),
}
"""Arguments that go with one (or, without a name, with all) of a keyword."""

BAD_NAMES = ("../../escape", "a/b", "${EMPTY}", ".", "a\\tb", "n" * 300)
WRONG_TEXT: dict[str, tuple[str, ...]] = {
    "alias": ("${EMPTY}", "a/b"),
    "fault": ("nonsense-id",),
    "file": ("no-such-graph.yaml", "no-such-graph.yaml#name", "${EMPTY}"),
    "gpu": ("first",),
    "graph": ("no-such-graph",),
    "interpreter": ("/no/such/python",),
    "load": ("no-such-load",),
    "member": ("etcd-9", "${EMPTY}"),
    "name": BAD_NAMES,
    "part": ("no-such-part",),
    "pattern": ("(",),
    "process_name": ("no-such-process",),
    "rate": ("fast",),
    "replica": ("99", "nobody", "-1"),
    "selector": ("{",),
    "service": ("Nobody", "${EMPTY}"),
    "services": ("${EMPTY}", "${{[]}}"),
    "signal_name": ("SIGFOO", "SIGSTOP"),
    "source": ("Nobody",),
    "source_replica": ("99", "nobody"),
    "target": ("Nobody",),
    "target_replica": ("99", "nobody"),
    "tokenizer": ("no-such-tokenizer",),
}
"""Texts that are wrong for arguments of these names."""

WRONG_HERE = {
    ("start_load", "load"): BAD_NAMES,
    ("get_process_variable", "name"): ("NO_SUCH_VARIABLE", "${EMPTY}"),
}
"""The same, for one keyword."""

FREE_TEXT = {"assertion_expected", "image", "message", "model", "prompt", "router_mode"}
"""Arguments for which the library can judge no text: it is the user's own, or Dynamo's."""

WRONG_NUMBER: dict[str, tuple[str, ...]] = {
    "cancellation_rate": ("1.1",),
    "concurrency": ("0",),
    "consecutive": ("0",),
    "count": ("0",),
    "etcd_members": ("0", "2"),
    "http_port": ("0", "70000"),
    "input_tokens": ("0",),
    "loss": ("0", "101"),
    "max_tokens": ("0",),
    "min_rate": ("1.1",),
    "output_tokens": ("0",),
    "percentile": ("0", "0.95", "101"),
    "prefixes": ("0",),
    "probability": ("1.1",),
    "ready_responses": ("0",),
    "request_count": ("0",),
    "request_rate": ("0",),
    "requests_per_client": ("0",),
    "xid": ("9999",),
}
"""Numbers that are wrong beside those that are wrong for all."""

WRONG_TIME: dict[tuple[str, str], tuple[str, ...]] = {
    ("start_load", "duration"): ("0",),
    ("start_load", "timeout"): ("0",),
    ("start_request", "timeout"): ("0",),
    ("stall_nats", "duration"): ("0",),
    ("stall_process", "duration"): ("0",),
    ("deploy_graph", "timeout"): ("0",),
}

WRONG_FOR_KIND: dict[Any, tuple[str, ...]] = {
    AssertionOperator: ("~~", "<"),
    Count: ("soon",),
    Duration: ("soon",),
    NameList: (),
    Number: ("soon",),
    Share: ("soon", "90", "120%"),
    Request: ("request-99", "${{[1]}}", "${EMPTY}", "none"),
    bool: ("perhaps",),
    str: (),
}

ANY_NUMBER = {"seed"}
"""Numbers that may be negative."""

RIGHT_ON_NOTHING = {
    "list_active_faults": "returns an empty list",
    "no_fault_should_be_active": "no fault is active",
}
"""Checks and getters that do not fail where there is nothing, and why."""

COUNTS_NOTHING = {"get_request_count": "whether there are any is what it is asked for"}
"""Getters that may say 0 of a part without requests, and why."""

BY_PLATFORM = {("deploy_graph", "etcd_members"), ("deploy_graph", "interpreter"), ("deploy_graph", "timeout")}
"""Judged by the platform, so not seen here: see ``tests/acceptance/test_bad_input.py``."""

RAW = re.compile(
    r"Traceback|object has no|NoneType|not supported between|<class |object at 0x|-1 day|\[Errno|\w+Warning"
    r"|(?<!^)\b(Type|Attribute|Overflow|Value|Key|Index|Runtime|OS|Unicode\w+|Assertion|Recursion|Name)Error"
)
"""What Python says, and a user should never read. Robot begins a message about a conversion with ``ValueError``."""


@dataclass(frozen=True)
class Trial:
    """A keyword with one argument that is wrong."""

    keyword: str
    argument: str
    value: str
    call: tuple[str, ...]

    @property
    def name(self) -> str:
        return f"{self.keyword} {self.argument}={self.value[:40]}".replace("${", "{").replace("\\", "")

    def judge(self, status: str, message: str) -> str:
        """What is wrong with the outcome; empty when nothing is."""
        shown = {"${EMPTY}": "", "${{[1]}}": "[1]", "a\\tb": "a\tb"}.get(self.value, self.value)
        if status != "FAIL":
            return f"{self.name}: {status} {message}"
        if RAW.search(message):
            return f"{self.name}: raw: {message}"
        if self.argument not in message and (not shown or shown not in message):
            return f"{self.name}: names neither argument nor value: {message}"
        return ""


def arguments(name: str) -> Iterator[tuple[str, bool, bool, Any]]:
    """Name, whether it is needed, whether it can be given by position only, and type of each argument."""
    types_ = LIBRARY.get_keyword_types(name)
    for each in LIBRARY.get_keyword_arguments(name):
        if each == "*":
            continue
        plain = each if isinstance(each, str) else each[0]
        bare = plain.lstrip("*")
        yield bare, isinstance(each, str), plain.startswith("*"), types_.get(bare)


def kinds(hint: Any) -> list[Any]:
    """The types that an argument may have, without None."""
    if get_origin(hint) is Literal:
        return list({type(value): None for value in get_args(hint) if value is not None})
    parts = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return [part for part in parts if part is not type(None)]


def wrong_values(keyword: str, argument: str, hint: Any) -> list[str]:
    """Values that are wrong for an argument."""
    of = kinds(hint)
    if (keyword, argument) in WRONG_HERE:
        return list(WRONG_HERE[keyword, argument])
    if argument in WRONG_TEXT and {str, NameList} & set(of):
        return list(WRONG_TEXT[argument])
    found = [value for kind in of for value in wrong_for_kind(keyword, argument, kind)]
    if get_origin(of[0]) is dict:  # a dictionary or a number
        found = [value for value in found if value != "many"]
    return found


def wrong_for_kind(keyword: str, argument: str, kind: Any) -> Sequence[str]:
    if kind in (int, float):
        own = [*([] if argument in ANY_NUMBER else ["-1"]), *(["nan"] if kind is float else [])]
        return ["many", "${EMPTY}", "1" + "0" * 30, *own, *WRONG_NUMBER.get(argument, ())]
    if kind is timedelta:
        return ["soon", "${EMPTY}", "-1 s", "99999999 days", *WRONG_TIME.get((keyword, argument), ())]
    if inspect.isclass(kind) and issubclass(kind, Enum) and kind is not AssertionOperator:
        return ["no-such-choice", "${EMPTY}"]
    if get_origin(kind) is dict:
        return ["not a dictionary", "${EMPTY}"]
    if kind is str and argument not in FREE_TEXT:
        return [f"?{argument}"]
    return WRONG_FOR_KIND[kind]


def trials(keyword: str) -> Iterator[Trial]:
    """All trials of a keyword."""
    given = list(arguments(keyword))
    for argument, _, _, hint in given:
        for value in wrong_values(keyword, argument, hint):
            by_position = [VALID.get(name, f"?{name}") for name, needed, _, _ in given if needed and name != argument]
            needed_names = [name for name, needed, star, _ in given if needed and not star]
            call = [f"{name}={VALID.get(name, f'?{name}')}" for name in needed_names if name != argument]
            starred = [name for name, _, star, _ in given if star]
            if argument in starred:
                call = [*by_position, value]
            elif starred == ["requests"]:
                call = ["${REQUEST}", f"{argument}={value}"]
            else:
                call.append(f"{argument}={value}")
            if argument == "assertion_expected":
                call.append("assertion_operator=<")
            taken = {part.partition("=")[0] for part in call}
            extra = [*NEEDS.get((keyword, ""), ()), *NEEDS.get((keyword, argument), ())]
            call += [part for part in extra if part.partition("=")[0] not in taken]
            yield Trial(keyword, argument, value, tuple(call))


def is_judging(name: str) -> bool:
    return bool({"Check", "Getter", "Wait"} & set(LIBRARY.get_keyword_tags(name)))


def on_nothing(name: str, *extra: str) -> tuple[str, ...]:
    """A call with all that is needed, and an assertion that would hold on nothing."""
    given = list(arguments(name))
    call = [f"{argument}={VALID.get(argument, '?')}" for argument, needed, star, _ in given if needed and not star]
    if any(argument == "assertion_operator" for argument, *_ in given):
        call += ["assertion_operator=<=", "assertion_expected=0"]
    call += [part for part in NEEDS.get((name, ""), ()) if part.partition("=")[0] in {each[0] for each in given}]
    return (*call, *extra)


KEYWORDS = sorted(LIBRARY.get_keyword_names())
PARTED = [name for name in KEYWORDS if {"load", "part"} <= {argument for argument, *_ in arguments(name)}]


def suite_text(deployed: bool, tests: dict[str, tuple[str, ...]], before: str = "") -> str:
    lines = ["*** Settings ***", f"Library    {DATA / 'FakeDynamo.py'}    deployed={deployed}"]
    if deployed:
        lines += ["Suite Setup    Begin"]
    lines += [
        "Test Timeout    20 s",
        "*** Variables ***",
        "${REQUEST}    none",
        "${FAULT}    none",
        "*** Test Cases ***",
    ]
    for name, call in tests.items():
        lines += [name, *([f"    {before}"] if before else []), "    " + "    ".join(call)]
    lines += [
        "*** Keywords ***",
        "Begin",
        "    ${request}    ${fault}    Prepare",
        "    VAR    ${REQUEST}    ${request}    scope=SUITE",
        "    VAR    ${FAULT}    ${fault}    scope=SUITE",
    ]
    return "\n".join(lines) + "\n"


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[str, tuple[str, str]]]:
    """By suite and test name: status and message."""
    place = tmp_path_factory.mktemp("all")
    wrong = {trial.name: (trial.keyword, *trial.call) for name in KEYWORDS for trial in trials(name)}
    empty = {name: (name, *on_nothing(name)) for name in KEYWORDS if is_judging(name)}
    parts = {name: (name, *on_nothing(name, "part=empty")) for name in PARTED}
    suites = {
        "wrong": suite_text(True, wrong),
        "nothing": suite_text(False, empty),
        "parts": suite_text(True, parts, "Start Phase    empty"),
    }
    for name, text in suites.items():
        (place / f"{name}.robot").write_text(text, encoding="utf-8")
    command = [sys.executable, "-m", "robot", "--outputdir", place / "results", "--log", "none", "--report", "none"]
    done = subprocess.run(
        [*map(str, command), *(str(place / f"{name}.robot") for name in suites)],
        check=False,  # tests fail, which is the point
        env={**os.environ, "DYNAMO_FAULT_STATE": str(place / "state")},
        cwd=place,
        capture_output=True,
        text=True,
        timeout=600,
    )
    output = place / "results" / "output.xml"
    assert output.exists(), done.stdout + done.stderr
    result = ExecutionResult(output)
    return {
        suite.name.lower(): {test.name: (test.status, test.message) for test in suite.tests}
        for suite in result.suite.suites
    }


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_wrong_value_gets_a_sentence_that_names_it(keyword: str, outcomes: Any) -> None:
    """Raw Python errors, arguments that are accepted and ignored (seen in use: rows 13, 31, 38 and Words)."""
    found = []
    for trial in trials(keyword):
        assert "?" not in "".join(trial.call), f"say in this file what {trial.call} of {keyword} may be"
        problem = trial.judge(*outcomes["wrong"][trial.name])
        if problem and (keyword, trial.argument) not in BY_PLATFORM:
            found.append(problem)
    assert found == [], "\n" + "\n".join(found)


@pytest.mark.parametrize("keyword", [name for name in KEYWORDS if is_judging(name)])
def test_a_check_of_nothing_fails(keyword: str, outcomes: Any) -> None:
    """Without a graph, a load, a request or a fault there is nothing to judge (seen in use: rows 4, 8, 17)."""
    status, message = outcomes["nothing"][keyword]
    if keyword in RIGHT_ON_NOTHING:
        return
    assert status == "FAIL", message
    assert not RAW.search(message), message


@pytest.mark.parametrize("keyword", [name for name in PARTED if name not in COUNTS_NOTHING])
def test_a_check_of_a_part_without_requests_fails(keyword: str, outcomes: Any) -> None:
    """A phase in which no request ran proves nothing (seen in use: row 4)."""
    status, message = outcomes["parts"][keyword]
    assert status == "FAIL", message
    assert not RAW.search(message), message


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_choice_is_accepted_as_people_write_it(keyword: str) -> None:
    """Kebab case as on a command line, capitals as in the seeds, words with spaces; by name and by value."""
    for argument, _, _, hint in arguments(keyword):
        for kind in kinds(hint):
            if not (inspect.isclass(kind) and issubclass(kind, Enum)) or kind is AssertionOperator:
                continue
            for member in kind:
                plain = member.name.lower()
                for text in (
                    plain,
                    member.name,
                    plain.replace("_", "-"),
                    plain.replace("_", " ").title(),
                    member.value,
                ):
                    assert TypeInfo.from_type_hint(kind).convert(text, custom_converters=CONVERTERS) is member, argument


def test_no_table_of_the_documentation_has_an_empty_head(tmp_path: Path) -> None:
    """libdoc takes ``| == |`` for the head of a column without a text (seen in use: Words)."""
    # In a process and folder of its own: libdoc imports anew what lies in the current folder under the library's name.
    made = tmp_path / "keywords.json"
    command = [sys.executable, "-m", "robot.libdoc", "--specdocformat", "HTML", LIBRARY_NAME, str(made)]
    subprocess.run(command, cwd=tmp_path, check=True, capture_output=True)
    page = json.loads(made.read_text(encoding="utf-8"))
    assert len(page["keywords"]) == len(KEYWORDS)
    assert [each["name"] for each in page["keywords"] if "<th></th>" in each["doc"]] == []
    assert "<th></th>" not in page["doc"]


@pytest.mark.parametrize("keyword", KEYWORDS)
def test_a_keyword_that_means_a_service_means_a_graph(keyword: str) -> None:
    """Where several graphs are deployed, each keyword that hits or looks at one takes ``graph``."""
    given = [argument for argument, *_ in arguments(keyword)]
    if {"service", "serving", "member"} & set(given):
        assert given[-1] == "graph", f"put @on_graph above {keyword}"
