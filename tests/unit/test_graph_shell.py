"""Options inside shell scripts: what a real shell passes to the program differs by exactly the edit."""

import shlex
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.service import AlphaService
from DynamoFaultLibrary.graph.shell import Script

Run = Callable[[list[str]], list[str]]

OPTIONS = ["--model", "--served-model-name", "--block-size", "--config", "--eager"]
SPACE = (
    "a backslash followed by a space in its shell script makes the space part of the next word; "
    "a script with continued lines must be written with | in YAML, not with >"
)
VALUES = st.text(st.characters(codec="ascii", categories=["L", "N", "P", "S", "Zs"]), max_size=6)
GROUPS = st.one_of(
    st.tuples(st.sampled_from(OPTIONS)),
    st.tuples(st.sampled_from(OPTIONS), VALUES.filter(lambda value: not value.startswith("-"))),
    st.tuples(st.sampled_from(OPTIONS), VALUES).map(lambda pair: ("=".join(pair),)),
)


def in_double_quotes(word: str) -> str:
    """The word in double quotes; a dollar sign and the like are escaped."""
    return '"' + "".join(f"\\{sign}" if sign in '\\"$`' else sign for sign in word) + '"'


def with_backslashes(word: str) -> str:
    """The word without quotes, each of its special characters escaped; one that begins with a space is refused so."""
    if word.startswith(" "):
        return shlex.quote(word)
    return "".join(sign if sign.isalnum() or sign in "-_=/." else f"\\{sign}" for sign in word) or "''"


@st.composite
def scripts(draw: st.DrawFn) -> str:
    """A script that runs a worker among other things, in one of many notations."""
    before = draw(st.sampled_from(["", "set -e\n", "cd . && ", "# python3 -m dynamo.vllm --model old\n", "true;\n"]))
    start = draw(st.sampled_from(["", "exec ", "A=1 ", "env B=2 ", "nice -n 1 ", "A=1 exec "]))
    words = [word for group in draw(st.lists(GROUPS, max_size=5)) for word in group]
    quote = st.sampled_from([shlex.quote, in_double_quotes, with_backslashes])
    written = [draw(quote)(word) for word in words]
    gap = draw(st.sampled_from([" ", "  ", " \\\n  "]))
    in_array = draw(st.booleans())
    tail = draw(st.sampled_from(["", "\n", " >/dev/null 2>&1", " | cat", " && true", "; true", "\n# --model x\n"]))
    if in_array:
        array = "args=(" + "".join(f"\n  {word}" for word in written) + "\n)\n"
        return f'{array}{before}{start}python3 -m dynamo.vllm "${{args[@]}}"{tail}'
    return before + start + gap.join(["python3 -m dynamo.vllm", *written]) + tail


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    """Run a command among stand-ins; returns what the program got."""
    directory = tmp_path_factory.mktemp("shell")
    stub, seen = directory / "python3", directory / "seen"
    stub.write_text(f"#!/bin/sh\nprintf '%s\\0' \"$@\" >{seen}\n")
    stub.chmod(0o755)

    def answer(command: list[str]) -> list[str]:
        seen.unlink(missing_ok=True)
        path = f"{directory}:/usr/bin:/bin"
        subprocess.run(command, env={"PATH": path}, cwd=directory, capture_output=True, check=False, timeout=60)
        return seen.read_text().split("\0")[:-1]

    return answer


def worker(script: str, *behind: str, env: dict[str, str] | None = None) -> AlphaService:
    service = AlphaService("Worker", {"componentType": "worker"})
    service.editable_container.update(command=["/bin/bash", "-c"], args=[script, *behind])
    for name, value in (env or {}).items():
        service.set_variable(name, value)
    return service


def script_of(service: AlphaService) -> str:
    return str(service.container["args"][0])


def direct(arguments: list[str]) -> AlphaService:
    service = AlphaService("Worker", {"componentType": "worker"})
    service.editable_container.update(command=["python3", "-m", "dynamo.vllm"], args=arguments)
    return service


def expanded(words: list[str]) -> list[str]:
    """As Kubernetes passes them on, when no variable is set."""
    return [word.replace("$$", "$") for word in words]


