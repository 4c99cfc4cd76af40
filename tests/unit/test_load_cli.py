import itertools
import json
import re
import socket
import threading
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from DynamoFaultLibrary.load.client import Load
from DynamoFaultLibrary.load.folder import LoadState
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import whole
from DynamoFaultLibrary.load_cli import load_command, report_command
from DynamoFaultLibrary.load_limits import Limits

MODELS, CHAT = "/v1/models", "/v1/chat/completions"
Write = Callable[..., Path]


def load(*arguments: object) -> Result:
    return CliRunner().invoke(load_command, [str(argument) for argument in arguments])


def report(*arguments: object) -> Result:
    return CliRunner().invoke(report_command, [str(argument) for argument in arguments])


def refused(result: Result) -> str:
    """The one sentence of a command that failed."""
    assert result.exit_code == 1
    assert isinstance(result.exception, SystemExit), result.exception
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    return line


def misused(result: Result) -> str:
    """What a command says of wrong options."""
    assert result.exit_code == 2, result.output
    assert isinstance(result.exception, SystemExit), result.exception
    return result.stderr.splitlines()[-1]


@pytest.fixture
def serving(loopback: Any) -> Any:
    loopback.answer(MODELS, {"data": [{"id": "m"}]})
    usage = {"prompt_tokens": 4, "completion_tokens": 2}
    loopback.answer(CHAT, {"choices": [{"message": {"content": "a b"}, "finish_reason": "length"}], "usage": usage})
    return loopback


def test_an_address_is_needed() -> None:
    assert misused(load("localhost:8000")) == (
        "Error: a load needs an address such as http://127.0.0.1:8000, not 'localhost:8000': it does not begin with "
        "http:// or https://"
    )


@pytest.mark.parametrize(
    "url",
    ["http://127.0.0.1:1/?a=b c", "http://[::1", "http://127.0.0.1:99999", "http://", "nonsense", "ftp://127.0.0.1"],
)
def test_an_address_that_is_none_is_refused_before_anybody_is_asked(url: str) -> None:
    """It was a raw Python error, or a word about a model list."""
    assert misused(load(url)).startswith(f"Error: a load needs an address such as http://127.0.0.1:8000, not '{url}': ")


