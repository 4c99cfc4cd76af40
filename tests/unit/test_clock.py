import os
import re
import subprocess
import sys
from datetime import UTC, datetime, timedelta, timezone

import pytest

from DynamoFaultLibrary.clock import monotonic, seconds_text, utc_text, wait_until


def test_a_moment_is_written_in_utc_with_microseconds() -> None:
    assert utc_text(datetime(2026, 1, 2, 3, 4, 5, 678, tzinfo=UTC)) == "2026-01-02T03:04:05.000678Z"


def test_a_moment_of_another_zone_is_written_in_utc() -> None:
    moment = datetime(2026, 1, 2, 3, 0, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    assert utc_text(moment) == "2026-01-01T21:30:00.000000Z"


def test_now_is_written_without_being_asked_for() -> None:
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", utc_text())
    assert abs(datetime.fromisoformat(utc_text()) - datetime.now(UTC)) < timedelta(seconds=10)


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0.0 ms"), (0.0004, "0.4 ms"), (0.0372, "37 ms"), (0.5, "500 ms"), (1, "1.00 s"), (2.514, "2.51 s")],
)
def test_a_duration_is_written_for_people(seconds: float, text: str) -> None:
    assert seconds_text(seconds) == text


def test_the_monotonic_clock_is_the_same_in_another_process() -> None:
    before = monotonic()
    script = "import time; print(time.clock_gettime(time.CLOCK_MONOTONIC))"
    there = float(subprocess.run([sys.executable, "-c", script], capture_output=True, check=True, text=True).stdout)
    assert before < there < monotonic()


def test_a_condition_that_holds_is_not_waited_for() -> None:
    assert wait_until(lambda: True, 0)


def test_a_condition_is_polled_until_it_holds() -> None:
    calls: list[int] = []
    assert wait_until(lambda: len(calls) == 3 or calls.append(os.getpid()) is not None, 5, 0.001)
    assert len(calls) == 3


@pytest.mark.parametrize("timeout", [0.02, timedelta(milliseconds=20)])
def test_waiting_ends_when_the_time_is_over(timeout: float | timedelta) -> None:
    began = monotonic()
    assert not wait_until(lambda: False, timeout)
    assert 0.02 <= monotonic() - began < 2


def test_the_condition_is_looked_at_once_more_when_the_time_is_over() -> None:
    answers = iter([False, True])
    assert wait_until(lambda: next(answers), 0)