@given(scripts(), st.sampled_from(OPTIONS), st.one_of(st.none(), VALUES))
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_what_the_program_gets_differs_by_exactly_the_edit(
    run: Run, script: str, option: str, value: str | None
) -> None:
    before = run(expanded(worker(script).command))
    edited, wanted = worker(script), direct([word.replace("$", "$$") for word in before[2:]])
    edited.set_argument(option, value)
    wanted.set_argument(option, value)
    assert run(expanded(edited.command))[2:] == expanded(wanted.args)
    assert edited.argument(option) == value


@given(scripts(), st.sampled_from(OPTIONS))
@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_a_removed_option_is_all_that_is_gone(run: Run, script: str, option: str) -> None:
    before = run(expanded(worker(script).command))
    edited, wanted = worker(script), direct([word.replace("$", "$$") for word in before[2:]])
    assert edited.remove_argument(option) is wanted.remove_argument(option)
    assert run(expanded(edited.command))[2:] == expanded(wanted.args)


@pytest.mark.parametrize(
    ("script", "after"),
    [
        ("python3 -m dynamo.vllm", "python3 -m dynamo.vllm --x 1"),
        ("python3 -m dynamo.vllm --x 0 --y", "python3 -m dynamo.vllm --x 1 --y"),
        ("python3 -m dynamo.vllm --x=0 --y", "python3 -m dynamo.vllm --x=1 --y"),
        ('python3 -m dynamo.vllm --x "$X" --y', "python3 -m dynamo.vllm --x 1 --y"),
        ("python3 -m dynamo.vllm 2>&1 | tee /tmp/log", "python3 -m dynamo.vllm --x 1 2>&1 | tee /tmp/log"),
        ("python3 -m dynamo.vllm >log --y", "python3 -m dynamo.vllm >log --y --x 1"),
        (
            "exec python3 -m dynamo.vllm \\\n  --y \\\n  --z 2\n",
            "exec python3 -m dynamo.vllm \\\n  --y \\\n  --z 2 \\\n  --x 1\n",
        ),
        (
            "ulimit -l 1 && A=1 python3 -m dynamo.vllm --y &\nwait",
            "ulimit -l 1 && A=1 python3 -m dynamo.vllm --y --x 1 &\nwait",
        ),
        ("if true; then\n  python3 -m dynamo.vllm\nfi", "if true; then\n  python3 -m dynamo.vllm --x 1\nfi"),
        (
            "cat >c <<EOF\nx: 1\nEOF\npython3 -m dynamo.vllm --c c",
            "cat >c <<EOF\nx: 1\nEOF\npython3 -m dynamo.vllm --c c --x 1",
        ),
        (
            "echo python3 -m dynamo.vllm --x 0\npython3 -m dynamo.vllm",
            "echo python3 -m dynamo.vllm --x 0\npython3 -m dynamo.vllm --x 1",
        ),
        (
            'a=(\n  --y  # why\n  --x 0\n)\nexec python3 -m dynamo.vllm "${a[@]}"',
            'a=(\n  --y  # why\n  --x 1\n)\nexec python3 -m dynamo.vllm "${a[@]}"',
        ),
        (
            'a=(\n  --y\n  --z\n)\nexec python3 -m dynamo.vllm "${a[@]}"',
            'a=(\n  --y\n  --z\n  --x 1\n)\nexec python3 -m dynamo.vllm "${a[@]}"',
        ),
        ("python3 -m dynamo.vllm --x 0 $EXTRA_ARGS", "python3 -m dynamo.vllm $EXTRA_ARGS --x 1"),
        ("python3 -m dynamo.vllm --y $Y", "python3 -m dynamo.vllm --y $Y --x 1"),
        ("python3 -m dynamo.vllm --y 'ä' --x 'ö'", "python3 -m dynamo.vllm --y 'ä' --x 1"),
        ("python3 my_worker.py --x 0", "python3 my_worker.py --x 1"),
        ("pip install x\ncd /app\npython3 -m mine.worker", "pip install x\ncd /app\npython3 -m mine.worker --x 1"),
    ],
)
def test_all_but_the_option_stays_byte_by_byte(script: str, after: str) -> None:
    service = worker(script)
    assert service.set_argument("--x", "1") == "shell script in args[0]"
    assert script_of(service) == after


