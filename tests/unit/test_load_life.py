"""The life of a load and of single requests: what is refused at once, and what is said of one that was cut off."""

import os
import signal
from collections.abc import Callable, Iterator
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import LoadError, Unanswered
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.keywords.context import Context, Options
from DynamoFaultLibrary.keywords.load_checks import LoadCheckKeywords
from DynamoFaultLibrary.keywords.loads import LoadKeywords
from DynamoFaultLibrary.keywords.requests import RequestKeywords
from DynamoFaultLibrary.load import process
from DynamoFaultLibrary.load.client import Load, Request
from DynamoFaultLibrary.load.folder import LoadFolder, LoadState
from DynamoFaultLibrary.load.plan import LoadPlan, Workload
from DynamoFaultLibrary.load.process import SenderProcess
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record, RequestSpec

COMPLETIONS = "/v1/completions"
SOON = timedelta(seconds=10)
ANSWER = {"choices": [{"text": "a", "finish_reason": "length"}], "usage": {"completion_tokens": 1}}
SHAPE = Workload(input_tokens=4, output_tokens=1, endpoint=Endpoint.COMPLETION, streaming=False)


@pytest.fixture
def context() -> Context:
    return Context(Options("local", 1, timedelta(minutes=1), BlastRadius()))


@pytest.fixture
def begin(tmp_path: Path) -> Iterator[Callable[..., Load]]:
    made = []

    def load(url: str, name: str = "k", **changes: Any) -> Load:
        made.append(Load(LoadPlan(name, url, "m", 2, workload=SHAPE, **changes), tmp_path / name))
        return made[-1]

    yield load
    for each in made:
        each.give_up()