def test_a_user_and_a_password_are_shown_to_the_list_of_models_too(serving: Any, tmp_path: Path) -> None:
    """The host was looked up by the name ``user:secret@127.0.0.1``."""
    url = serving.url.replace("http://", "http://user:secret@")
    done = load(url, "--requests", 1, "--unary", "--output-tokens", 2, "--outputdir", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert {headers["authorization"] for _, headers, _ in serving.seen} == {"Basic dXNlcjpzZWNyZXQ="}
    assert {path for path, *_ in serving.seen} == {MODELS, CHAT}


def test_a_server_that_speaks_no_http_is_an_error() -> None:
    """It was a raw Python error."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def greet() -> None:
            connection, _ = listener.accept()
            with connection:
                connection.sendall(b"SSH-2.0-OpenSSH\r\n")
                connection.recv(65536)

        thread = threading.Thread(target=greet, daemon=True)
        thread.start()
        said = refused(load(f"http://127.0.0.1:{listener.getsockname()[1]}"))
        thread.join()
    assert "not a whole answer: BadStatusLine('SSH-2.0-OpenSSH" in said


def test_nobody_at_the_address_is_an_error_with_its_cause() -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{closed.getsockname()[1]}"
        said = refused(load(url))
    assert said.startswith(f"Error: no list of models from {url}/v1/models: ")
    assert "Connection refused" in said


@pytest.mark.parametrize("body", [b"<html>", [], {"data": 5}, {"data": [{}]}, {"models": []}], ids=repr)
def test_a_server_of_another_kind_is_an_error(body: Any, loopback: Any) -> None:
    loopback.answer(MODELS, body)
    assert refused(load(loopback.url)).startswith(f"Error: no list of models from {loopback.url}/v1/models: ")


def test_a_model_that_is_not_served_is_an_error_that_lists_those_that_are(serving: Any) -> None:
    assert refused(load(serving.url, "--model", "other")) == (
        f"Error: model 'other' is not served at {serving.url}; served are ['m']"
    )


@pytest.mark.parametrize(("served", "told"), [([], "none"), (["a", "b"], "['a', 'b']")])
def test_without_exactly_one_model_it_must_be_named(served: list[str], told: str, loopback: Any) -> None:
    loopback.answer(MODELS, {"data": [{"id": name} for name in served]})
    assert refused(load(loopback.url)) == (
        f"Error: name one with --model: not exactly one is served at {loopback.url}; served are {told}"
    )


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--extra-body", "{broken"], "Error: --extra-body is not valid JSON: "),
        (["--extra-body", "[1]"], "Error: --extra-body must be a JSON object, not [1]"),
        (["--rate", "-1"], "Error: --rate of load 'load' must be above 0, not -1"),
        (["--rate", "0"], "Error: --rate of load 'load' must be above 0, not 0"),
        (["--rate", "nan"], "Error: --rate of load 'load' must be above 0, not nan"),
        (["--requests", "-3"], "Error: --requests of load 'load' must be above 0, not -3"),
        (["--concurrency", "0"], "Error: --concurrency of load 'load' must be above 0, not 0"),
        (["--cancellation-rate", "2"], "Error: --cancellation-rate is a share from 0 to 1, not 2"),
        (["--requests", "1", "--duration", "1"], "Error: a load ends by exactly one of --requests, --requests-per-cl"),
        (["--prefix-tokens", "100"], "Error: --prefix-tokens are part of --input-tokens, so at most 16, not 100"),
        (["--ramp", "inf"], "Error: --ramp must be a time in seconds, not inf"),
        (["--ramp", "30"], "Error: --ramp must be shorter than --duration (30 s), not 30 s"),
        (["--arrival", "poisson"], "Error: --arrival=poisson says how requests of a rate are spread; it needs --rate"),
        (["--name", "a/b"], "Error: --name 'a/b' is not a name"),
        (["--name", ".."], "Error: --name '..' is not a name"),
        (["--name", "n" * 121], "Error: --name 'nnn"),
        (["--tokenizer", "t"], "Error: --tokenizer is for --engine aiperf"),
        (["--engine", "aiperf", "--retries", "1"], "Error: aiperf does not retry requests"),
    ],
)
def test_wrong_options_are_refused_by_their_names_before_anybody_is_asked(
    options: list[str], sentence: str, serving: Any, tmp_path: Path
) -> None:
    """They had the exit status of a load that failed, the names of the keyword, and asked the server first."""
    assert misused(load(serving.url, "-d", tmp_path / "out", *options)).startswith(sentence)
    assert serving.seen == []
    assert not (tmp_path / "out").exists()


def test_after_ctrl_c_the_exit_status_says_so(serving: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It was 0, as of a load that was sent as a whole."""

    def interrupted(load: Load, *_: Any) -> None:
        load.sender.wait_for(lambda event: event["event"] == "finished", timedelta(seconds=30), "its end")
        raise KeyboardInterrupt

    monkeypatch.setattr(Load, "wait", interrupted)
    result = load(serving.url, "-d", tmp_path / "out", "--unary", "--output-tokens", 2, "--requests", 2)
    assert result.exit_code == 130, result.output
    assert "stopped: what is in flight is given up" in result.stderr
    assert "Successful Requests" in result.stdout


@pytest.mark.parametrize("option", ["--arrival", "--endpoint", "--connections", "--engine"])
def test_a_choice_that_does_not_exist_is_refused_with_those_that_do(option: str) -> None:
    result = load("http://127.0.0.1:1", option, "other")
    assert result.exit_code == 2
    assert "'other' is not one of" in result.stderr


def test_results_of_a_load_are_not_written_over(serving: Any, write_load: Write) -> None:
    path = write_load("taken", (0, 1, Outcome.OK))
    assert refused(load(serving.url, "-d", path)) == (
        f"Error: '{path}' holds the results of a load already; choose another --outputdir"
    )


def test_a_load_is_sent_and_told(serving: Any, tmp_path: Path) -> None:
    shape = ["--unary", "--output-tokens", 2, "--extra-body", '{"top_p": 0.5}', "--requests", 5, "--concurrency", 2]
    result = load(serving.url, "-d", tmp_path / "out", *shape, "--json")
    assert result.exit_code == 0, result.output
    (told,) = json.loads(result.stdout)
    assert (told["state"], told["parts"]["all"]["good"], told["parts"]["all"]["requests"]) == ("completed", 5, 5)
    assert f"2 clients, 5 requests, unary chat, 16 tokens in, 2 out, results in {tmp_path / 'out'}" in result.stderr
    bodies = [body for path, _, body in serving.seen if path == CHAT]
    assert [(body["model"], body["max_tokens"], body["top_p"]) for body in bodies] == [("m", 2, 0.5)] * 5
    assert (tmp_path / "out" / "profile_export_aiperf.json").exists()


def test_a_password_is_sent_and_written_nowhere(serving: Any, tmp_path: Path) -> None:
    """It stood in load.json."""
    url = serving.url.replace("//", "//me:s3cret@")
    result = load(url, "-d", tmp_path / "out", "--unary", "--output-tokens", 2, "--requests", 2, "--retries", 1)
    assert result.exit_code == 0, result.output
    assert {headers.get("authorization") for path, headers, _ in serving.seen if path == CHAT} == {"Basic bWU6czNjcmV0"}
    assert report(tmp_path / "out").exit_code == 0
    written = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}
    assert [name for name, data in written.items() if b"s3cret" in data or b"bWU6czNjcmV0" in data] == []
    assert "s3cret" not in result.output
    assert json.loads(written["load.json"])["plan"]["url"] == serving.url


