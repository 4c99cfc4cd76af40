import csv
import json
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load import aiperf_files
from DynamoFaultLibrary.load.aiperf_files import (
    FAULTS_KEY,
    SUMMARY_FILE,
    read_table,
    was_completed,
    write_exports,
)
from DynamoFaultLibrary.load.folder import LoadFolder, LoadState
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.table import OUTCOMES, Table
from DynamoFaultLibrary.load.windows import FaultWindow, whole
from DynamoFaultLibrary.reports.results import read_results

SECOND, BEGAN = 1_000_000_000, 1_790_000_000


def line(start: float = 0.0, end: float = 1.0, error: dict[str, Any] | None = None, **changes: Any) -> dict[str, Any]:
    """A record as aiperf 0.13.0 writes it, less what is not read; times are from a moment on."""
    metadata = {
        "session_num": 0,
        "x_request_id": "00000000-0000-4000-8000-000000000000",
        "conversation_id": "session_000000",
        "turn_index": 0,
        "credit_issued_ns": BEGAN * SECOND + round(start * SECOND) - 1_000_000,
        "request_start_ns": BEGAN * SECOND + round(start * SECOND),
        "request_end_ns": BEGAN * SECOND + round(end * SECOND),
        "worker_id": "worker_1",
        "benchmark_phase": "profiling",
        "was_cancelled": False,
    }
    metrics: dict[str, Any] = {"error_isl": {"value": 32, "unit": "tokens"}}
    if error is None:
        metrics = {
            "request_latency": {"value": (end - start) * 1000, "unit": "ms"},
            "time_to_first_token": {"value": 250.0, "unit": "ms"},
            "inter_chunk_latency": {"value": [50.0, 0.0, 200.0], "unit": "ms"},
            "inter_token_latency": {"value": 62.5, "unit": "ms"},
            "input_sequence_length": {"value": 32, "unit": "tokens"},
            "output_sequence_length": {"value": 5, "unit": "tokens"},
        }
    data = {"metadata": {**metadata, **changes}, "metrics": metrics}
    return data if error is None else {**data, "error": error}


def failure(kind: str, code: int | None = None) -> dict[str, Any]:
    return {"code": code, "type": kind, "message": "x"}


def write(directory: Path, *lines: dict[str, Any]) -> Path:
    path = directory / "profile_export.jsonl"
    path.write_text("".join(json.dumps(each) + "\n" for each in lines))
    return path


def outcomes(table: Table) -> list[Outcome]:
    return [OUTCOMES[int(code)] for code in table.outcome]


def test_a_good_request_is_read_with_all_its_figures(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, line(2.0, 2.5)), BEGAN)
    assert outcomes(table) == [Outcome.OK]
    assert (table.started[0], table.ended[0]) == (pytest.approx(2.0, abs=1e-6), pytest.approx(2.5, abs=1e-6))
    seen = (table.latency[0], table.first_token[0], table.token_latency[0], table.longest_gap[0])
    assert seen == pytest.approx((0.5, 0.25, 0.0625, 0.2))
    assert (table.input_tokens[0], table.output_tokens[0], table.retries[0], table.status[0]) == (32, 5, 0, 200)


def test_without_an_offset_times_are_those_of_day(tmp_path: Path) -> None:
    assert read_table(write(tmp_path, line(2.0, 2.5))).started[0] == pytest.approx(BEGAN + 2.0, abs=1e-6)


def test_requests_are_in_the_order_of_their_ends(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, line(0, 3), line(1, 2), line(0, 1)), BEGAN)
    assert table.ended.tolist() == pytest.approx([1, 2, 3], abs=1e-6)


def test_a_unary_request_has_no_times_of_tokens(tmp_path: Path) -> None:
    data = line()
    for name in ("time_to_first_token", "inter_chunk_latency", "inter_token_latency"):
        del data["metrics"][name]
    table = read_table(write(tmp_path, data))
    assert outcomes(table) == [Outcome.OK]
    assert np.isnan([table.first_token[0], table.token_latency[0], table.longest_gap[0]]).all()


