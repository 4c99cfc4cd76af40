"""The yardstick of graph edits notices each way of losing one, and runs scripts where nothing can happen."""

import shlex
import socket
from pathlib import Path

import pytest

from tests import graph_oracle as oracle
from tests.graph_judge import ALL, Seen, judge
from tests.graph_sandbox import isolation, started

GRAPH = """
apiVersion: nvidia.com/v1beta1
kind: DynamoGraphDeployment
metadata: {name: g}
spec:
  components:
    - name: Door
      type: frontend
      podTemplate:
        spec:
          containers: [{name: main, command: [python3, -m, dynamo.frontend], args: [--http-port, "80"]}]
    - name: Pilot
      type: planner
      podTemplate:
        spec:
          containers: [{name: main, command: [python3, -m, dynamo.planner], args: [--model, acme/small]}]
    - name: Engine
      type: worker
      podTemplate:
        spec:
          containers: [{name: main, command: [sh, -c], args: ["exec python3 -m dynamo.vllm --model acme/small"]}]
"""
RIGHT = (
    ('[--http-port, "80"]', '[--http-port, "80", --http-host, 127.0.0.9, --router-mode, kv, --migration-limit, "3"]'),
    ("--model, acme/small", "--model, tiny-model"),
    ("--model acme/small", "--model tiny-model --max-num-seqs 7"),
    ("type: worker", "type: worker\n      replicas: 3"),
    ("name: main,", "name: main, image: example.org/x:1, env: [{name: PROBE, value: x}],"),
)


def edited(*replacements: tuple[str, str]) -> str:
    text = GRAPH
    for old, new in replacements:
        assert old in text
        text = text.replace(old, new)
    return text


def sentences(*replacements: tuple[str, str]) -> list[str]:
    before, after = Seen(GRAPH, "g", own=True, world=ALL.env), Seen(edited(*replacements), "g", own=True)
    return list(judge(before, after, ALL, []))


def test_what_is_right_is_not_complained_about() -> None:
    assert sentences(*RIGHT) == []


@pytest.mark.parametrize(
    ("missing", "said"),
    [
        (0, "Door: --http-host arrived 0 times"),
        (1, "Pilot command line: the model is still the old one, and nothing says so"),
        (2, "Engine: --model is ['acme/small']"),
        (3, "Engine: replicas of a worker became 1"),
        (4, "Engine: image of a worker is None"),
    ],
)
def test_an_edit_that_is_missing_is_noticed(missing: int, said: str) -> None:
    assert said in sentences(*(pair for index, pair in enumerate(RIGHT) if index != missing))


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('[sh, -c], args: ["exec', '[sh, -c], args: ["# exec', "Engine: 1 programs became 0"),
        ("--max-num-seqs 7", "# --max-num-seqs 7", "Engine: --max-num-seqs arrived 0 times"),
        ("--max-num-seqs 7", "--max-num-seqs 8", "Engine: --max-num-seqs arrived as ['8']"),
        ("type: planner", "type: planner\n      replicas: 3", "Pilot: replicas of a planner became 3"),
        ("[python3, -m, dynamo.frontend]", "[python3]", "Door: 1 programs became 0"),
    ],
)
def test_an_edit_that_went_wrong_is_noticed(old: str, new: str, said: str) -> None:
    before, text = Seen(GRAPH, "g", own=True, world=ALL.env), edited(*RIGHT)
    assert old in text
    assert said in list(judge(before, Seen(text.replace(old, new), "g", own=True), ALL, []))


LINE = "python3 -m dynamo.vllm --model a --enforce-eager -tp 4"


@pytest.mark.parametrize(
    ("after", "said"),
    [
        (f"{LINE} --x 1", ""),
        ("python3 -m dynamo.vllm --model a --enforce-eager --x=1 -tp 4", ""),
        (LINE, "--x arrived 0 times"),
        (f"{LINE} --x 1 --x 1", "--x arrived 2 times"),
        (f"{LINE} --x 1 2", "--x arrived as ['1', '2']"),
        (f"{LINE} -- --x 1", "--x arrived 0 times"),
        ("python3 --x 1 -m dynamo.vllm --model a --enforce-eager -tp 4", "--x went to the interpreter"),
        ("python3 -m dynamo.vllm --model --x 1 a --enforce-eager -tp 4", "--x arrived as ['1', 'a']"),
        ("python3 -m dynamo.vllm --model a --enforce-eager 4 --x 1", "more has changed: ['-tp'] became []"),
        ("python3 -m dynamo.vllm --enforce-eager --model a -tp 4 --x 1", "the order of words has changed"),
    ],
)
def test_a_command_line_is_compared_word_for_word(after: str, said: str) -> None:
    found = list(oracle.complaints(shlex.split(LINE), shlex.split(after), {"--x": "1"}))
    assert found[:1] == ([said] if said else [])


def test_kubernetes_expands_what_it_knows() -> None:
    assert oracle.expanded("$(A)-$(B)-$$(A)-$A", {"A": "1"}) == "1-$(B)-$(A)-$A"


def test_a_script_reaches_nothing_outside(tmp_path: Path) -> None:
    """No file, no port, no process of this machine: what it calls is written down only."""
    if not isolation():
        pytest.skip("no namespaces here, so foreign scripts are not run at all")
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)
        port = server.getsockname()[1]
        script = f"""
            echo spoilt > {tmp_path}/file
            rm -rf /bin/sh /usr/bin/env
            exec 3<>/dev/tcp/127.0.0.1/{port} && echo open >&3
            kill -9 0
        """
        assert started(["bash", "-c", f"/usr/sbin/reboot -f; python3 -m a & wait; {script}"], {}) != []
        with pytest.raises(BlockingIOError):
            server.accept()
    assert not list(tmp_path.iterdir())
    assert Path("/bin/sh").exists()


def test_a_foreign_script_is_not_run_without_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tests.graph_sandbox.isolation", lambda: ())
    with pytest.raises(PermissionError, match="not run without namespaces"):
        started(["sh", "-c", "python3 -m a"], {})
    assert [process.argv for process in started(["sh", "-c", "python3 -m a"], {}, own=True)] == [("python3", "-m", "a")]