def test_a_password_is_not_told_where_the_model_is_not_served(serving: Any) -> None:
    told = refused(load(serving.url.replace("//", "//me:s3cret@"), "--model", "other"))
    assert f"served at {serving.url}" in told


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({"max_tokens": 5}, "--extra-body cannot have 'max_tokens' (5): it is what --output-tokens says"),
        ({"max_completion_tokens": 5}, "--extra-body cannot have 'max_completion_tokens' (5): it is what"),
        ({"stream": False}, "--extra-body cannot have 'stream' (false): it is what --streaming says"),
        ({"stream_options": None}, "--extra-body cannot have 'stream_options' (null): tokens are counted by the usage"),
        ({"n": 2}, "--extra-body cannot have 'n' (2): a request has one answer"),
        ({"stop": ["a"]}, "--extra-body cannot have 'stop' ([\"a\"]): it ends answers early, which needs"),
    ],
)
def test_an_extra_body_cannot_change_what_answers_are_judged_by(body: dict[str, Any], told: str) -> None:
    """With ``max_tokens`` all answers were "truncated", with ``n`` or ``stream`` "malformed"."""
    assert told in misused(load("http://127.0.0.1:1", "--extra-body", json.dumps(body)))


def test_a_load_without_a_good_response_is_an_error_that_keeps_its_records(serving: Any, tmp_path: Path) -> None:
    serving.answer(CHAT, {"error": "busy"}, status=503)
    result = load(serving.url, "-d", tmp_path / "out", "--unary", "--requests", 2)
    assert result.exit_code == 1
    assert "Error: load 'load' has ended without a good response; its first: http_error: 0 of 64" in result.stderr
    told = json.loads(report(tmp_path / "out", "--json").stdout)
    assert (told[0]["state"], told[0]["parts"]["all"]["errors"]) == ("given_up", {"http_error": 2})


@pytest.fixture
def failing(serving: Any) -> Any:
    """Answers one request well, the next with status 503, and so on."""
    well = serving.routes[CHAT]
    serving.answer("busy", {"error": "busy"}, status=503)
    answers = itertools.cycle((well, serving.routes["busy"]))

    def answer(handler: Any) -> None:
        next(answers)(handler)

    serving.routes[CHAT] = answer
    return serving


@pytest.mark.parametrize(
    ("limits", "status", "said"),
    [
        ([], 1, ["Error: 3 of 6 requests failed (3 http_error), expected at most 0"]),
        (["--max-errors", "2"], 1, ["Error: 3 of 6 requests failed (3 http_error), expected at most 2"]),
        (["--max-errors", "3"], 0, []),
        (["--min-success-rate", "0.5"], 0, []),
        (["--min-success-rate", "50%"], 0, []),
        (["--min-success-rate", "0.51"], 1, ["Error: success rate is 0.5000, expected at least 0.51"]),
        (
            ["--max-errors", "3", "--max-ttft-p99", "60"],
            1,
            ["Error: there is no p99 time to first token: no good request delivered it, expected at most 60 s"],
        ),
        (["--max-errors", "3", "--max-p99", "60"], 0, []),
    ],
)
def test_a_load_that_breaks_a_limit_is_told_by_a_sentence_and_the_exit_status(
    limits: list[str], status: int, said: list[str], failing: Any, tmp_path: Path
) -> None:
    """13 of 20 requests failed, and the exit status was 0 (seen in use: missing in daily use)."""
    shape = ["--unary", "--output-tokens", 2, "--requests", 6, "--concurrency", 1]
    result = load(failing.url, "-d", tmp_path / "out", *shape, *limits)
    assert result.exit_code == status, result.output
    assert [line for line in result.stderr.splitlines() if line.startswith("Error: ")] == said
    assert "Successful Requests" in result.stdout


def test_a_latency_above_its_limit_is_told(serving: Any, tmp_path: Path) -> None:
    shape = ["--unary", "--output-tokens", 2, "--requests", 3]
    result = load(serving.url, "-d", tmp_path / "out", *shape, "--max-p99", "0.0000001")
    assert result.exit_code == 1
    assert re.search(r"Error: p99 latency is 0\.\d{3} s, expected at most 1e-07 s\n", result.stderr)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *(("--max-errors", value) for value in ("-1", "0.5", "many")),
        *(("--min-success-rate", value) for value in ("-0.1", "90", "nan", "101%", "many%")),
        *((option, value) for option in ("--max-p99", "--max-ttft-p99") for value in ("0", "-1", "nan", "inf", "2s")),
    ],
)
def test_a_limit_that_cannot_be_is_refused_at_once(option: str, value: str) -> None:
    result = load("http://127.0.0.1:1", option, value)
    assert result.exit_code == 2
    assert f"Invalid value for '{option}': " in result.stderr


