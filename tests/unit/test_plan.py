import json
import re
from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary import DynamoFaultLibrary
from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.aiperf import arguments_of
from DynamoFaultLibrary.load.plan import OPTIONS, Arrival, ConnectionReuse, LoadPlan, Option, Workload
from DynamoFaultLibrary.load.records import Endpoint
from DynamoFaultLibrary.load_cli import load_command


def plan(**changes: Any) -> LoadPlan:
    fields: dict[str, Any] = {
        "name": "background",
        "url": "http://127.0.0.1:1",
        "model": "m",
        "concurrency": 4,
        "request_count": 100,
        "workload": Workload(input_tokens=8, output_tokens=16),
    }
    return LoadPlan(**{**fields, **changes})


def test_a_load_has_as_many_requests_as_were_asked_for() -> None:
    assert plan().total == 100
    assert plan(request_count=None, requests_per_client=7).total == 28
    assert plan(request_count=None, duration_s=10.0).total is None


@pytest.mark.parametrize(
    "ends",
    [
        {"request_count": None},
        {"requests_per_client": 2},
        {"duration_s": 1.0},
        {"request_count": None, "requests_per_client": 1, "duration_s": 1.0},
    ],
)
def test_a_load_ends_by_exactly_one_of_three(ends: dict[str, Any]) -> None:
    with pytest.raises(LoadError, match="exactly one of request_count, requests_per_client and duration"):
        plan(**ends)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"concurrency": 0}, "concurrency of load 'background' must be above 0, not 0"),
        ({"request_count": -1}, "request_count of load 'background' must be above 0, not -1"),
        ({"request_count": None, "duration_s": 0.0}, "duration of load 'background' must be above 0, not 0"),
        ({"request_count": None, "duration_s": float("inf")}, "duration of load 'background' must be above 0, not inf"),
        ({"request_count": None, "requests_per_client": 0}, "requests_per_client of load 'background' must be above 0"),
        ({"request_rate": -0.5}, "request_rate of load 'background' must be above 0, not -0.5"),
        ({"request_rate": 0.0}, "request_rate of load 'background' must be above 0, not 0"),
        ({"request_rate": float("nan")}, "request_rate of load 'background' must be above 0, not nan"),
        ({"timeout_s": 0.0}, "timeout of load 'background' must be above 0, not 0"),
        ({"ramp_s": -1.0}, "ramp must be 0 or more, not -1"),
        ({"ramp_s": float("nan")}, "ramp must be 0 or more, not nan"),
        ({"ramp_s": float("inf")}, "ramp must be 0 or more, not inf"),
        ({"warmup_requests": -1}, "warmup_requests must be 0 or more, not -1"),
        ({"retries": -1}, "retries must be 0 or more, not -1"),
        ({"cancellation_delay_s": -0.1}, "cancellation_delay must be 0 or more, not -0.1"),
        ({"think_time_s": -0.1}, "think_time must be 0 or more, not -0.1"),
        ({"refused_pause_s": float("nan")}, "refused_pause must be 0 or more, not nan"),
        ({"think_time_s": 1.0, "request_rate": 1.0}, "think_time is for clients that send in turn; with request_rate"),
        (
            {"url": "http://host:x"},
            "load 'background' needs an address such as http://127.0.0.1:8000, not 'http://host:x'",
        ),
        ({"cancellation_rate": 1.5}, "cancellation_rate is a share from 0 to 1, not 1.5"),
        ({"cancellation_rate": -0.1}, "cancellation_rate is a share from 0 to 1, not -0.1"),
        (
            {"url": "localhost:8000"},
            "load 'background' needs an address such as http://127.0.0.1:8000, not 'localhost:8000'",
        ),
    ],
)
def test_a_load_that_cannot_be_is_an_error_with_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError) as raised:
        plan(**changes)
    assert str(raised.value).startswith(message)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"input_tokens": 0}, "input_tokens must be 1 or more, not 0"),
        ({"output_tokens": 0}, "output_tokens must be 1 or more, not 0"),
        ({"prefixes": 0}, "prefixes must be 1 or more, not 0"),
        ({"input_tokens_stddev": -1.0}, "input_tokens_stddev must be 0 or more, not -1"),
        ({"output_tokens_stddev": -0.5}, "output_tokens_stddev must be 0 or more, not -0.5"),
        ({"output_tokens_stddev": float("inf")}, "output_tokens_stddev must be 0 or more, not inf"),
        ({"prefix_tokens": -1}, "prefix_tokens must be 0 or more, not -1"),
        ({"prefix_tokens": 9}, "prefix_tokens are part of input_tokens, so at most 8, not 9"),
    ],
)
def test_requests_that_cannot_be_are_an_error_with_the_value(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(LoadError) as raised:
        Workload(**{"input_tokens": 8, **changes})
    assert str(raised.value) == message


def test_all_of_a_prompt_may_be_shared() -> None:
    assert Workload(input_tokens=8, prefix_tokens=8).prefix_tokens == 8


def test_a_load_is_described_in_one_line() -> None:
    assert plan().describe() == "4 clients, 100 requests, streaming chat, 8 tokens in, 16 out"
    unary = Workload(input_tokens=8, output_tokens=16, streaming=False, endpoint=Endpoint.COMPLETION)
    rated = plan(request_count=None, duration_s=2.5, request_rate=20.0, workload=unary)
    assert rated.describe() == ("4 clients, 2.5 s at 20 requests/s (constant), unary completion, 8 tokens in, 16 out")


def test_options_are_described_where_they_are_used() -> None:
    made = plan(
        request_rate=0.5, arrival=Arrival.POISSON, ramp_s=1.5, warmup_requests=3, retries=2, cancellation_rate=0.25
    )
    assert made.describe() == (
        "4 clients, 100 requests at 0.5 requests/s (poisson), streaming chat, 8 tokens in, 16 out, "
        "ramp 1.5 s, 3 for warm-up, 2 retries, 25% cancelled"
    )
    assert plan(think_time_s=1.5).describe() == (
        "4 clients, 100 requests, streaming chat, 8 tokens in, 16 out, think time 1.5 s"
    )


def test_a_plan_is_the_same_after_it_was_json() -> None:
    made = plan(
        request_rate=2.5,
        arrival=Arrival.POISSON,
        connections=ConnectionReuse.NEVER,
        ramp_s=1.0,
        seed=7,
        workload=Workload(endpoint=Endpoint.COMPLETION, extra_body={"a": {"b": 1}}, prefix_tokens=4, prefixes=2),
    )
    assert LoadPlan.from_json(json.loads(json.dumps(made.to_json()))) == made


def test_what_a_later_version_added_to_a_plan_is_left_out() -> None:
    data = plan().to_json()
    data["later"] = data["workload"]["later"] = 1
    assert LoadPlan.from_json(data) == plan()


@pytest.mark.parametrize("each", OPTIONS, ids=lambda each: each.name)
def test_keyword_command_and_plan_have_each_option_with_one_default_and_one_text(each: Option) -> None:
    """One description of a load's options: an argument, a flag and a field cannot differ."""
    library = DynamoFaultLibrary()
    arguments = dict(one for one in library.get_keyword_arguments("start_load") if isinstance(one, tuple))
    flags = {one.name: one for one in load_command.params}
    assert each.name in arguments
    assert each.text in library.get_keyword_documentation("start_load")
    assert each.text in (flags[each.name].help or "")
    given = LoadPlan.of("l", "http://127.0.0.1:1", "m", {} if each.name == "duration" else {each.name: each.default})
    owner = given.workload if each.field in Workload.__dataclass_fields__ else given
    if each.name not in ("duration", "seed"):
        assert getattr(owner, each.field) == each.plain(arguments[each.name] or each.default)


def test_what_users_cannot_set_of_a_load_is_known() -> None:
    """A field without a description would be one that users do not find."""
    plain = {each.name for owner in (LoadPlan, Workload) for each in fields(owner)} - {each.field for each in OPTIONS}
    assert plain == {"name", "url", "model", "workload", "check_sequence"}


def test_an_id_of_a_request_travels_in_a_header() -> None:
    """Seen in use, row 32."""
    plan = LoadPlan("lásť 図", "http://127.0.0.1:1", "m", 1, request_count=1)
    assert plan.request_id(7).isascii()
    assert plan.request_id(7) != LoadPlan("lásť 圖", "http://127.0.0.1:1", "m", 1, request_count=1).request_id(7)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"arrival": Arrival.POISSON}, "arrival=poisson says how requests of a rate are spread; it needs request_rate"),
        ({"cancellation_delay": timedelta(seconds=1)}, "it needs cancellation_rate"),
        ({"duration": timedelta(seconds=5), "ramp": timedelta(seconds=5)}, "ramp must be shorter than duration (5 s)"),
        ({"prefixes": 4}, "they need prefix_tokens"),
    ],
)
def test_a_setting_without_effect_is_refused(options: dict[str, Any], said: str) -> None:
    """It was taken and did nothing."""
    with pytest.raises(LoadError, match=re.escape(said)):
        LoadPlan.of("l", "http://127.0.0.1:1", "m", options)


