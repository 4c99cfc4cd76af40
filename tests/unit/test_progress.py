from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.progress import Progress


def progress(file: Path | None = None, **end: Any) -> Progress:
    return Progress(LoadPlan("l", "http://h", "m", 2, **(end or {"request_count": 1000})), file)


def event(elapsed: float, good: int = 0, errors: int = 0, cancelled: int = 0) -> dict[str, Any]:
    tally = {"started": 99, "good": good, "errors": errors, "cancelled": cancelled, "unsent": 0}
    return {"event": "progress", "elapsed_s": elapsed, "tally": tally}


def told(made: Progress, *times: float) -> list[float]:
    return [time for time in times if made.line(event(time))]


def test_a_line_is_made_each_ten_seconds() -> None:
    assert told(progress(), *(float(second) for second in range(1, 36))) == [10, 20, 30]


def test_a_late_line_does_not_delay_those_that_follow() -> None:
    assert told(progress(), 9.999, 10.4, 11.4, 19.9, 20.1, 30.0) == [10.4, 20.1, 30.0]


def test_a_short_load_has_no_line() -> None:
    assert told(progress(), 1.0, 9.9) == []


def test_a_line_tells_count_rate_errors_and_the_time_left() -> None:
    line = progress().line(event(20.0, good=180, errors=15, cancelled=5))
    assert line == "load 'l': 200 of 1000 requests in 20 s, 10.0/s, 15 errors, about 80 s left"


def test_a_load_that_ends_by_time_has_so_much_of_it_left() -> None:
    line = progress(duration_s=60.0).line(event(20.0, good=200))
    assert line == "load 'l': 200 requests in 20 s, 10.0/s, 0 errors, 40 s left"


def test_after_its_duration_a_load_has_no_time_left() -> None:
    assert progress(duration_s=15.0).line(event(20.0, good=2)).endswith(", 0 s left")


def test_while_nothing_has_ended_nobody_knows_the_time_left() -> None:
    assert progress().line(event(10.0)) == "load 'l': 0 of 1000 requests in 10 s, 0.0/s, 0 errors"


def test_at_its_very_start_a_load_has_no_rate() -> None:
    assert progress().describe(0.0, event(0.0)["tally"]) == "load 'l': 0 of 1000 requests in 0 s, 0.0/s, 0 errors"


@pytest.mark.parametrize("loads", [1, 2])
def test_lines_are_kept_in_a_file(loads: int, tmp_path: Path) -> None:
    file = tmp_path / "progress.log"
    lines = [
        made.line(event(time, good=1)) for made in [progress(file) for _ in range(loads)] for time in (10.0, 15.0, 20.0)
    ]
    assert file.read_text().splitlines() == [line for line in lines if line]
    assert len(file.read_text().splitlines()) == 2 * loads
