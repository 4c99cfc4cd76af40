"""aiperf's files: its records read as ours, our figures written in its schema.

Facts: files of aiperf 0.13.0 (``schema_version`` 1.4).
"""

import csv
import zlib
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import orjson

from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.recovery import Aftermath, to_json
from DynamoFaultLibrary.load.statistics import Distribution, Figures
from DynamoFaultLibrary.load.table import OUTCOMES, Row, Table, rows_of
from DynamoFaultLibrary.load.windows import Segment

RECORDS_FILE = "profile_export.jsonl"
SUMMARY_FILE = "profile_export_aiperf.json"
CSV_FILE = "profile_export_aiperf.csv"
SCHEMA_VERSION = "1.4"
FAULTS_KEY = "dynamo_fault_faults"

_MS, _NS = 1e-3, 1e-9


def read_table(path: Path, clock_offset_s: float = 0.0) -> Table:
    """Read a ``profile_export.jsonl``; a torn last line and requests of the warm-up are left out.

    Times are Unix seconds less `clock_offset_s`.

    Raises:
        LoadError: the file is missing, or a line is no record of aiperf.
    """
    return Table.from_rows(rows_of(path, lambda data: _row(data, clock_offset_s), "record of aiperf"))


def _row(data: dict[str, Any], offset: float) -> Row | None:
    about, metrics = data["metadata"], data["metrics"]
    if about.get("benchmark_phase") == "warmup":
        return None
    started, ended = about["request_start_ns"] * _NS - offset, about["request_end_ns"] * _NS - offset
    latency = _value(metrics, "request_latency")
    gaps = _value(metrics, "inter_chunk_latency")
    none = float("nan")

    def seconds(name: str) -> float:
        value = _value(metrics, name)
        return none if value is None else value * _MS

    return (
        started,
        ended,
        ended - started if latency is None else latency * _MS,
        seconds("time_to_first_token"),
        seconds("inter_token_latency"),
        max(gaps) * _MS if gaps else none,
        _value(metrics, "input_sequence_length") or _value(metrics, "error_isl") or 0,
        _value(metrics, "output_sequence_length") or 0,
        0,
        zlib.crc32(str(about.get("conversation_id", "")).encode()),
        (data.get("error") or {}).get("code") or (none if data.get("error") else 200),
        OUTCOMES.index(_outcome(about, metrics, data.get("error"))),
        none,
        none,
        none,
    )


def _value(metrics: dict[str, Any], name: str) -> Any:
    """A metric of a record: ``{"value": …, "unit": …}``, in old files the bare value."""
    found = metrics.get(name)
    return found.get("value") if isinstance(found, dict) else found


def _outcome(about: dict[str, Any], metrics: dict[str, Any], error: dict[str, Any] | None) -> Outcome:
    if error is None and not about.get("was_cancelled"):
        return Outcome.OK if "request_latency" in metrics else Outcome.INCOMPLETE
    kind, code = str((error or {}).get("type", "")).lower(), (error or {}).get("code")
    if about.get("was_cancelled") or "cancel" in kind:
        return Outcome.CANCELLED
    if "timeout" in kind and not code:  # a server that answers 408 or 504 is another matter
        return Outcome.TIMEOUT
    if code is not None:
        return Outcome.HTTP_ERROR
    if "sse" in kind:
        return Outcome.STREAM_ERROR
    return Outcome.CONNECTION if any(word in kind for word in ("connect", "client", "os")) else Outcome.MALFORMED


def was_completed(directory: Path) -> bool:
    """Whether aiperf came to its end: it writes its summary last."""
    return (directory / SUMMARY_FILE).exists()


def write_exports(directory: Path, load: Segment, was_cancelled: bool, afters: Sequence[Aftermath] = ()) -> None:
    """Write the figures of a load as ``profile_export_aiperf.json`` and ``.csv``.

    What became of it after faults is in the JSON under a key of our own, since aiperf knows no faults. Its schema
    allows more keys than it names.
    """
    figures = load.figures
    metrics = _metrics(figures, load.rows.where(load.rows.is_ok))
    summary = {
        "schema_version": SCHEMA_VERSION,
        **metrics,
        "was_cancelled": was_cancelled,
        "error_summary": [
            {"error_details": {"code": None, "type": kind, "message": kind}, "count": count}
            for kind, count in figures.errors.items()
        ],
        **({FAULTS_KEY: [_fault(load, after) for after in afters]} if afters else {}),
    }
    (directory / SUMMARY_FILE).write_bytes(
        orjson.dumps(summary, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY)
    )
    columns = ["avg", "min", "max", "p50", "p90", "p95", "p99", "std"]
    with (directory / CSV_FILE).open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["Metric", *columns])
        for name, metric in metrics.items():
            title = f"{name.replace('_', ' ').title()} ({metric['unit']})"
            writer.writerow([title, *(f"{metric[c]:.3f}" if c in metric else "" for c in columns)])


def _fault(load: Segment, after: Aftermath) -> dict[str, Any]:
    """A fault, its times in seconds from the start of the load, and what became of the load in seconds after it."""
    fault = after.fault
    times = {"injected_s": fault.injected_s, "effective_s": fault.effective_s, "ended_s": fault.ended_s}
    since = {name: None if moment is None else float(moment - load.start_s) for name, moment in times.items()}
    return {"fault": fault.label, **since, **to_json(after)}


def _metrics(figures: Figures, good: Table) -> dict[str, dict[str, Any]]:
    spreads = {
        "request_latency": ("ms", 1000, figures.latency),
        "time_to_first_token": ("ms", 1000, figures.time_to_first_token),
        "inter_token_latency": ("ms", 1000, figures.inter_token_latency),
        "output_sequence_length": ("tokens", 1, Distribution.of(good.output_tokens)),
        "input_sequence_length": ("tokens", 1, Distribution.of(good.input_tokens)),
    }
    plain = {
        "request_throughput": ("requests/sec", figures.throughput),
        "output_token_throughput": ("tokens/sec", figures.token_throughput),
        "request_count": ("requests", float(figures.good)),
        "error_request_count": ("requests", float(figures.failed)),
        "benchmark_duration": ("sec", figures.seconds),
    }
    return {
        **{name: _spread(unit, by, spread) for name, (unit, by, spread) in spreads.items() if spread is not None},
        **{name: {"unit": unit, "avg": value} for name, (unit, value) in plain.items() if value is not None},
    }


def _spread(unit: str, by: int, spread: Distribution) -> dict[str, Any]:
    values = asdict(spread)
    count, mean = values.pop("count"), values.pop("mean")
    return {"unit": unit, "avg": mean * by, **{name: value * by for name, value in values.items()}, "count": count}