def test_a_failed_request_has_its_length_and_status(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, line(1, 3, failure("Service Unavailable", 503))), BEGAN)
    assert (outcomes(table), table.status[0], table.input_tokens[0]) == ([Outcome.HTTP_ERROR], 503, 32)
    assert table.latency[0] == pytest.approx(2.0, abs=1e-6)
    assert np.isnan(table.first_token[0])


@pytest.mark.parametrize(
    ("error", "outcome"),
    [
        (failure("Not Found", 404), Outcome.HTTP_ERROR),
        (failure("Internal Server Error", 500), Outcome.HTTP_ERROR),
        (failure("Service Unavailable", 503), Outcome.HTTP_ERROR),
        (failure("TimeoutError"), Outcome.TIMEOUT),
        (failure("SocketTimeoutError"), Outcome.TIMEOUT),
        (failure("RequestSendTimeout", 0), Outcome.TIMEOUT),
        (failure("Request Timeout", 408), Outcome.HTTP_ERROR),
        (failure("Gateway Timeout", 504), Outcome.HTTP_ERROR),
        (failure("RequestCancellationError", 499), Outcome.CANCELLED),
        (failure("SSEResponseError"), Outcome.STREAM_ERROR),
        (failure("ClientConnectorError"), Outcome.CONNECTION),
        (failure("ServerDisconnectedError"), Outcome.CONNECTION),
        (failure("ClientPayloadError"), Outcome.CONNECTION),
        (failure("ClientOSError"), Outcome.CONNECTION),
        (failure("JSONDecodeError"), Outcome.MALFORMED),
    ],
    ids=lambda value: value["type"] if isinstance(value, dict) else "",
)
def test_an_error_has_its_class(error: dict[str, Any], outcome: Outcome, tmp_path: Path) -> None:
    assert outcomes(read_table(write(tmp_path, line(error=error)))) == [outcome]


def test_a_cancelled_request_is_no_error(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, line(was_cancelled=True)))
    assert outcomes(table) == [Outcome.CANCELLED]
    assert not table.is_error.any()


def test_a_request_without_an_error_and_a_latency_is_incomplete(tmp_path: Path) -> None:
    data = line()
    data["metrics"] = {}
    assert outcomes(read_table(write(tmp_path, data))) == [Outcome.INCOMPLETE]


def test_requests_of_the_warm_up_are_left_out(tmp_path: Path) -> None:
    assert len(read_table(write(tmp_path, line(benchmark_phase="warmup"), line()))) == 1


def test_each_conversation_is_a_prompt(tmp_path: Path) -> None:
    table = read_table(write(tmp_path, line(), line(), line(conversation_id="session_000001")))
    assert len(set(table.prompt)) == 2
    assert zlib.crc32(b"session_000000") in table.prompt


def test_old_versions_write_bare_values(tmp_path: Path) -> None:
    data = line(0.0, 0.5)
    data["metrics"] = {name: metric["value"] for name, metric in data["metrics"].items()}
    del data["metadata"]["benchmark_phase"]
    old, new = read_table(write(tmp_path, data)), read_table(write(tmp_path, line(0.0, 0.5)))
    for column in ("latency", "first_token", "token_latency", "longest_gap", "input_tokens", "output_tokens"):
        assert getattr(old, column).tolist() == getattr(new, column).tolist()


def test_a_torn_last_record_is_left_out(tmp_path: Path) -> None:
    path = write(tmp_path, line())
    path.write_text(path.read_text() + json.dumps(line())[:100])
    assert len(read_table(path)) == 1


@pytest.mark.parametrize(
    "text",
    [
        "{",
        "",
        "null",
        "[]",
        "{}",
        '{"metadata": {}}',
        '{"metadata": [], "metrics": {}}',
        '{"metadata": {}, "metrics": {}}',
    ],
)
def test_a_line_that_is_no_record_is_an_error_with_its_place(text: str, tmp_path: Path) -> None:
    path = tmp_path / "profile_export.jsonl"
    path.write_text(json.dumps(line()) + f"\n{text}\n")
    with pytest.raises(LoadError, match=f"'{path}' line 2 is no record of aiperf: "):
        read_table(path)


