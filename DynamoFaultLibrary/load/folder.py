"""The folder of a load's results: what it was asked to do, how it ended, its records, and exports for other tools."""

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from enum import StrEnum
from functools import cached_property
from pathlib import Path
from typing import Any, Self

import orjson

from DynamoFaultLibrary.errors import FaultLibraryError, LoadError
from DynamoFaultLibrary.load import aiperf_files
from DynamoFaultLibrary.load.address import split_login
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.recovery import aftermaths
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.table import Table, read_table
from DynamoFaultLibrary.load.windows import FaultWindow, met_by, whole

RECORDS_FILE = "requests.jsonl"
STATE_FILE = "load.json"
STATE_VERSION = 1
LONGEST_NAME = 120
"""Bytes of a load's name or an alias; file systems take 255, and numbers are appended."""


def safe_name(name: str) -> str:
    """A name as a file name: ``Suites.Migration.Worker Death`` becomes ``migration.worker_death``."""
    text = re.sub(r"[^a-z0-9.]+", "_", name.lower()).strip("_.")
    return text.removeprefix("suites.") or f"suite_{zlib.crc32(name.encode()):08x}"


def check_name(argument: str, name: str) -> None:
    """Refuse a name that cannot be a folder's.

    Raises:
        FaultLibraryError: it is empty, has a slash or a control character, begins with a dot, or is too long.
    """
    if not name or name[0] == "." or "/" in name or not name.isprintable() or len(name.encode()) > LONGEST_NAME:
        raise FaultLibraryError(
            f"{argument} {name!r} is not a name: expected 1 to {LONGEST_NAME} bytes of any letters, without '/' and "
            "without a dot at the beginning, since a folder is called by it"
        )


class LoadState(StrEnum):
    """How far a load has come."""

    RUNNING = "running"
    """It runs, or whoever ran it was killed: its records may lack the last ones."""
    COMPLETED = "completed"
    STOPPED = "stopped"
    """No more requests were started; those in flight ended by themselves."""
    GIVEN_UP = "given_up"
    """What was in flight was cancelled."""

    @property
    def words(self) -> str:
        """It, for people."""
        return "aborted" if self is LoadState.GIVEN_UP else self.value


@dataclass
class LoadFolder:
    """Results of one load on disk. `plan` is None where another tool made them."""

    path: Path
    name: str
    plan: LoadPlan | None
    state: LoadState
    engine: str = "native"
    tally: dict[str, int] = field(default_factory=dict)
    test: str = ""
    """Full name of the test that it belongs to; empty: to its suite."""
    clock_offset_s: float = 0.0
    """What to take from the times of aiperf's records to get this machine's monotonic clock."""
    deployment: str = ""
    """Name of the deployment that it was sent to; empty: not known."""

    @property
    def is_complete(self) -> bool:
        """Whether nothing is missing at its end."""
        return self.state in (LoadState.COMPLETED, LoadState.STOPPED)

    @cached_property
    def table(self) -> Table:
        """Its records; read once. None of a load that was cut off before it could write one.

        Raises:
            LoadError: they are missing, or are no records.
        """
        is_ours = self.engine == "native"
        records = self.path / (RECORDS_FILE if is_ours else aiperf_files.RECORDS_FILE)
        if not self.is_complete and not records.exists():
            return Table.of([])
        return read_table(records) if is_ours else aiperf_files.read_table(records, self.clock_offset_s)

    @cached_property
    def served(self) -> Served | None:
        """Which replicas served its requests, if that was found out.

        Raises:
            LoadError: the file that tells is damaged.
        """
        return Served.read(self.path)

    def may_be_hit_by(self, target: Mapping[str, Any]) -> bool:
        """Whether a fault with that target was one of its deployment, as far as is known."""
        where = target.get("deployment")
        return not where or not self.deployment or where == self.deployment

    @property
    def ramp_s(self) -> float:
        """Seconds from its first start in which it grew."""
        return self.plan.ramp_s if self.plan else 0.0

    @property
    def think_s(self) -> float:
        """Seconds that its clients paused between two requests."""
        return self.plan.think_time_s if self.plan else 0.0

    @property
    def now_s(self) -> float | None:
        """When its records end, if requests were in flight then; None when the load came to its end."""
        return float(self.table.ended[-1]) if self.state is LoadState.RUNNING and len(self.table) else None

    def save(self) -> None:
        """Write what is known of the load beside its records."""
        state = {
            "version": STATE_VERSION,
            "name": self.name,
            "engine": self.engine,
            "state": self.state.value,
            "test": self.test,
            "clock_offset_s": self.clock_offset_s,
            "deployment": self.deployment,
            "tally": self.tally,
            "plan": {**asdict(self.plan), "url": split_login(self.plan.url)[0]} if self.plan else None,
        }
        partial = self.path / f"{STATE_FILE}.part"
        partial.write_bytes(orjson.dumps(state, option=orjson.OPT_INDENT_2))
        partial.replace(self.path / STATE_FILE)

    def export(self, faults: Sequence[FaultWindow] = ()) -> None:
        """Write the figures in aiperf's schema, as JSON and CSV, unless aiperf has done so; those after `faults` too.

        Raises:
            LoadError: there is no record.
        """
        if self.engine != "native":
            return
        load = whole(self.table)
        afters = aftermaths(self.table, met_by(load, faults), self.ramp_s, self.now_s, self.think_s)
        aiperf_files.write_exports(self.path, load, self.state is not LoadState.COMPLETED, afters)

    @classmethod
    def read(cls, path: Path) -> Self:
        """What lies in a folder, of this library or of aiperf.

        Raises:
            LoadError: it is no folder of a load's results.
        """
        state = path / STATE_FILE
        if state.exists():
            return cls._from_json(path, state)
        if (path / aiperf_files.RECORDS_FILE).exists():
            done = aiperf_files.was_completed(path)
            return cls(path, path.name, None, LoadState.COMPLETED if done else LoadState.RUNNING, engine="aiperf")
        raise LoadError(
            f"'{path}' holds no load: expected {STATE_FILE} and {RECORDS_FILE}, or aiperf's {aiperf_files.RECORDS_FILE}"
        )

    @classmethod
    def _from_json(cls, path: Path, state: Path) -> Self:
        try:
            data: dict[str, Any] = orjson.loads(state.read_bytes())
            return cls(
                path,
                data["name"],
                LoadPlan.from_json(data["plan"]) if data["plan"] else None,
                LoadState(data["state"]),
                data["engine"],
                data["tally"],
                data["test"],
                data["clock_offset_s"],
                data.get("deployment", ""),
            )
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise LoadError(f"'{state}' is not what this library writes: {error!r}") from error
