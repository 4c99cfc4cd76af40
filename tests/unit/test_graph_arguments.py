import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.service import AlphaService, BetaService, Service

OPTIONS = st.sampled_from(["--model", "--model-path", "--model-name", "--block-size", "--eager"])
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
    made.editable_container["args"] = args
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
        (["--model"], None),
        (["--model-path", "a"], None),
        (["--x", "--model-path=a"], None),
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
        (["--a", "1", "--model=x", "--b"], ["--a", "1", "--model", "new", "--b"]),
        (["--a", "1", "--model", "--b"], ["--a", "1", "--model", "new", "--b"]),
        (["--model"], ["--model", "new"]),
        (["--a"], ["--a", "--model", "new"]),
        (["--model", "x", "--a", "--model=y"], ["--model", "new", "--a"]),
        (["--model-path", "x"], ["--model-path", "x", "--model", "new"]),
    ],
)
def test_an_argument_is_set_where_it_was(args: list[object], after: list[str]) -> None:
    made = service(args)
    made.set_argument("--model", "new")
    assert made.args == after


def test_an_option_without_a_value_becomes_a_flag() -> None:
    made = service(["--model", "x", "--a"])
    made.set_argument("--model")
    assert made.args == ["--model", "--a"]
    assert made.argument("--model") is None


def test_the_first_argument_of_a_service_without_any_is_added() -> None:
    made = AlphaService("Worker", {})
    made.set_argument("--model", "x")
    assert made.document == {"extraPodSpec": {"mainContainer": {"args": ["--model", "x"]}}}


def test_the_model_is_named_by_the_option_that_is_there() -> None:
    assert service(["--model", "x"]).model_option == "--model"
    assert service(["--model-path=x"]).model_option == "--model-path"
    assert service(["--model"]).model_option is None
    assert service(["--served-model-name", "x"]).model_option is None


def test_a_role_is_the_narrowest_that_is_named() -> None:
    assert AlphaService("W", {}).role == "worker"
    assert AlphaService("W", {"componentType": "worker", "subComponentType": "prefill"}).role == "prefill"
    assert AlphaService("W", {"componentType": "planner"}).role == "planner"
    assert BetaService("W", {}).role == "worker"
    assert BetaService("W", {"type": "prefill"}).role == "prefill"


def test_a_prefill_frontend_of_v1alpha1_is_a_frontend_still() -> None:
    assert AlphaService("F", {"componentType": "frontend", "subComponentType": "x"}).is_frontend


def test_gpus_come_from_limits_else_from_requests() -> None:
    assert AlphaService("W", {"resources": {"limits": {"gpu": "4"}, "requests": {"gpu": "2"}}}).gpus == 4
    assert AlphaService("W", {"resources": {"requests": {"gpu": 2}}}).gpus == 2
    assert AlphaService("W", {"resources": {"limits": {"cpu": "2"}}}).gpus == 0
    assert AlphaService("W", {}).gpus == 0
    beta = BetaService("W", {})
    assert beta.gpus == 0
    beta.editable_container["resources"] = {"limits": {"nvidia.com/gpu": "8"}}
    assert beta.gpus == 8


def test_a_service_shows_its_name_and_replicas() -> None:
    assert repr(AlphaService("Decode", {"replicas": 3})) == "AlphaService('Decode', replicas=3)"


@given(ARGS, OPTIONS, VALUES, SHAPES)
def test_an_argument_that_was_set_is_read_back(args: list[str], option: str, value: str, shape: type[Service]) -> None:
    made = service(list(args), shape)
    made.set_argument(option, value)
    assert made.argument(option) == value
    names = [part.partition("=")[0] for part in made.args]
    assert names.count(option) == 1


@given(ARGS, OPTIONS, VALUES)
def test_setting_an_argument_leaves_the_others_as_they_were(args: list[str], option: str, value: str) -> None:
    before, after = service(list(args)), service(list(args))
    after.set_argument(option, value)
    for other in ("--model", "--model-path", "--model-name", "--block-size", "--eager"):
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
def test_a_flag_that_was_set_has_no_value(args: list[str], option: str) -> None:
    made = service(list(args))
    made.set_argument(option)
    assert made.argument(option) is None
    assert made.args.count(option) == 1


SCRIPT = "python3 -m dynamo.frontend --http-port 8000"


@pytest.mark.parametrize("shape", [AlphaService, BetaService])
@pytest.mark.parametrize(
    ("command", "args"),
    [
        (["sh", "-c"], [SCRIPT]),
        (["bash", "-c", SCRIPT], []),
        (["/bin/sh", "-ec"], [f"cat > /tmp/x <<EOF\ny\nEOF\n{SCRIPT}"]),
        (["/bin/bash", "run.sh"], []),
        (["/usr/bin/env", "A=1", "bash", "-lc"], [SCRIPT]),
        (["tini", "--", "dash", "-c"], [SCRIPT]),
        (["timeout", "-k", "5", "1h", "sh", "-c"], [SCRIPT]),
        ([f"sh -c '{SCRIPT}'"], []),
        ([], ["zsh", "-c", SCRIPT]),
    ],
)
def test_a_script_swallows_no_option(command: list[object], args: list[object], shape: type[Service]) -> None:
    """An option behind a script was ignored, and the test ran without it (row 2)."""
    script = shape("Frontend", {})
    script.editable_container.update(command=command, args=args)
    with pytest.raises(GraphError) as raised:
        script.set_argument("--router-mode", "kv")
    message = str(raised.value)
    assert message.startswith("option '--router-mode' cannot be set on service 'Frontend': its command is a script for")
    assert (script.container["command"], script.container["args"]) == (command, args)


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
