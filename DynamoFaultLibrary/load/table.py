"""The records of a load as columns: small in memory and quick to count, also for a million requests."""

import itertools
from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, Self

import numpy as np
import orjson
from numpy.typing import NDArray

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.load.records import SCHEMA_VERSION, Outcome, Record, complete_lines

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]
Row = tuple[float, ...]

OUTCOMES = list(Outcome)
_CODES = {outcome.value: code for code, outcome in enumerate(OUTCOMES)}
_IS_ERROR: Mask = np.array([outcome.is_error for outcome in OUTCOMES])
_NONE = float("nan")
_UUID_LENGTH = 36
_CHUNK = 65_536
"""Rows that are put into columns at a time."""


@dataclass(frozen=True, eq=False)
class Table:
    """One row a request, in the order in which they ended; requests for warm-up are left out.

    Times are in seconds, on the clock that the records have: this machine's monotonic clock, or for aiperf's records
    the time of day (Unix). A figure that a request did not deliver is NaN.
    """

    started: Floats
    ended: Floats
    latency: Floats
    """From the scheduled time, else from the start, to the end."""
    first_token: Floats
    """From the start to the first token."""
    token_latency: Floats
    """Mean time from token to token after the first one."""
    longest_gap: Floats
    """Longest pause between two chunks of the stream."""
    input_tokens: Floats
    output_tokens: Floats
    retries: Floats
    prompt: Floats
    """A number for each prompt."""
    status: Floats
    """HTTP status."""
    outcome: Floats
    """Index into `OUTCOMES`."""
    scheduled: Floats
    """When it was due; NaN without a schedule."""
    retried: Floats
    """End of its last attempt that failed and was followed by another one; NaN without one."""
    response: Floats
    """A number for the server's id of it, see `response_number`."""

    def __len__(self) -> int:
        return len(self.ended)

    @property
    def due(self) -> Floats:
        """When each was due: its scheduled time, else its start. Latency counts from there."""
        return np.where(np.isnan(self.scheduled), self.started, self.scheduled)

    @property
    def is_ok(self) -> Mask:
        """Rows of requests that did all that was asked for."""
        return self.has(Outcome.OK)

    @property
    def is_error(self) -> Mask:
        """Rows of requests that failed."""
        found: Mask = _IS_ERROR[self.outcome.astype(np.intp)]
        return found

    def has(self, outcome: Outcome) -> Mask:
        """Rows of requests with that outcome."""
        return np.equal(self.outcome, _CODES[outcome.value])

    def where(self, rows: Mask) -> Self:
        """Those rows."""
        return type(self)(*(getattr(self, each.name)[rows] for each in fields(self)))

    def slice(self, first: int, last: int) -> Self:
        """Rows from `first` up to `last`, which is not among them."""
        return type(self)(*(getattr(self, each.name)[first:last] for each in fields(self)))

    @classmethod
    def of(cls, records: Iterable[Record]) -> Self:
        """From records in memory."""
        return cls.from_rows(filter(None, (row_of(orjson.loads(record.to_line())) for record in records)))

    @classmethod
    def from_rows(cls, rows: Iterable[Iterable[float]]) -> Self:
        """From tuples with a value a column, in any order."""
        width = len(fields(cls))
        pieces: list[list[Floats]] = [[] for _ in range(width)]
        left = iter(rows)
        while chunk := array("d", itertools.chain.from_iterable(itertools.islice(left, _CHUNK))):
            for column, piece in enumerate(np.frombuffer(chunk).reshape(-1, width).T):
                pieces[column].append(piece.copy())
        columns = [np.concatenate(pieces.pop(0)) if pieces[0] else np.empty(0) for _ in range(width)]
        order = np.argsort(columns[1], kind="stable")
        for number in range(width):
            columns[number] = columns[number][order]  # one after the other, to need memory for one more only
        return cls(*columns)


def read_table(path: Path) -> Table:
    """Read a ``requests.jsonl``; a torn last line is left out.

    Raises:
        LoadError: the file is missing, or a line is no record.
    """
    return Table.from_rows(row for row in (_parse(path, *line) for line in enumerate(complete_lines(path), 1)) if row)


def rows_of(path: Path, row: Callable[[dict[str, Any]], Row | None], what: str) -> Iterator[Iterable[float]]:
    """What `row` makes of each line of a file of another tool; a torn last line is left out.

    Raises:
        LoadError: the file is missing, or a line is not `what`.
    """
    for number, line in enumerate(complete_lines(path), 1):
        try:
            if found := row(orjson.loads(line)):
                yield array("d", found)
        except (ValueError, TypeError, KeyError, AttributeError, IndexError) as error:
            raise LoadError(f"'{path}' line {number} is no {what}: {error!r}") from error


class Follower:
    """Reads a ``requests.jsonl`` that grows: each line once."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._rows: list[Iterable[float]] = []
        self._lines, self._offset = 0, 0

    def table(self) -> Table:
        """All records so far.

        Raises:
            LoadError: the file is missing, or a line is no record.
        """
        try:
            with self.path.open("rb") as file:
                file.seek(self._offset)
                whole, _, _ = file.read().rpartition(b"\n")
        except OSError as error:
            raise LoadError(f"cannot read records '{self.path}': {error.strerror}") from error
        if whole:
            self._offset += len(whole) + 1
            for line in whole.split(b"\n"):
                self._lines += 1
                row = _parse(self.path, self._lines, line)
                if row:
                    self._rows.append(row)
        return Table.from_rows(self._rows)


def _parse(path: Path, number: int, line: bytes) -> Iterable[float] | None:
    try:
        row = row_of(orjson.loads(line))
        return row and array("d", row)  # here, where a value that is no number can still be told by its line
    except (ValueError, TypeError, KeyError) as error:
        raise LoadError(f"'{path}' line {number} is no record of schema {SCHEMA_VERSION}: {error}") from error


def row_of(data: dict[str, Any]) -> Row | None:
    """The row of a record as JSON data; None for a request of the warm-up."""
    if data["version"] != SCHEMA_VERSION:
        raise ValueError(f"schema version {data['version']}, expected {SCHEMA_VERSION}")
    if data["warmup"]:
        return None
    started, ended, scheduled = data["started_monotonic_s"], data["ended_monotonic_s"], data["scheduled_monotonic_s"]
    first, gaps, tokens, prompt_tokens = data["ttft_s"], data["gaps_s"], data["output_tokens"], data["prompt_tokens"]
    return (
        started,
        ended,
        ended - (started if scheduled is None else scheduled),
        _NONE if first is None else first,
        sum(gaps) / (tokens - 1) if gaps and tokens > 1 else _NONE,
        max(gaps) if gaps else _NONE,
        data["input_tokens"] or prompt_tokens or 0,
        tokens,
        len(data["failed_attempts"]),
        data["prompt_hash"],
        data["status"] or _NONE,
        _CODES[data["outcome"]],
        _NONE if scheduled is None else scheduled,
        data["failed_attempts"][-1]["ended_monotonic_s"] if data["failed_attempts"] else _NONE,
        response_number(data["response_id"]),
    )


def response_number(response_id: str) -> float:
    """The last 48 bits of an id that ends in a UUID, so that a million of them are told apart in 8 MB; else NaN."""
    if len(response_id) < _UUID_LENGTH or response_id[-13] != "-":
        return _NONE
    try:
        return float(int(response_id[-12:], 16))
    except ValueError:
        return _NONE
