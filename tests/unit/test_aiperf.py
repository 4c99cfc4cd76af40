import json
import os
import signal
import sys
from collections.abc import Callable
from datetime import timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import LoadError, Unsupported
from DynamoFaultLibrary.load import client, process
from DynamoFaultLibrary.load.aiperf import PATIENCE, arguments_of, find_aiperf
from DynamoFaultLibrary.load.client import Engine, Load
from DynamoFaultLibrary.load.plan import Arrival, ConnectionReuse, LoadPlan, Workload
from DynamoFaultLibrary.load.process import SenderProcess
from DynamoFaultLibrary.load.records import Endpoint
from DynamoFaultLibrary.modules import module_environment
from DynamoFaultLibrary.processes import ProcessId


def plan(**changes: Any) -> LoadPlan:
    fields: dict[str, Any] = {
        "name": "l",
        "url": "http://127.0.0.1:1",
        "model": "m",
        "concurrency": 4,
        "request_count": 100,
        "workload": Workload(input_tokens=32, output_tokens=16),
    }
    return LoadPlan(**{**fields, **changes})


def arguments(**changes: Any) -> list[str]:
    return arguments_of(plan(**changes), "tok", Path("/results"))


def option(name: str, **changes: Any) -> str | None:
    return next((value for given, value in pairwise(arguments(**changes)) if given == name), None)


def body(**changes: Any) -> dict[str, Any]:
    data: dict[str, Any] = json.loads(option("--extra-inputs", **changes) or "")
    return data


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("--model", "m"),
        ("--url", "http://127.0.0.1:1"),
        ("--endpoint-type", "chat"),
        ("--tokenizer", "tok"),
        ("--concurrency", "4"),
        ("--request-count", "100"),
        ("--synthetic-input-tokens-mean", "32"),
        ("--synthetic-input-tokens-stddev", "0.0"),
        ("--output-tokens-mean", "16"),
        ("--output-tokens-stddev", "0.0"),
        ("--request-timeout-seconds", "60.0"),
        ("--connection-reuse-strategy", "pooled"),
        ("--random-seed", "0"),
        ("--artifact-dir", "/results"),
        ("--ui", "none"),
    ],
)
def test_each_load_is_told_to_aiperf(name: str, value: str) -> None:
    assert option(name) == value


@pytest.mark.parametrize(
    ("changes", "name", "value"),
    [
        ({"workload": Workload(endpoint=Endpoint.COMPLETION)}, "--endpoint-type", "completions"),
        ({"workload": Workload(input_tokens_stddev=2.5)}, "--synthetic-input-tokens-stddev", "2.5"),
        ({"workload": Workload(output_tokens_stddev=1.5)}, "--output-tokens-stddev", "1.5"),
        ({"request_count": None, "requests_per_client": 3}, "--request-count", "12"),
        ({"request_count": None, "duration_s": 9.5}, "--benchmark-duration", "9.5"),
        ({"request_count": None, "duration_s": 9.5, "timeout_s": 7.0}, "--benchmark-grace-period", "7.0"),
        ({"timeout_s": 7.0}, "--request-timeout-seconds", "7.0"),
        ({"request_rate": 2.5}, "--request-rate", "2.5"),
        ({"request_rate": 2.5}, "--arrival-pattern", "constant"),
        ({"request_rate": 2.5, "arrival": Arrival.POISSON}, "--arrival-pattern", "poisson"),
        ({"ramp_s": 3.0}, "--concurrency-ramp-duration", "3.0"),
        ({"ramp_s": 3.0, "request_rate": 2.5}, "--request-rate-ramp-duration", "3.0"),
        ({"warmup_requests": 5}, "--warmup-request-count", "5"),
        ({"cancellation_rate": 0.25}, "--request-cancellation-rate", "25.0"),
        ({"cancellation_rate": 0.25, "cancellation_delay_s": 0.5}, "--request-cancellation-delay", "0.5"),
        ({"connections": ConnectionReuse.NEVER}, "--connection-reuse-strategy", "never"),
        ({"seed": 7}, "--random-seed", "7"),
        ({"workload": Workload(prefix_tokens=4, prefixes=3)}, "--num-prefix-prompts", "3"),
        ({"workload": Workload(prefix_tokens=4, prefixes=3)}, "--prefix-prompt-length", "4"),
    ],
)
def test_an_option_of_a_load_is_one_of_aiperf(changes: dict[str, Any], name: str, value: str) -> None:
    assert option(name, **changes) == value


