import argparse

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.service import AlphaService, BetaService, Service

NAMES = ["--model", "--model-name", "--served-model-name", "--block-size", "--eager"]
OPTIONS = st.sampled_from(NAMES)
VALUES = st.text(st.characters(codec="ascii", exclude_categories=["Cc"]), max_size=8).filter(
    lambda value: not value.startswith("--")
)
GROUPS = st.one_of(
    OPTIONS.map(lambda option: [option]),
    st.tuples(OPTIONS, VALUES).map(list),
    st.tuples(OPTIONS, VALUES).map(lambda pair: ["=".join(pair)]),
)
ARGS = st.lists(GROUPS, max_size=8).map(lambda groups: [part for group in groups for part in group])
SHAPES = st.sampled_from([AlphaService, BetaService])


def service(args: list[object], shape: type[Service] = AlphaService) -> Service:
    made = shape("Worker", {})
    made.editable_container.update(command=["python3", "-m", "dynamo.mocker"], args=args)
    return made


@pytest.mark.parametrize(
    ("args", "value"),
    [
        (["--model", "a"], "a"),
        (["--model=a"], "a"),
        (["--model="], ""),
        (["--model=a=b"], "a=b"),
        (["--x", "--model", "a"], "a"),
        (["--model", "-1"], "-1"),
        (["--model", "--x"], None),
        (["--model", "-tp", "4"], None),
        (["--model"], None),
        (["--model-path", "a"], "a"),
        (["--model", "a", "--model", "b"], "b"),
        (["--", "--model", "a"], None),
        (["--model-paths", "a"], None),
        ([], None),
    ],
)
def test_an_argument_is_read_in_both_notations(args: list[object], value: str | None) -> None:
    assert service(args).argument("--model") == value


def test_arguments_that_yaml_reads_as_numbers_are_texts() -> None:
    assert service(["--block-size", 64, "--rate", 0.5]).args == ["--block-size", "64", "--rate", "0.5"]
    assert service(["--block-size", 64]).argument("--block-size") == "64"


@pytest.mark.parametrize(
    ("args", "after"),
    [
        (["--a", "1", "--model", "x", "--b"], ["--a", "1", "--model", "new", "--b"]),
        (["--a", "1", "--model=x", "--b"], ["--a", "1", "--model=new", "--b"]),
        (["--a", "1", "--model", "--b"], ["--a", "1", "--model", "new", "--b"]),
        (["--model"], ["--model", "new"]),
        (["--a"], ["--a", "--model", "new"]),
        (["--model", "x", "--a", "--model=y"], ["--model", "new", "--a"]),
        (["--model-path", "x", "--a"], ["--model", "new", "--a"]),
        (["--model-paths", "x"], ["--model-paths", "x", "--model", "new"]),
        (["--model", "-tp", "4"], ["--model", "new", "-tp", "4"]),
        (["--model", "-1", "--a"], ["--model", "new", "--a"]),
        (["--model", "x", "y", "--a"], ["--model", "new", "--a"]),
        (["--a", "--", "--model", "x"], ["--a", "--model", "new", "--", "--model", "x"]),
        (["--a", 4, "--b", 0.5], ["--a", 4, "--b", 0.5, "--model", "new"]),
    ],
)
def test_an_argument_is_set_where_it_was(args: list[object], after: list[str]) -> None:
    made = service(args)
    assert made.set_argument("--model", "new") == "args"
    assert made.container["args"] == after  # numbers of YAML that were not edited stay numbers


@pytest.mark.parametrize(
    ("option", "value", "args", "after"),
    [
        ("--eager", None, ["--eager", "-tp", "4"], ["--eager", "-tp", "4"]),
        ("--eager", None, ["--no-eager", "--a"], ["--eager", "--a"]),
        ("--no-eager", None, ["--eager"], ["--no-eager"]),
        ("--tensor-parallel-size", "8", ["-tp", "4"], ["--tensor-parallel-size", "8"]),
        ("-tp", "8", ["--tensor-parallel-size=4"], ["-tp=8"]),
        ("--max-model-len", "8", ["--max_model_len", "4"], ["--max-model-len", "8"]),
        ("--served-model-name", "new", ["--served-model-name", "a", "b", "--c"], ["--served-model-name", "new", "--c"]),
        ("--disaggregation-mode", "decode", ["--is-prefill-worker"], ["--disaggregation-mode", "decode"]),
        ("--shift", "-1", ["--a"], ["--a", "--shift", "-1"]),
        ("--extra", "-x y", ["--a"], ["--a", "--extra=-x y"]),
        ("--extra", "$(HOME) costs $5 and $$", [], ["--extra", "$$(HOME) costs $5 and $$$"]),
    ],
)
def test_what_argparse_would_take_is_what_is_replaced(
    option: str, value: str | None, args: list[object], after: list[str]
) -> None:
    made = service(args)
    made.set_argument(option, value)
    assert made.args == after
    assert made.argument(option) == value