@pytest.mark.parametrize(
    ("script", "reason"),
    [
        ("cd /x", "no command of its shell script runs a program of Dynamo"),
        (
            'eval "$RUN"',
            "no command of its shell script runs a program of Dynamo; what it starts is hidden behind eval",
        ),
        ("cd / && ./run.sh", "no command of its shell script runs a program of Dynamo"),
        (
            "bash <<EOF\npython3 -m dynamo.vllm\nEOF",
            "its shell script names dynamo.vllm, but no command of it runs that",
        ),
        (
            "python3 -m dynamo.vllm --a &\npython3 -m dynamo.vllm --b",
            "its shell script has several commands that may be meant: dynamo.vllm, dynamo.vllm",
        ),
        ("if true; then python3 -m dynamo.vllm", "line 1 of its shell script cannot be read"),
        (
            'f() { python3 -m dynamo.vllm "$@"; }\nf --x 0',
            "a function of its shell script starts the program with what it is given",
        ),
        (
            "python3 -m dynamo.vllm \\ --x 0",
            SPACE,
        ),
        ("python3 -m dynamo.vllm --y \\ ", SPACE),
        ("python3 -m dynamo.vllm $EXTRA", "--x also stands in $EXTRA, which the shell turns into several words"),
    ],
)
def test_what_is_not_certain_is_refused_with_the_reason(script: str, reason: str) -> None:
    service = worker(script, env={"EXTRA": "--y 1 --x 0"})
    with pytest.raises(GraphError) as raised:
        service.set_argument("--x", "1")
    assert str(raised.value) == f"option '--x' cannot be set on service 'Worker': {reason}"
    assert script_of(service) == script


@pytest.mark.parametrize("name", ["/bin/sh", "bash", "/usr/bin/dash"])
@pytest.mark.parametrize("options", [["-c"], ["-lc"], ["-e", "-o", "errexit", "-c"]])
def test_every_shell_notation_is_seen(name: str, options: list[str]) -> None:
    service = AlphaService("Worker", {"componentType": "worker"})
    service.editable_container["command"] = ["env", "A=1", name, *options, "python3 -m dynamo.vllm"]
    assert service.shell == name
    service.set_argument("--x", "1")
    assert service.container["command"][-1] == "python3 -m dynamo.vllm --x 1"


def test_words_behind_a_script_are_no_options() -> None:
    service = worker("python3 -m dynamo.vllm", "--x", "0")
    service.set_argument("--x", "1")
    assert service.container["args"] == ["python3 -m dynamo.vllm --x 1", "--x", "0"]


def test_a_script_that_runs_what_stands_behind_it_is_edited_there() -> None:
    service = worker('exec "$@"', "--", "python3", "-m", "dynamo.vllm", "--x", "0")
    service.set_argument("--x", "1")
    assert service.container["args"] == ['exec "$@"', "--", "python3", "-m", "dynamo.vllm", "--x", "1"]


def test_a_script_alone_is_run_by_the_operators_shell() -> None:
    service = AlphaService("Worker", {"componentType": "worker"})
    service.editable_container["args"] = ["python3 -m dynamo.vllm --x 0"]
    assert service.command == ["/bin/sh", "-c", "python3 -m dynamo.vllm --x 0"]
    service.set_argument("--x", "1")
    assert service.container == {"args": ["python3 -m dynamo.vllm --x 1"]}


def test_values_are_read_out_of_variables() -> None:
    script = 'SIZE=16\nexec python3 -m dynamo.vllm --a "$A" --b=$(B)/x --size $SIZE --u "$UNKNOWN" --two $TWO --eager'
    service = worker(script, env={"A": "one two", "B": "three", "TWO": "--c 4"})
    found = {option: service.argument(option) for option in ("--a", "--b", "--size", "--u", "--c", "--two", "--eager")}
    assert found == {
        "--a": "one two",
        "--b": "three/x",
        "--size": "16",
        "--u": '"$UNKNOWN"',
        "--c": "4",
        "--two": None,
        "--eager": None,
    }
    assert service.has_argument("--eager")


