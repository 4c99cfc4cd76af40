"""The ledger file: append-only JSON lines, on disk before anything happens.

One file a run, ``$DYNAMO_FAULT_STATE/runs/<run>.jsonl``; the default state directory is
``$XDG_STATE_HOME/dynamo-fault``, which is ``~/.local/state/dynamo-fault`` unless set. Several processes append to it:
each line is one write under a lock. Lines of faults are followed by an fsync; those of processes and directories need
to outlive us, not the machine. A line that a crash has torn is skipped when reading, and never glued to the next one.
"""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import utc_text
from DynamoFaultLibrary.errors import LedgerError
from DynamoFaultLibrary.ledger.entry import Entry, Owner, State

STATE_VARIABLE = "DYNAMO_FAULT_STATE"
RUN_VARIABLE = "DYNAMO_FAULT_RUN"
"""Names the run for all robots that are started with it in their environment."""

_RUN_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")


def state_directory() -> Path:
    """Where this library keeps what must outlive a run; see the module's documentation."""
    chosen = os.environ.get(STATE_VARIABLE)
    if chosen:
        return Path(chosen).absolute()
    base = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
    return Path(base) / "dynamo-fault"


class Ledger:
    """Writes the ledger file of one run. `owner` is the process whose death means: undo all of this."""

    def __init__(self, run: str, owner: Owner, directory: Path | None = None) -> None:
        if not _RUN_NAME.fullmatch(run):
            raise LedgerError(f"run id {run!r} must be letters, digits, '_', '.' or '-'")
        self.run = run
        self.owner = owner
        self.path = (directory or state_directory()) / "runs" / f"{run}.jsonl"

    def intend(
        self,
        kind: str,
        target: dict[str, Any],
        undo: dict[str, Any],
        *,
        is_fault: bool = True,
        expires_at: datetime | None = None,
    ) -> Entry:
        """Record what is about to be done, and how to undo it. Only when this has returned may it be done.

        Raises:
            LedgerError: the line is not on disk.
        """
        entry = Entry.new(kind, target, undo, self.owner, is_fault, expires_at)
        self._append(entry.to_json(), durable=is_fault)
        return entry

    def mark(self, entry: Entry, state: State, detail: str = "", evidence: list[str] | None = None) -> Entry:
        """Record that `entry` has reached `state`; `evidence` is added to what it has.

        Raises:
            LedgerError: the line is not on disk.
        """
        line = {"id": entry.id, "state": state.value, "detail": detail, "evidence": evidence or []}
        self._append(line, durable=entry.is_fault)
        return entry.changed(line)

    def renew(self, entry: Entry, expires_at: datetime) -> None:
        """Move the expiry of `entry`."""
        line = {"id": entry.id, "state": entry.state.value, "expires_at": expires_at.isoformat()}
        self._append(line, durable=True)
        entry.changed(line)

    def make_place(self) -> None:
        """Make the directory that the ledger lies in.

        Raises:
            LedgerError: it cannot be made.
        """
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def _cannot_be_written(self, error: OSError) -> LedgerError:
        return LedgerError(
            f"cannot write ledger '{self.path}': {error.strerror}; without a ledger no fault is injected"
        )

    def _append(self, data: dict[str, Any], durable: bool) -> None:
        line = json.dumps({"at": utc_text(), **data}, separators=(",", ":"))
        try:
            self.make_place()
            with locked(self.path) as descriptor:
                size = os.fstat(descriptor).st_size
                torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
                data_bytes = (("\n" if torn else "") + line + "\n").encode()
                written = os.write(descriptor, data_bytes)
                if written != len(data_bytes):
                    os.ftruncate(descriptor, size)
                    raise LedgerError(f"cannot write ledger '{self.path}': the disk took {written} bytes of a line")
                if durable:
                    os.fsync(descriptor)
        except OSError as error:
            raise self._cannot_be_written(error) from error


@contextmanager
def locked(path: Path) -> Iterator[int]:
    """Open a ledger for appending, alone. A file that was put aside while we waited is not the ledger any more."""
    while True:
        descriptor = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        try:
            if os.path.samestat(os.fstat(descriptor), path.stat()):
                break
        except FileNotFoundError:
            pass
        os.close(descriptor)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


@dataclass
class LedgerView:
    """A ledger as read: its entries by id in the order of their intents, and the lines that made no sense."""

    path: Path
    entries: dict[str, Entry] = field(default_factory=dict)
    corrupt: list[str] = field(default_factory=list)

    @property
    def open_entries(self) -> list[Entry]:
        """What is left to undo, last one first."""
        return [entry for entry in reversed(self.entries.values()) if entry.state.is_open]


def read_ledger(path: Path) -> LedgerView:
    """Read a ledger file; a corrupt line is reported in the view and skipped.

    Raises:
        LedgerError: the file cannot be read at all.
    """
    view = LedgerView(path)
    try:
        lines = path.read_bytes().split(b"\n")
    except OSError as error:
        raise LedgerError(f"cannot read ledger '{path}': {error.strerror}") from error
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        try:
            data = json.loads(line)
            if "kind" in data:
                view.entries[data["id"]] = Entry.from_json(data)
            else:
                view.entries[data["id"]].changed(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            view.corrupt.append(f"{path}:{number}: {type(error).__name__}: {error}")
    return view