@pytest.mark.parametrize(
    ("args", "after", "was_there"),
    [
        (["--http-port", "1", "--a"], ["--a"], True),
        (["--a", "--http-port=1"], ["--a"], True),
        (["--http-port", "-tp", "4"], ["-tp", "4"], True),
        (["--a"], ["--a"], False),
    ],
)
def test_an_argument_is_removed_with_its_value(args: list[object], after: list[str], *, was_there: bool) -> None:
    made = service(args)
    assert made.has_argument("--http-port") is was_there
    assert made.remove_argument("--http-port") is was_there
    assert made.args == after
    assert not made.has_argument("--http-port")


@pytest.mark.parametrize(
    ("container", "after"),
    [
        ({}, {"args": ["-m", "dynamo.frontend", "--x", "1"]}),
        ({"command": ["python3"]}, {"command": ["python3"], "args": ["-m", "dynamo.frontend", "--x", "1"]}),
        (
            {"args": ["-m", "dynamo.frontend", "--a"]},
            {"args": ["-m", "dynamo.frontend", "--a", "--x", "1"]},
        ),
        (
            {"command": ["python3", "-m", "dynamo.frontend"]},
            {"command": ["python3", "-m", "dynamo.frontend"], "args": ["--x", "1"]},
        ),
        (  # without args of its own the operator would add -m dynamo.frontend
            {"command": ["python3", "-m", "dynamo.frontend", "--x", "0"]},
            {"command": ["python3", "-m", "dynamo.frontend"], "args": ["--x", "1"]},
        ),
    ],
)
def test_a_frontend_runs_what_the_operator_would_run(container: dict[str, object], after: dict[str, object]) -> None:
    frontend = BetaService("F", {"type": "frontend"})
    frontend.editable_container.update(container)
    frontend.set_argument("--x", "1")
    assert {key: value for key, value in frontend.container.items() if key != "name"} == after
    assert frontend.command == ["python3", "-m", "dynamo.frontend", *frontend.command[3:]]


def test_an_option_in_the_command_list_is_set_there() -> None:
    made = service(["--b"])
    made.container["command"] = ["python3", "-m", "dynamo.vllm", "--model", "x"]
    assert made.set_argument("--model", "new") == "command"
    assert made.container["command"][-1] == "new"
    assert made.container["args"] == ["--b"]


@pytest.mark.parametrize(
    ("container", "reason"),
    [
        ({}, "it has neither command nor args"),
        ({"args": ["--model", "x"]}, "it has args but no command, so the operator gives them to /bin/sh -c"),
        ({"args": ["python3", "-m", "dynamo.vllm"]}, "no command of its shell script runs a program of Dynamo"),
        ({"command": ["/bin/bash", "run.sh"]}, "it runs a script file with /bin/bash"),
        ({"command": ["sh -c 'x'"]}, "its command [\"sh -c 'x'\"] runs no program that is known"),
        (
            {"command": ["python3", "-c", "print()"]},
            "its command ['python3', '-c', 'print()'] runs no program that is known",
        ),
    ],
)
def test_an_option_without_a_program_is_refused(container: dict[str, object], reason: str) -> None:
    made = AlphaService("Worker", {"componentType": "worker"})
    made.editable_container.update(container)
    with pytest.raises(GraphError) as raised:
        made.set_argument("--x", "1")
    assert str(raised.value) == f"option '--x' cannot be set on service 'Worker': {reason}"
    assert made.container == container


@pytest.mark.parametrize(
    "wrapper", [["exec"], ["env", "A=1"], ["numactl", "-N", "0", "-m", "0"], ["timeout", "-k", "5", "1h"]]
)
def test_wrappers_are_no_program(wrapper: list[str]) -> None:
    made = service(["--a"])
    made.container["command"] = [*wrapper, "python3", "-u", "-m", "dynamo.vllm"]
    assert made.module == "dynamo.vllm"
    made.set_argument("-m", "1")
    assert made.args == ["--a", "-m", "1"]


def test_a_value_comes_out_of_a_variable() -> None:
    made = service(["--model", "$(MODEL)", "--name", "$(UNKNOWN)/$$x"])
    made.set_variable("MODEL", "tiny")
    assert made.argument("--model") == "tiny"
    assert made.argument("--name") == "$(UNKNOWN)/$x"


def test_an_option_without_a_value_becomes_a_flag() -> None:
    made = service(["--model", "x", "--a"])
    made.set_argument("--model")
    assert made.args == ["--model", "--a"]
    assert made.argument("--model") is None


