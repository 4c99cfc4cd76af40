from collections import Counter
from statistics import fmean, pstdev
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.engines.model import FIRST_WORD, TINY_MODEL, VOCABULARY_SIZE
from DynamoFaultLibrary.load.plan import LoadPlan, Workload
from DynamoFaultLibrary.load.records import Endpoint, RequestSpec
from DynamoFaultLibrary.load.workload import WORDS, RequestMaker, prompt_of

MANY = 400


def requests(
    count: int = MANY, model: str = "m", seed: int = 0, cancellation_rate: float = 0.0, **shape: Any
) -> list[RequestSpec]:
    plan = LoadPlan(
        "l",
        "http://h:1",
        model,
        4,
        request_count=count,
        seed=seed,
        cancellation_rate=cancellation_rate,
        cancellation_delay_s=0.5,
        retries=2,
        timeout_s=9.0,
        workload=Workload(**shape),
    )
    maker = RequestMaker(plan)
    return [maker.make(number % 4, warmup=False) for number in range(count)]


@pytest.mark.parametrize("tokens", [1, 8, 10, 11, 100])
def test_a_prompt_has_so_many_words(tokens: int) -> None:
    assert len(prompt_of(tokens).split()) == tokens


@given(
    tokens=st.integers(1, 40),
    stddev=st.sampled_from([0, 0.5, 30]),
    prefix=st.integers(0, 40),
    seed=st.integers(0, 3),
)
def test_whatever_its_length_a_prompt_has_as_many_words_as_it_says(
    tokens: int, stddev: float, prefix: int, seed: int
) -> None:
    shape = {"input_tokens": tokens, "input_tokens_stddev": stddev, "prefix_tokens": min(prefix, tokens)}
    for spec in requests(20, seed=seed, **shape):
        assert len(spec.prompt.split()) == spec.input_tokens >= 1
        assert stddev or spec.input_tokens == tokens


def test_without_a_deviation_all_lengths_are_the_same() -> None:
    made = requests(20, input_tokens=30, output_tokens=7)
    assert {(spec.input_tokens, spec.max_tokens) for spec in made} == {(30, 7)}


def test_lengths_are_spread_around_their_mean() -> None:
    made = requests(input_tokens=200, input_tokens_stddev=20, output_tokens=100, output_tokens_stddev=10)
    for lengths, mean, deviation in (
        ([spec.input_tokens for spec in made], 200, 20),
        ([spec.max_tokens for spec in made], 100, 10),
    ):
        assert fmean(lengths) == pytest.approx(mean, rel=0.03)
        assert pstdev(lengths) == pytest.approx(deviation, rel=0.2)


def test_an_answer_has_a_token_at_least() -> None:
    lengths = [spec.max_tokens for spec in requests(output_tokens=1, output_tokens_stddev=50)]
    assert min(lengths) == 1
    assert max(lengths) > 1


def test_each_prompt_is_unlike_the_others() -> None:
    assert len({spec.prompt for spec in requests(input_tokens=16)}) == MANY


def test_prompts_share_as_many_beginnings_as_there_are_prefixes() -> None:
    made = requests(input_tokens=16, prefix_tokens=8, prefixes=3)
    beginnings = Counter(tuple(spec.prompt.split()[:8]) for spec in made)
    assert len(beginnings) == 3
    assert min(beginnings.values()) > MANY / 6
    assert len({tuple(spec.prompt.split()[8:]) for spec in made}) == MANY


def test_a_prompt_shorter_than_its_prefix_is_cut_from_it() -> None:
    made = requests(input_tokens=8, input_tokens_stddev=4, prefix_tokens=8)
    longest = max(made, key=lambda spec: spec.input_tokens).prompt.split()[:8]
    shorter = [spec for spec in made if spec.input_tokens < 8]
    assert shorter
    assert all(spec.prompt.split() == longest[: spec.input_tokens] for spec in shorter)


def test_the_same_seed_makes_the_same_requests() -> None:
    shape: dict[str, Any] = {"input_tokens_stddev": 3, "output_tokens_stddev": 3, "prefix_tokens": 2, "prefixes": 2}
    assert requests(seed=7, cancellation_rate=0.5, **shape) == requests(seed=7, cancellation_rate=0.5, **shape)
    assert [spec.prompt for spec in requests(seed=7)] != [spec.prompt for spec in requests(seed=8)]


def test_the_tiny_model_is_asked_in_words_that_it_knows() -> None:
    words = {word for spec in requests(50, model=TINY_MODEL) for word in spec.prompt.split()}
    assert all(FIRST_WORD <= int(word) < VOCABULARY_SIZE for word in words)


def test_other_models_are_asked_in_english_words() -> None:
    assert {word for spec in requests() for word in spec.prompt.split()} == set(WORDS)


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_so_large_a_share_of_requests_is_given_up(share: float) -> None:
    made = requests(cancellation_rate=share)
    assert {spec.cancel_after_s for spec in made} <= {None, 0.5}
    assert fmean(spec.cancel_after_s is not None for spec in made) == pytest.approx(share, abs=0.07 if share % 1 else 0)


def test_requests_of_the_warm_up_are_never_given_up() -> None:
    maker = RequestMaker(LoadPlan("l", "http://h", "m", 1, request_count=1, cancellation_rate=1.0))
    made = maker.make(0, warmup=True)
    assert (made.warmup, made.cancel_after_s) == (True, None)
    assert maker.make(0, warmup=False).cancel_after_s == 0


def test_a_request_is_what_its_plan_says() -> None:
    body = {"nvext": {"x": 1}}
    made = requests(2, endpoint=Endpoint.COMPLETION, streaming=False, extra_body=body, check_sequence=True)
    assert [spec.id for spec in made] == ["load-l-0", "load-l-1"]
    assert [spec.client for spec in made] == [0, 1]
    spec = made[1]
    assert (spec.url, spec.model, spec.load, spec.retries, spec.timeout_s) == ("http://h:1", "m", "l", 2, 9.0)
    assert (spec.endpoint, spec.streaming, spec.extra_body, spec.check_sequence) == (
        Endpoint.COMPLETION,
        False,
        body,
        True,
    )


def test_a_password_is_not_in_the_address_that_records_name() -> None:
    """An error of a record said ``no connection to http://me:s3cret@host``."""
    plan = LoadPlan("l", "http://me:s3%40cret@host:8000/base/", "m", request_count=1)
    made = RequestMaker(plan).make(0, warmup=False)
    assert made.url == "http://host:8000/base/"
    assert made.api == "http://me:s3%40cret@host:8000/base/v1/chat/completions"