def test_a_reference_that_becomes_several_words_is_seen_as_such() -> None:
    service = worker("python3 -m dynamo.vllm $(EXTRA)", env={"EXTRA": "--y 1 --z"})
    assert service.argument("--y") == "1"
    service.set_argument("--x", "1")
    assert script_of(service) == "python3 -m dynamo.vllm $(EXTRA) --x 1"
    with pytest.raises(GraphError, match=r": --y also stands in \$\(EXTRA\), which"):
        service.set_argument("--y", "2")


def test_positional_parameters_that_a_script_makes_are_not_known() -> None:
    service = worker('set -- --model a\nexec python3 -m dynamo.vllm --x 0 "$@"')
    assert service.argument("--model") is None
    service.set_argument("--x", "1")
    assert script_of(service).endswith('exec python3 -m dynamo.vllm "$@" --x 1')


def test_a_here_document_that_names_an_option_is_left_alone(tmp_path: Path) -> None:
    script = f"cat >{tmp_path}/x <<'EOF'\npython3 -m dynamo.vllm --x 0\nEOF\npython3 -m dynamo.vllm --x 0"
    service = worker(script)
    service.set_argument("--x", "it's $(HOME)")
    quoted = shlex.quote("it's $$(HOME)")
    assert script_of(service) == script.removesuffix("0") + quoted


@pytest.mark.parametrize(
    ("script", "edited"),
    [
        ("python3 -m dynamo.vllm --a b>/log 2>&1", "python3 -m dynamo.vllm --a b --x 1 >/log 2>&1"),
        ("python3 -m dynamo.vllm --x y</in", "python3 -m dynamo.vllm --x 1 </in"),
        ("python3 -m dynamo.vllm>/log", "python3 -m dynamo.vllm --x 1 >/log"),
    ],
)
def test_a_number_does_not_become_that_of_a_redirection(script: str, edited: str) -> None:
    service = worker(script)
    service.set_argument("--x", "1")
    assert script_of(service) == edited


@pytest.mark.parametrize("end", ["\\", "\\\n", "\\\n  \n"])
def test_a_backslash_may_end_a_script(end: str) -> None:
    service = worker(f"python3 -m dynamo.vllm \\\n  --a b {end}")
    service.set_argument("--x", "1")
    assert script_of(service) == f"python3 -m dynamo.vllm \\\n  --a b --x 1 {end}"


@pytest.mark.parametrize(
    "value",
    [
        "$TARGET_MODEL",
        "${X:-/opt/m}",
        "$(cat /opt/args)",
        "$(ls -d /m/* | head -1)",
        "`ls *`",
        "$((2 * 3))",
        "${LIST[0]}",
        "${M%@*}",
        "$1",
        "$ARG_MODEL",
    ],
)
def test_what_the_shell_makes_a_value_of_is_replaced(value: str) -> None:
    """A word that looked like a list of options stayed, without the option before it."""
    service = worker(f"python3 -m dynamo.vllm --a 1 --x {value} --b 2")
    service.set_argument("--x", "1")
    assert script_of(service) == "python3 -m dynamo.vllm --a 1 --x 1 --b 2"


@pytest.mark.parametrize("more", ["$EXTRA_ARGS", "${VLLMARGS}", "$MY_OPTS", '"${ARGS[@]}"', '"$@"', "$EXTRA", "$FLAGS"])
def test_a_list_of_options_behind_a_flag_is_not_its_value(more: str) -> None:
    service = worker(f"python3 -m dynamo.vllm --x {more} --b 2")
    service.remove_argument("--x")
    assert script_of(service) == f"python3 -m dynamo.vllm {more} --b 2"


def test_a_positional_parameter_is_no_variable_of_the_container() -> None:
    script = Script("python3 -m dynamo.vllm --model $1", {}.get, ())
    assert [script.variables(word) for word in script.words] == [[], []]