GOOD = [(float(n), n + 0.5, Outcome.OK) for n in range(4)]


def test_loads_are_reported_for_programs(write_load: Write, tmp_path: Path) -> None:
    write_load("run/a", *GOOD)
    write_load("run/b", *GOOD, (4, 6, Outcome.TIMEOUT))
    result = report(tmp_path / "run", "--json", "--sla", "0.4")
    assert (result.exit_code, result.stderr) == (0, "")
    told = json.loads(result.stdout)
    assert [(each["title"], each["parts"]["all"]["good"]) for each in told] == [
        (str(tmp_path / "run" / "a"), 4),
        (str(tmp_path / "run" / "b"), 4),
    ]
    assert told[1]["parts"]["all"]["errors"] == {"timeout": 1}
    assert told[0]["violations"] == [4, 0]


def test_loads_are_reported_for_people(write_load: Write) -> None:
    one, two = write_load("one", *GOOD), write_load("two", *GOOD[:2])
    result = report(one, two)
    lines = result.stdout.splitlines()
    assert lines[:2] == [f"1: {one}", f"2: {two}"]
    assert any(line.split() == ["Total", "Requests", "4", "2"] for line in lines)
    assert any(line.split()[:4] == ["Scenario", "Failure", "Startup", "Success"] for line in lines)


def test_error_classes_are_rows_of_the_table(write_load: Write) -> None:
    one = write_load("one", *GOOD, (4, 6, Outcome.TIMEOUT), (5, 6, Outcome.TIMEOUT))
    two = write_load("two", *GOOD, (4, 5, Outcome.HTTP_ERROR))
    lines = [line.split() for line in report(one, two).stdout.splitlines()]
    place = lines.index(["Failed", "Requests", "2", "1"])
    assert lines[place + 1 : place + 3] == [["http_error", "0", "1"], ["timeout", "2", "0"]]


def test_a_page_is_written_where_it_was_asked_for(write_load: Write, tmp_path: Path) -> None:
    result = report(write_load("one", *GOOD), "--html", tmp_path / "page.html")
    assert result.exit_code == 0
    assert f"written: {tmp_path / 'page.html'}" in result.stderr
    assert (tmp_path / "page.html").read_text().startswith("<!DOCTYPE html>")


def test_partial_results_are_marked(write_load: Write) -> None:
    path = write_load("cut", *GOOD, state=LoadState.RUNNING)
    result = report(path, "--json")
    assert result.exit_code == 0
    assert result.stderr == f"PARTIAL (running): {path}\n"


def test_loads_without_a_record_are_left_out_but_told(write_load: Write, tmp_path: Path) -> None:
    write_load("run/empty", state=LoadState.GIVEN_UP)
    write_load("run/good", *GOOD)
    result = report(tmp_path / "run", "--json")
    assert [each["path"] for each in json.loads(result.stdout)] == [str(tmp_path / "run" / "good")]
    assert result.stderr == f"PARTIAL (given_up): {tmp_path / 'run' / 'empty'}\n"


def test_only_loads_without_a_record_are_an_error(write_load: Write) -> None:
    path = write_load("empty", state=LoadState.GIVEN_UP)
    assert refused(report(path)) == f"Error: no load in {path} has a finished request"


def test_an_empty_folder_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    assert refused(report(tmp_path)) == (
        f"Error: no load below '{tmp_path}': expected load.json and requests.jsonl of this library, "
        "or profile_export.jsonl of aiperf"
    )


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    assert refused(report(tmp_path / "none")) == f"Error: '{tmp_path}/none' is not a folder"


def test_a_broken_record_is_an_error_with_its_place(write_load: Write) -> None:
    path = write_load("broken", *GOOD)
    records = path / "requests.jsonl"
    records.write_bytes(b"{}\n" + records.read_bytes())
    assert refused(report(path)).startswith(f"Error: '{records}' line 1 is no record of schema 2: ")


def test_a_page_that_cannot_be_written_is_an_error(write_load: Write, tmp_path: Path) -> None:
    result = report(write_load("one", *GOOD), "--html", tmp_path / "none" / "page.html")
    assert refused(result).startswith(f"Error: cannot write '{tmp_path}/none/page.html': No such file or directory")


def test_a_load_that_was_cancelled_as_a_whole_keeps_no_limit() -> None:
    """No request had failed, so the command exited with 0."""
    record = Record("r", "load", 0, Endpoint.CHAT, True, 8, outcome=Outcome.CANCELLED)
    (sentence,) = Limits(max_errors=0).broken(whole(Table.of([record])).figures)
    assert sentence == "no request has ended that counts, expected at most 0 to fail"
