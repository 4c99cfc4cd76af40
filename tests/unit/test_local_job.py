import pytest

from DynamoFaultLibrary.platforms.local.job import Job
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
    text = job.to_text()
    assert "\n" not in text
    assert Job.from_text(text) == job
