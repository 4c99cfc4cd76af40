from datetime import timedelta

import pytest

from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.keywords.component import Number
from DynamoFaultLibrary.keywords.services import _parse, until_it_holds


@pytest.mark.parametrize(
    ("selector", "name", "labels"),
    [
        ("a_total", "a_total", {}),
        ("a:b_total{}", "a:b_total", {}),
        ('a{b="c"}', "a", {"b": "c"}),
        ('a{b="c",d="e f"}', "a", {"b": "c", "d": "e f"}),
        ('a{b="c", d=""}', "a", {"b": "c", "d": ""}),
    ],
)
def test_a_selector_is_written_as_prometheus_writes_it(selector: str, name: str, labels: dict[str, str]) -> None:
    assert _parse(selector) == (name, labels)


@pytest.mark.parametrize("selector", ["", "a b", "a{b=c}", "a{", '{b="c"}', 'a{b!="c"}'])
def test_what_is_no_selector_is_refused(selector: str) -> None:
    with pytest.raises(FaultLibraryError, match="is not a metric; write name, or name"):
        _parse(selector)


def test_a_value_may_become_what_it_should_be() -> None:
    seen: list[int] = []

    def look() -> int:
        seen.append(len(seen))
        assert len(seen) > 2, "not yet"
        return len(seen)

    assert until_it_holds(look, timedelta(seconds=5), 0.005) == 3


def test_a_value_that_stays_wrong_is_told() -> None:
    def look() -> int:
        raise AssertionError("it is 5")

    with pytest.raises(AssertionError, match="it is 5"):
        until_it_holds(look, timedelta(milliseconds=40), 0.005)


def test_numbers_are_compared_as_such() -> None:
    assert (Number.convert("2"), Number.convert(2.5), Number.convert("value > 1")) == (2.0, 2.5, "value > 1")
