from collections.abc import Callable
from typing import Any

import pytest

from DynamoFaultLibrary.guard.job import Job, is_guard
from DynamoFaultLibrary.processes import ProcessId


@pytest.mark.parametrize(
    "job",
    [
        Job(7, "run-1", ProcessId(10, 100)),
        Job(7, "run-1", ProcessId(10, 100), ProcessId(9, 90), [ProcessId(11, 110), ProcessId(12, 120)]),
    ],
    ids=["robot alone", "under pabot"],
)
def test_a_job_is_the_same_after_it_was_a_command_line_argument(job: Job) -> None:
    assert Job.from_words(["-m", *job.to_words()]) == job


def test_a_guard_is_known_by_its_command_line(start: Callable[..., Any]) -> None:
    words = Job(7, "run-1", ProcessId(10, 100)).to_words()
    guard, other = start("/bin/sh", "-c", "read line; :", "sh", *words), start("/bin/sh", "-c", "read line; :")
    assert (is_guard(guard.pid), is_guard(other.pid)) == (True, False)
