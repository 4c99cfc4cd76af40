import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.engines.model import FIRST_WORD, VOCABULARY_SIZE, write_tiny_model
from DynamoFaultLibrary.engines.sequence import PERIOD, Break, first_break, token_at

POSITIONS = st.integers(0, 10**6)
LENGTHS = st.integers(1, 60)


def answer(prompt: int, length: int) -> list[str]:
    return [str(token_at(prompt + index)) for index in range(length)]


@pytest.mark.parametrize(
    ("position", "token"), [(0, 10), (1, 11), (8181, 8191), (8182, 10), (8183, 11), (2 * 8182 + 5, 15)]
)
def test_a_token_is_told_by_its_position(position: int, token: int) -> None:
    assert token_at(position) == token


@given(POSITIONS)
def test_each_token_is_a_word_of_the_vocabulary_and_no_special_one(position: int) -> None:
    assert FIRST_WORD <= token_at(position) < VOCABULARY_SIZE


@given(POSITIONS)
def test_tokens_repeat_after_a_whole_period_only(position: int) -> None:
    assert token_at(position + PERIOD) == token_at(position)
    assert len({token_at(position + step) for step in range(0, PERIOD, 409)}) == len(range(0, PERIOD, 409))


@given(POSITIONS, LENGTHS)
def test_an_exact_answer_has_no_break(prompt: int, length: int) -> None:
    assert first_break(" ".join(answer(prompt, length)), prompt) is None


@given(POSITIONS, LENGTHS, st.data())
def test_a_lost_token_breaks_where_it_was(prompt: int, length: int, data: st.DataObject) -> None:
    words = answer(prompt, length + 1)
    lost = data.draw(st.integers(0, length - 1))
    found = first_break(" ".join(words[:lost] + words[lost + 1 :]), prompt)
    assert found == Break(lost, words[lost], words[lost + 1])


@given(POSITIONS, LENGTHS, st.data())
def test_a_repeated_token_breaks_behind_the_first_one(prompt: int, length: int, data: st.DataObject) -> None:
    words = answer(prompt, length + 1)
    twice = data.draw(st.integers(0, length - 1))
    found = first_break(" ".join(words[: twice + 1] + words[twice:]), prompt)
    assert found == Break(twice + 1, words[twice + 1], words[twice])


@given(POSITIONS, LENGTHS)
def test_an_answer_to_another_prompt_breaks_at_its_first_token(prompt: int, length: int) -> None:
    found = first_break(" ".join(answer(prompt + 1, length)), prompt)
    assert found is not None
    assert found.index == 0


def test_a_break_tells_place_and_words() -> None:
    assert str(first_break("18 19 99 21", 8)) == "token 2 is '99', expected '20'"


def test_an_empty_answer_has_no_break() -> None:
    assert first_break("", 8) is None


def test_white_space_between_tokens_does_not_matter() -> None:
    assert first_break(" 18\n19  20 ", 8) is None


def test_a_tiny_model_has_all_the_files_that_dynamo_reads(tmp_path: Path) -> None:
    directory = write_tiny_model(tmp_path / "deep" / "model")
    assert directory == tmp_path / "deep" / "model"
    files = {path.name: json.loads(path.read_text()) for path in directory.iterdir()}
    assert set(files) == {"config.json", "generation_config.json", "tokenizer_config.json", "tokenizer.json"}
    assert files["config.json"]["vocab_size"] == VOCABULARY_SIZE


def test_each_token_of_the_tiny_model_is_the_word_of_its_number(tmp_path: Path) -> None:
    model = json.loads((write_tiny_model(tmp_path) / "tokenizer.json").read_text())["model"]
    vocabulary = model["vocab"]
    assert sorted(vocabulary.values()) == list(range(VOCABULARY_SIZE))
    assert {word: token for word, token in vocabulary.items() if word != str(token)} == {
        "<unk>": 0,
        "<s>": 1,
        "</s>": 2,
    }
    assert vocabulary[model["unk_token"]] == 0


def test_files_of_a_model_that_are_there_are_kept_and_missing_ones_added(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text("{}")
    write_tiny_model(tmp_path)
    assert (tmp_path / "config.json").read_text() == "{}"
    assert (tmp_path / "tokenizer.json").exists()
    assert not list(tmp_path.glob("*.part"))