def test_a_plan_of_earlier_is_read_whatever_it_sets() -> None:
    made = LoadPlan("l", "http://127.0.0.1:1", "m", duration_s=5.0, ramp_s=5.0, arrival=Arrival.POISSON)
    assert LoadPlan.from_json(made.to_json()) == made


def test_one_is_one_of_them() -> None:
    made = LoadPlan("l", "http://127.0.0.1:1", "m", 1, request_count=1)
    assert made.describe().startswith("1 client, 1 request, ")


def test_aiperf_pauses_for_no_refused_connection() -> None:
    made = LoadPlan.of("l", "http://127.0.0.1:1", "m", {"refused_pause": timedelta(seconds=2)})
    with pytest.raises(LoadError, match="no refused_pause"):
        arguments_of(made, "t", Path())


def test_an_extra_body_may_have_what_changes_no_judgement() -> None:
    for body in ({"n": 1, "top_p": 0.5, "nvext": {}}, {"stop": "x", "ignore_eos": False}, {"messages": []}):
        made = LoadPlan.of("l", "http://h", "m", {"extra_body": body})
        assert made.workload.extra_body == body


def test_prompts_of_ones_own_are_refused_where_answers_are_checked_by_the_prompt() -> None:
    with pytest.raises(LoadError, match=r"extra_body cannot have 'messages' .*: each token is checked by the prompt"):
        LoadPlan.of("l", "http://h", "m", {"extra_body": {"messages": []}}, check_sequence=True)