@pytest.mark.parametrize(
    "change",
    [{"metrics": {"request_latency": {"value": "1"}}}, {"metrics": {"time_to_first_token": []}}, {"error": "broken"}],
    ids=json.dumps,
)
def test_a_figure_of_another_kind_is_an_error_with_its_place(change: dict[str, Any], tmp_path: Path) -> None:
    path = write(tmp_path, {**line(), **change})
    with pytest.raises(LoadError, match=f"'{path}' line 1 is no record of aiperf: "):
        read_table(path)


def test_records_that_are_not_there_are_an_error_with_their_path(tmp_path: Path) -> None:
    with pytest.raises(LoadError, match=f"cannot read records '{tmp_path}/none.jsonl': No such file or directory"):
        read_table(tmp_path / "none.jsonl")


def test_aiperf_has_come_to_its_end_when_its_summary_is_there(tmp_path: Path) -> None:
    assert not was_completed(tmp_path)
    (tmp_path / "profile_export_aiperf.json").touch()
    assert was_completed(tmp_path)


def native(start: float, end: float, outcome: Outcome = Outcome.OK, status: int | None = 200) -> Record:
    made = Record("r", "l", 0, Endpoint.CHAT, True, 5, 32, outcome=outcome, status=status)
    made.started_monotonic_s, made.ended_monotonic_s = start, end
    if outcome is Outcome.OK:
        made.ttft_s, made.gaps_s, made.output_tokens = 0.25, [0.05, 0.0, 0.2], 5
    return made


LOADS = {
    "good and failed": (
        [
            native(0, 1),
            native(0.5, 2),
            native(1, 3.25, Outcome.HTTP_ERROR, 503),
            native(2, 3, Outcome.TIMEOUT, None),
            native(3, 3.5, Outcome.CANCELLED, None),
            native(3, 4, Outcome.CONNECTION, None),
            native(4, 6),
        ],
        [
            line(0, 1),
            line(0.5, 2),
            line(1, 3.25, failure("Service Unavailable", 503)),
            line(2, 3, failure("TimeoutError")),
            line(3, 3.5, failure("RequestCancellationError", 499), was_cancelled=True),
            line(3, 4, failure("ClientConnectorError")),
            line(4, 6),
        ],
    ),
    "all failed": (
        [native(0, 1, Outcome.HTTP_ERROR, 404), native(1, 2, Outcome.HTTP_ERROR, 404)],
        [line(0, 1, failure("Not Found", 404)), line(1, 2, failure("Not Found", 404))],
    ),
}