@pytest.mark.parametrize(
    "name",
    [
        "--benchmark-duration",
        "--benchmark-grace-period",
        "--request-rate",
        "--arrival-pattern",
        "--concurrency-ramp-duration",
        "--request-rate-ramp-duration",
        "--warmup-request-count",
        "--request-cancellation-rate",
        "--num-prefix-prompts",
    ],
)
def test_what_a_load_does_not_ask_for_is_not_told(name: str) -> None:
    assert name not in arguments()


def test_a_load_that_ends_by_time_has_no_number_of_requests() -> None:
    assert option("--request-count", request_count=None, duration_s=1.0) is None


@pytest.mark.parametrize("streaming", [True, False])
def test_a_load_streams_if_it_is_to(streaming: bool) -> None:
    assert ("--streaming" in arguments(workload=Workload(streaming=streaming))) is streaming


@pytest.mark.parametrize(("prefix", "rest"), [(12, "20"), (32, "1")])
def test_a_prefix_is_part_of_the_prompt_although_aiperf_adds_it(prefix: int, rest: str) -> None:
    shape = Workload(input_tokens=32, prefix_tokens=prefix)
    assert option("--synthetic-input-tokens-mean", workload=shape) == rest


def test_an_answer_has_all_its_tokens() -> None:
    assert body() == {"ignore_eos": True, "min_tokens": 16, "temperature": 0}


def test_where_answers_differ_in_length_none_has_to_be_as_long_as_the_mean() -> None:
    assert "min_tokens" not in body(workload=Workload(output_tokens_stddev=3.0))


def test_an_extra_body_is_told_as_it_is() -> None:
    extra = {"ignore_eos": False, "stop": "a, b", "nvext": {"x": [1, 2], "y": None}}
    assert body(workload=Workload(output_tokens=16, extra_body=extra)) == {"min_tokens": 16, "temperature": 0, **extra}


def test_think_time_is_refused() -> None:
    with pytest.raises(LoadError, match="aiperf's clients do not pause between requests; use engine=native"):
        arguments(think_time_s=1.0)


def test_retries_are_refused() -> None:
    with pytest.raises(LoadError, match="aiperf does not retry requests; use engine=native, or retries=0"):
        arguments(retries=1)


@pytest.fixture
def without_aiperf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(sys, "executable", str(tmp_path / "python"))


@pytest.mark.usefixtures("without_aiperf")
def test_without_aiperf_the_engine_is_not_supported(tmp_path: Path) -> None:
    sentence = "engine=aiperf needs the program 'aiperf': install the extra 'aiperf' of this library"
    with pytest.raises(Unsupported, match=sentence):
        find_aiperf()
    with pytest.raises(Unsupported, match=sentence):
        Load(plan(), tmp_path / "load", Engine.AIPERF)
    assert not (tmp_path / "load").exists()


@pytest.mark.usefixtures("without_aiperf")
def test_aiperf_is_found_on_the_path(tmp_path: Path) -> None:
    program = tmp_path / "aiperf"
    program.touch(mode=0o755)
    assert find_aiperf() == str(program)


def test_clients_of_aiperf_do_not_pause() -> None:
    with pytest.raises(LoadError, match="use engine=native, or think_time=0"):
        arguments(think_time_s=1.0)


def test_a_load_of_aiperf_has_the_time_that_aiperf_needs() -> None:
    """Seen in use, row 29: it was killed after 5 s where aiperf has 10."""
    assert client._PATIENCE[Engine.AIPERF] > PATIENCE