def test_a_load_whose_sender_was_killed_is_over(
    begin: Callable[..., Load], loopback: Any, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Checks said for ever that it "still runs"."""
    loopback.answer(COMPLETIONS, ANSWER)
    load = begin(loopback.url, duration_s=60.0)
    load.start("", SOON)
    context.loads["k"] = load
    os.kill(load.sender.pid, signal.SIGKILL)
    said = rf"load 'k' was aborted: its sending process {load.sender.pid} was gone before its end \(killed by SIGKILL\)"
    loads, checks = LoadKeywords(context), LoadCheckKeywords(context)
    with pytest.raises(LoadError, match=said):
        loads.wait_for_load_completion("k", SOON)
    assert LoadFolder.read(load.folder.path).state is LoadState.GIVEN_UP
    for ask in (checks.load_should_have_zero_errors, checks.load_should_have_completed, loads.stop_load):
        with pytest.raises(LoadError, match=said + ", so what it recorded is partial"):
            ask("k")


def test_a_check_notices_that_the_sender_was_killed(
    begin: Callable[..., Load], loopback: Any, context: Context, eventually: Callable[[Callable[[], bool]], None]
) -> None:
    loopback.answer(COMPLETIONS, ANSWER)
    load = begin(loopback.url, duration_s=60.0)
    load.start("", SOON)
    context.loads["k"] = load
    os.kill(load.sender.pid, signal.SIGKILL)
    eventually(lambda: not load.sender.is_running)
    with pytest.raises(LoadError, match="was aborted"):
        LoadCheckKeywords(context).load_should_have_zero_errors("k")


HOUR = timedelta(hours=1)


@pytest.fixture
def arrived(
    loopback: Any, monkeypatch: pytest.MonkeyPatch
) -> Callable[[int], Callable[[BaseHTTPRequestHandler], None]]:
    """Has an hour be over for who waits, once so many requests have arrived: when that is depends on the machine."""

    def over_after(count: int) -> Callable[[BaseHTTPRequestHandler], None]:
        seen: list[None] = []
        monkeypatch.setattr(process, "monotonic", lambda: monotonic() + (7200 if len(seen) >= count else 0))
        return lambda handler: seen.append(None)

    return over_after


def test_a_load_without_a_good_response_in_time_says_what_came(
    begin: Callable[..., Load], loopback: Any, arrived: Any
) -> None:
    """It said where the records are, not what is in them."""
    loopback.answer(COMPLETIONS, {"error": "busy"}, status=503)
    note, busy = arrived(3), loopback.routes[COMPLETIONS]  # of two clients: one request at least has ended
    loopback.routes[COMPLETIONS] = lambda handler: (note(handler), busy(handler))
    load = begin(loopback.url, "y2", duration_s=60.0)
    said = (
        r"waited 3600 s for a good response to load 'y2'; instead came \d+ http_error; the first failure: http_error: "
    )
    with pytest.raises(Unanswered, match=said):
        load.start("", HOUR)


def test_a_load_that_hangs_says_that_nothing_came(begin: Callable[..., Load], loopback: Any, arrived: Any) -> None:
    note = arrived(2)

    def hang(handler: BaseHTTPRequestHandler) -> None:
        note(handler)
        loopback.ended.wait(10)

    loopback.routes[COMPLETIONS] = hang
    said = r"for a good response to load 'k'; no request has ended; 2 had no answer; see "
    with pytest.raises(Unanswered, match=said):
        begin(loopback.url, duration_s=60.0).start("", HOUR)


def test_nobody_waits_for_longer_than_a_load_lasts(begin: Callable[..., Load]) -> None:
    load = begin("http://127.0.0.1:1", duration_s=30.0)
    with pytest.raises(LoadError, match="load 'k' lasts 30 s, so it never has run for 60 s"):
        load.wait_until_run(timedelta(seconds=60))


@pytest.mark.parametrize(
    ("name", "said"),
    [("requests", "load 'requests' is not a name for a load"), ("name=foo", "if 'name' is meant as an argument")],
)
def test_names_that_are_taken_or_meant_as_arguments_are_refused(
    name: str, said: str, context: Context, leave: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records of single requests were mixed with those of the load; a misspelt argument became its name."""
    context.graphs["g"] = SimpleNamespace(name="g")  # type: ignore[assignment]  # it is not looked at
    with pytest.raises(LoadError, match=said):
        LoadKeywords(context).start_load(name)


def test_a_prompt_of_any_length_harms_no_other_request(tmp_path: Path, loopback: Any) -> None:
    """A line of more than 16 MiB ended the process that sends all requests."""
    loopback.answer(COMPLETIONS, ANSWER)
    sender = SenderProcess(tmp_path / "requests")
    try:
        for number, prompt in enumerate(["a " * (20 * 2**20), "b"]):
            spec = RequestSpec(f"r-{number}", loopback.url, Endpoint.COMPLETION, "m", prompt, 1, False, 30.0)
            request = Request(spec, sender)
            sender.command("request", spec=spec.to_json())
            assert request.wait(timedelta(seconds=30)).outcome is Outcome.OK
    finally:
        sender.close()


def request(outcome: Outcome, *, streaming: bool = False) -> Request:
    record = Record("r", "", 0, Endpoint.CHAT, streaming, 8)
    record.outcome = outcome
    spec = RequestSpec("r", "http://127.0.0.1:1", Endpoint.CHAT, "m", "a", 8, streaming)
    return Request(spec, SimpleNamespace(), record)  # type: ignore[arg-type]  # it is not asked


@pytest.mark.parametrize(
    ("outcome", "hint"),
    [(Outcome.OK, "Request Should Have Succeeded"), (Outcome.CANCELLED, "Request Should Have Been Cancelled")],
)
def test_a_failure_that_is_none_cannot_be_asked_for(outcome: Outcome, hint: str, context: Context) -> None:
    keywords = RequestKeywords(context)
    with pytest.raises(LoadError, match=f"outcome '{outcome.value}' is no failure; see '{hint}'"):
        keywords.request_should_have_failed(request(outcome), outcome)
    with pytest.raises(AssertionError, match="should have failed with any error"):
        keywords.request_should_have_failed(request(outcome))


def test_tokens_of_a_unary_request_are_not_waited_for(context: Context) -> None:
    with pytest.raises(LoadError, match="is not streamed, so its tokens come all at once"):
        RequestKeywords(context).wait_for_tokens(request(Outcome.OK), 2)