def flat(value: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(value, dict):
        return {path: value}
    return {key: leaf for name in value for key, leaf in flat(value[name], f"{path}.{name}").items()}


@pytest.mark.parametrize("name", LOADS)
def test_the_same_requests_recorded_by_aiperf_and_by_us_give_the_same_report(name: str, tmp_path: Path) -> None:
    records, lines = LOADS[name]
    ours, theirs = tmp_path / "ours", tmp_path / "theirs"
    for directory in (ours, theirs):
        directory.mkdir()
    plan = LoadPlan("l", "http://h", "m", 4, request_count=len(records))
    LoadFolder(ours, "l", plan, LoadState.COMPLETED).save()
    (ours / "requests.jsonl").write_bytes(b"".join(record.to_line() for record in records))
    write(theirs, *lines)
    (theirs / "profile_export_aiperf.json").write_text("{}")
    (mine,), (other,) = read_results(ours), read_results(theirs)
    assert flat(other.to_json(1.0)["parts"]) == pytest.approx(flat(mine.to_json(1.0)["parts"]), abs=1e-6)
    assert other.to_json(1.0)["violations"] == mine.to_json(1.0)["violations"]
    differ = {"Test Directory", "Number of Clients", "Avg Client Throughput (requests/s)"}
    assert dict(other.metrics()).items() - dict(mine.metrics()).items() <= {
        pair for pair in other.metrics() if pair[0] in differ
    }


@pytest.fixture
def exported(tmp_path: Path) -> dict[str, Any]:
    write_exports(tmp_path, whole(Table.of(LOADS["good and failed"][0])), was_cancelled=True)
    data: dict[str, Any] = json.loads((tmp_path / "profile_export_aiperf.json").read_text())
    return data


@pytest.mark.parametrize(
    ("metric", "unit"), [("request_latency", "ms"), ("time_to_first_token", "ms"), ("inter_token_latency", "ms")]
)
def test_times_are_exported_in_milliseconds_with_their_percentiles(
    metric: str, unit: str, exported: dict[str, Any]
) -> None:
    assert exported[metric]["unit"] == unit
    assert {"avg", "min", "max", "p50", "p90", "p95", "p99", "std", "count"} <= set(exported[metric])
    assert exported[metric]["count"] == 3


def test_figures_are_exported_by_the_names_that_aiperf_has(exported: dict[str, Any]) -> None:
    latency = exported["request_latency"]
    seen = [latency[name] for name in ("avg", "min", "p50", "p90", "p99", "max")]
    assert seen == pytest.approx([1500, 1000, 1500, 2000, 2000, 2000])
    assert exported["time_to_first_token"]["avg"] == pytest.approx(250)
    assert exported["inter_token_latency"]["p50"] == pytest.approx(62.5)
    assert exported["output_sequence_length"]["avg"] == 5
    assert exported["input_sequence_length"]["avg"] == 32
    assert exported["request_throughput"] == {"unit": "requests/sec", "avg": 0.5}
    assert exported["output_token_throughput"] == {"unit": "tokens/sec", "avg": 2.5}
    assert exported["benchmark_duration"] == {"unit": "sec", "avg": 6.0}


def test_counts_are_exported_as_aiperf_has_them(exported: dict[str, Any]) -> None:
    assert (exported["request_count"]["avg"], exported["error_request_count"]["avg"]) == (3.0, 3.0)
    assert exported["was_cancelled"] is True
    assert {each["error_details"]["type"]: each["count"] for each in exported["error_summary"]} == {
        "http_error": 1,
        "connection": 1,
        "timeout": 1,
    }


def test_an_export_of_failed_requests_has_no_times(tmp_path: Path) -> None:
    write_exports(tmp_path, whole(Table.of(LOADS["all failed"][0])), was_cancelled=False)
    data = json.loads((tmp_path / aiperf_files.SUMMARY_FILE).read_text())
    assert "request_latency" not in data
    assert data["was_cancelled"] is False
    assert (data["request_count"]["avg"], data["error_request_count"]["avg"]) == (0, 2)


def test_the_csv_has_a_line_for_each_metric(exported: dict[str, Any], tmp_path: Path) -> None:
    with (tmp_path / "profile_export_aiperf.csv").open(newline="") as file:
        rows = {row["Metric"]: row for row in csv.DictReader(file)}
    assert set(rows) == {
        f"{name.replace('_', ' ').title()} ({metric['unit']})"
        for name, metric in exported.items()
        if isinstance(metric, dict)
    }
    assert (rows["Request Latency (ms)"]["avg"], rows["Request Latency (ms)"]["p99"]) == ("1500.000", "2000.000")
    assert (rows["Request Count (requests)"]["avg"], rows["Request Count (requests)"]["p99"]) == ("3.000", "")


def test_what_became_of_a_load_after_a_fault_is_exported_where_readers_of_aiperf_do_not_look(tmp_path: Path) -> None:
    """The export said nothing of recovery."""
    records = LOADS["good and failed"][0]
    load = whole(Table.of(records))
    fault = FaultWindow("kill on W-0", load.start_s + 0.5, load.start_s + 0.75, None)
    folder = LoadFolder(tmp_path, "l", LoadPlan("l", "http://h", "m", 1, request_count=1), LoadState.COMPLETED)
    (tmp_path / "requests.jsonl").write_bytes(b"".join(record.to_line() for record in records))
    folder.export()
    plain = json.loads((tmp_path / SUMMARY_FILE).read_text())
    folder.export([fault, FaultWindow("never met", load.end_s + 1, load.end_s + 1, None)])
    data = json.loads((tmp_path / SUMMARY_FILE).read_text())
    (told,) = data.pop(FAULTS_KEY)
    assert data == plain
    assert (told["fault"], told["injected_s"], told["effective_s"], told["ended_s"]) == ("kill on W-0", 0.5, 0.75, None)
    assert told["full_recovery"].startswith("no baseline: ")
    models = pytest.importorskip("aiperf.common.models.export_models")
    read = models.JsonExportData.model_validate_json((tmp_path / SUMMARY_FILE).read_text())
    assert read.request_count.avg == data["request_count"]["avg"]