LATE = """
import pathlib, subprocess, sys, time
child = subprocess.Popen(["sleep", "600"], start_new_session=True)
pathlib.Path(sys.argv[1]).with_name("pid").write_text(str(child.pid))
print('{"event": "there"}', flush=True)
time.sleep(600)
"""


def test_a_sending_process_that_is_late_ends_with_all_it_has_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    """Seen in use, row 29: aiperf's children stayed, in a process group of their own."""
    (tmp_path / "late_sender.py").write_text(LATE)
    monkeypatch.setenv("PYTHONPATH", f"{tmp_path}:{':'.join(sys.path)}")
    sender = SenderProcess(tmp_path / "load", "late_sender")
    sender.wait_for(lambda event: event["event"] == "there", timedelta(seconds=30), "its child")
    child = ProcessId.of(int((tmp_path / "load" / "pid").read_text()))
    assert child is not None
    sender.close(0.1)
    eventually(lambda: not child.is_running)


def test_a_password_is_refused_since_aiperf_writes_it() -> None:
    with pytest.raises(LoadError, match="aiperf writes the address that it is given into its files, with the password"):
        arguments(url="http://me:s3cret@host")


STAND_IN = """#!{python}
import pathlib, subprocess, sys, time
here = pathlib.Path(sys.argv[sys.argv.index("--artifact-dir") + 1])
apart = [subprocess.Popen(["sleep", "600"], start_new_session=new) for new in (True, False)]
(here / "pids.part").write_text(" ".join(str(each.pid) for each in apart))
(here / "pids.part").rename(here / "pids")
{rest}
"""


@pytest.fixture
def sending(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], tuple[Load, list[ProcessId]]]:
    """A load whose aiperf is a stand-in with two children, one of them in a session of its own."""

    def begin(rest: str) -> tuple[Load, list[ProcessId]]:
        program = tmp_path / "bin" / "aiperf"
        program.parent.mkdir()
        program.write_text(STAND_IN.format(python=sys.executable, rest=rest))
        program.chmod(0o755)
        monkeypatch.setenv("PATH", f"{program.parent}:{os.environ['PATH']}")
        load = Load(plan(), tmp_path / "load", Engine.AIPERF)
        load.sender.command("load", plan=load.plan.to_json(), tokenizer="t")
        pids = tmp_path / "load" / "pids"
        assert wait_until(pids.exists, 30.0)
        found = [ProcessId.of(int(pid)) for pid in pids.read_text().split()]
        return load, [each for each in found if each is not None]

    monkeypatch.setattr(
        process, "module_environment", lambda: {**module_environment(), "PYTHONPATH": _only_on_the_path(tmp_path)}
    )
    return begin


def _only_on_the_path(place: Path) -> str:
    """A search path for modules with which programs beside Python are not found."""
    (place / "sitecustomize.py").write_text(
        "import os, shutil\n_which = shutil.which\n"
        "shutil.which = lambda name, mode=1, path=None: _which(name, mode, os.environ['PATH'])\n"
    )
    return f"{place}:{':'.join(sys.path)}"


@pytest.mark.parametrize("how", ["killed", "given up"])
def test_all_that_aiperf_has_started_ends_with_its_sender(
    how: str,
    sending: Callable[[str], tuple[Load, list[ProcessId]]],
    eventually: Callable[[Callable[[], bool]], None],
) -> None:
    """When the sender was killed from outside, aiperf ended and its children stayed."""
    load, children = sending("time.sleep(600)")
    assert len(children) == 2
    if how == "killed":
        os.kill(load.sender.pid, signal.SIGKILL)
    else:
        load.give_up()
    eventually(lambda: not any(child.is_running for child in children))
    load.give_up()


def test_what_aiperf_leaves_behind_ends_as_well(
    sending: Callable[[str], tuple[Load, list[ProcessId]]], eventually: Callable[[Callable[[], bool]], None]
) -> None:
    load, children = sending("sys.exit(3)")
    event = load.sender.wait_for(lambda event: event["event"] == "finished", timedelta(seconds=30), "its end")
    assert event["error"].startswith("aiperf ended with exit status 3 and no summary")
    eventually(lambda: not any(child.is_running for child in children))
    load.give_up()
