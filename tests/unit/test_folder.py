import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.folder import LoadFolder, LoadState
from DynamoFaultLibrary.load.plan import LoadPlan, Workload
from DynamoFaultLibrary.load.records import Outcome

PLAN = LoadPlan("l", "http://h", "m", 2, duration_s=1.0, workload=Workload(extra_body={"a": 1}))
GOOD = (1.0, 2.0, Outcome.OK)


def aiperf_line(start_s: float) -> str:
    metadata = {"request_start_ns": round(start_s * 1e9), "request_end_ns": round((start_s + 1) * 1e9)}
    return json.dumps({"metadata": metadata, "metrics": {"request_latency": {"value": 1000.0, "unit": "ms"}}}) + "\n"


@pytest.mark.parametrize("plan", [PLAN, None], ids=["planned", "by another tool"])
def test_a_folder_is_the_same_after_it_was_written(plan: LoadPlan | None, tmp_path: Path) -> None:
    made = LoadFolder(tmp_path, "l", plan, LoadState.STOPPED, "aiperf", {"good": 3}, "Suite.Test", 12.5)
    made.save()
    assert LoadFolder.read(tmp_path) == made
    assert [path.name for path in tmp_path.iterdir()] == ["load.json"]


def test_a_folder_is_written_again_when_its_load_has_ended(tmp_path: Path) -> None:
    made = LoadFolder(tmp_path, "l", PLAN, LoadState.RUNNING)
    made.save()
    made.state = LoadState.COMPLETED
    made.save()
    assert LoadFolder.read(tmp_path).state is LoadState.COMPLETED


@pytest.mark.parametrize(
    ("state", "complete"),
    [
        (LoadState.RUNNING, False),
        (LoadState.COMPLETED, True),
        (LoadState.STOPPED, True),
        (LoadState.GIVEN_UP, False),
    ],
)
def test_a_load_is_complete_when_all_its_requests_ended_by_themselves(
    state: LoadState, complete: bool, tmp_path: Path
) -> None:
    assert LoadFolder(tmp_path, "l", None, state).is_complete is complete


def test_its_records_are_read_from_it(write_load: Callable[..., Path]) -> None:
    assert LoadFolder.read(write_load("l", GOOD, (1, 3, Outcome.TIMEOUT))).table.ended.tolist() == [2, 3]


@pytest.mark.parametrize("engine", ["native", "aiperf"])
def test_a_load_that_was_cut_off_before_its_first_record_has_none(engine: str, tmp_path: Path) -> None:
    LoadFolder(tmp_path, "l", PLAN, LoadState.GIVEN_UP, engine).save()
    assert len(LoadFolder.read(tmp_path).table) == 0


@pytest.mark.parametrize(("engine", "file"), [("native", "requests.jsonl"), ("aiperf", "profile_export.jsonl")])
def test_a_complete_load_without_its_records_is_an_error_with_their_path(
    engine: str, file: str, tmp_path: Path
) -> None:
    LoadFolder(tmp_path, "l", PLAN, LoadState.COMPLETED, engine).save()
    with pytest.raises(LoadError, match=f"cannot read records '{tmp_path / file}': No such file"):
        _ = LoadFolder.read(tmp_path).table


def test_times_of_aiperf_are_put_on_our_clock(tmp_path: Path) -> None:
    LoadFolder(tmp_path, "l", PLAN, LoadState.COMPLETED, "aiperf", clock_offset_s=1_000_000.0).save()
    (tmp_path / "profile_export.jsonl").write_text(aiperf_line(1_000_007.5))
    table = LoadFolder.read(tmp_path).table
    assert (table.started[0], table.ended[0]) == (pytest.approx(7.5, abs=1e-5), pytest.approx(8.5, abs=1e-5))


@pytest.mark.parametrize(("done", "state"), [(True, LoadState.COMPLETED), (False, LoadState.RUNNING)])
def test_a_folder_of_aiperf_alone_is_a_load(done: bool, state: LoadState, tmp_path: Path) -> None:
    (tmp_path / "profile_export.jsonl").write_text(aiperf_line(1000.0))
    if done:
        (tmp_path / "profile_export_aiperf.json").write_text("{}")
    folder = LoadFolder.read(tmp_path)
    assert (folder.name, folder.plan, folder.engine, folder.state) == (tmp_path.name, None, "aiperf", state)
    assert folder.table.started.tolist() == pytest.approx([1000])


def test_a_folder_without_a_load_is_an_error_that_says_what_was_expected(tmp_path: Path) -> None:
    with pytest.raises(LoadError) as raised:
        LoadFolder.read(tmp_path)
    assert str(raised.value) == (
        f"'{tmp_path}' holds no load: expected load.json and requests.jsonl, or aiperf's profile_export.jsonl"
    )


def changed(**changes: Any) -> str:
    data = {"version": 1, "name": "l", "engine": "native", "state": "completed", "test": "", "clock_offset_s": 0.0}
    return json.dumps({**data, "tally": {}, "plan": PLAN.to_json(), **changes})


@pytest.mark.parametrize(
    "text",
    ["{", "", "[]", "{}", "5", changed(state="lost"), changed(plan=5), changed(plan={"workload": {}}), changed()[:-20]],
)
def test_a_broken_description_is_an_error_with_its_path(text: str, tmp_path: Path) -> None:
    state = tmp_path / "load.json"
    state.write_text(text)
    with pytest.raises(LoadError, match=f"'{state}' is not what this library writes: "):
        LoadFolder.read(tmp_path)


def test_what_a_later_version_adds_is_left_out(tmp_path: Path) -> None:
    (tmp_path / "load.json").write_text(changed(later=1, plan={**PLAN.to_json(), "later": 1}))
    assert LoadFolder.read(tmp_path).plan == PLAN


@pytest.mark.parametrize(
    ("state", "cancelled"),
    [(LoadState.COMPLETED, False), (LoadState.STOPPED, True), (LoadState.GIVEN_UP, True)],
)
def test_a_load_is_exported_with_whether_it_came_to_its_end(
    state: LoadState, cancelled: bool, write_load: Callable[..., Path]
) -> None:
    path = write_load("l", GOOD, state=state)
    LoadFolder.read(path).export()
    assert json.loads((path / "profile_export_aiperf.json").read_text())["was_cancelled"] is cancelled
    assert (path / "profile_export_aiperf.csv").exists()


def test_without_a_record_nothing_is_exported(write_load: Callable[..., Path]) -> None:
    path = write_load("l")
    with pytest.raises(LoadError, match="no finished request"):
        LoadFolder.read(path).export()
    assert not list(path.glob("profile_export*"))


def test_what_aiperf_has_exported_stays(tmp_path: Path) -> None:
    LoadFolder(tmp_path, "l", PLAN, LoadState.COMPLETED, "aiperf").export()
    assert list(tmp_path.iterdir()) == []