def test_the_model_is_named_by_the_option_that_is_there() -> None:
    assert service(["--model", "x"]).model_option == "--model"
    assert service(["--model-path=x"]).model_option == "--model-path"
    assert service(["--model"]).model_option is None
    assert service(["--served-model-name", "x"]).model_option is None


def test_a_service_shows_its_name_and_replicas() -> None:
    assert repr(AlphaService("Decode", {"replicas": 3})) == "AlphaService('Decode', replicas=3)"


@given(ARGS, OPTIONS, VALUES, SHAPES)
def test_an_argument_that_was_set_is_read_back(args: list[str], option: str, value: str, shape: type[Service]) -> None:
    made = service(list(args), shape)
    made.set_argument(option, value)
    assert made.argument(option) == value
    assert sum(part == option or part.startswith(f"{option}=") for part in made.args) == 1


@given(ARGS, OPTIONS, VALUES)
def test_setting_an_argument_leaves_the_others_as_they_were(args: list[str], option: str, value: str) -> None:
    before, after = service(list(args)), service(list(args))
    after.set_argument(option, value)
    for other in NAMES:
        if other != option:
            assert after.argument(other) == before.argument(other)


@given(ARGS, OPTIONS, VALUES)
def test_setting_an_argument_twice_is_setting_it_once(args: list[str], option: str, value: str) -> None:
    made = service(list(args))
    made.set_argument(option, value)
    once = made.args
    made.set_argument(option, value)
    assert made.args == once


@given(ARGS, OPTIONS)
def test_what_is_read_is_what_argparse_reads(args: list[str], option: str) -> None:
    parser = argparse.ArgumentParser(allow_abbrev=False)
    for name in NAMES:
        parser.add_argument(name, nargs="?", dest=name)
    known, _ = parser.parse_known_args(args)
    assert service(args).argument(option) == getattr(known, option)


@given(ARGS, OPTIONS)
def test_a_flag_that_was_set_has_no_value(args: list[str], option: str) -> None:
    made = service(list(args))
    made.set_argument(option)
    assert made.argument(option) is None
    assert made.args.count(option) == 1


@pytest.mark.parametrize(
    "command", [["python3", "-m", "x", "--shell", "bash"], ["env", "A=1", "python3", "sh"], ["/opt/serve.sh"]]
)
def test_a_program_that_only_names_a_shell_takes_options(command: list[object]) -> None:
    program = AlphaService("Worker", {})
    program.editable_container["command"] = command
    program.set_argument("--x", "1")
    assert program.args == ["--x", "1"]


@pytest.mark.parametrize("words", ["python3 -m dynamo.frontend", {"a": 1}, [["x"]], [{"x": 1}]])
def test_a_command_that_is_no_list_of_words_is_refused(words: object) -> None:
    broken = AlphaService("Worker", {})
    broken.editable_container["command"] = words
    with pytest.raises(GraphError, match=r"^command of service 'Worker' must be a list of words, not "):
        _ = broken.command


def test_fields_of_a_service_must_be_maps() -> None:
    with pytest.raises(GraphError, match=r"^'extraPodSpec' of a service must be a map of fields, not "):
        _ = AlphaService("Worker", {"extraPodSpec": ["x"]}).command


def test_words_that_stay_keep_their_types() -> None:
    """A number elsewhere in the list made numbers of strings that look like it."""
    made = service(["--tp", "8", "--seed", 8, "--x", 0])
    made.set_argument("--x", "8")
    assert made.container["args"] == ["--tp", "8", "--seed", 8, "--x", "8"]


def test_what_is_no_string_is_read_as_yaml_says_it() -> None:
    made = service(["--a", True, "--b", None])
    assert made.args == ["--a", "true", "--b", ""]
    made.document["envs"] = [{"name": "A", "value": None}, {"name": "B", "value": False}]
    assert (made.environment["A"], made.environment["B"]) == ("", "false")


@pytest.mark.parametrize("words", [["python3", "--http-port", "8000"], ["python3", ""], [""]])
def test_a_word_that_starts_nothing_is_no_program(words: list[str]) -> None:
    made = AlphaService("F", {"extraPodSpec": {"mainContainer": {"command": words}}})
    with pytest.raises(GraphError, match=r"its command \[.*\] runs no program that is known$"):
        made.set_argument("--x", "1")
    assert made.module is None


def test_variables_are_made_of_those_before_them() -> None:
    made = service(["--model", "$(MODEL)"])
    made.document["envs"] = [{"name": "ORG", "value": "acme"}, {"name": "MODEL", "value": "$(ORG)/small$$"}]
    assert made.argument("--model") == "acme/small$"
    made.document["envs"].reverse()
    assert made.argument("--model") == "$(ORG)/small$"
