"""The ledger file: append-only JSON lines, on disk before anything happens.

One file a run, ``$DYNAMO_FAULT_STATE/runs/<run>.jsonl``; the default state directory is
``$XDG_STATE_HOME/dynamo-fault``, which is ``~/.local/state/dynamo-fault`` unless set. Several processes append to it:
each line is one write under a lock, after a look at what the others have written: states move one way. Lines of faults
are followed by an fsync; those of processes and directories need to outlive us, not the machine. A line that a crash
has torn is skipped when reading, and never glued to the next one.

Whoever can write a ledger decides what its owner's processes undo, so a ledger of another user is neither read for
that nor written, and directories that are made here are for their owner alone.
"""

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic, utc_now, utc_text
from DynamoFaultLibrary.errors import LedgerError, StateError
from DynamoFaultLibrary.ledger.entry import Entry, State
from DynamoFaultLibrary.owner import Owner

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
    """Writes the ledger file of one run. `owner` is the process whose death means: undo all of this.

    With `foreign` it may be another user's, for root who was told to.
    """

    def __init__(self, run: str, owner: Owner, directory: Path | None = None, *, foreign: bool = False) -> None:
        if not _RUN_NAME.fullmatch(run):
            raise LedgerError(f"run id {run!r} must be letters, digits, '_', '.' or '-'")
        self.run = run
        self.owner = owner
        self.state = directory or state_directory()
        self.path = self.state / "runs" / f"{run}.jsonl"
        self._foreign = foreign
        self._view = LedgerView(self.path)

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
        self._append(entry, entry.to_json())
        return entry

    def mark(
        self,
        entry: Entry,
        state: State,
        detail: str = "",
        evidence: list[str] | None = None,
        *,
        came_off_s: float | None = None,
    ) -> Entry:
        """Record that `entry` has reached `state`; `evidence` is added to what it has.

        A closing state carries when it came off: `came_off_s` on the monotonic clock, else now. Closing what is closed
        already writes nothing: `entry` is then what the ledger says.

        Raises:
            LedgerError: the line is not on disk.
            StateError: somebody else has closed the entry meanwhile, and `state` is another.
        """
        line: dict[str, Any] = {"id": entry.id, "state": state.value, "detail": detail, "evidence": evidence or []}
        if not state.is_open:
            now = monotonic()
            moment = now if came_off_s is None else came_off_s
            line["came_off_at"] = (utc_now() - timedelta(seconds=now - moment)).astimezone(UTC).isoformat()
            line["came_off_monotonic_s"] = moment
        self._append(entry, line)
        return entry

    def renew(self, entry: Entry, expires_at: datetime) -> None:
        """Move the expiry of `entry`.

        Raises:
            LedgerError: the line is not on disk.
            StateError: it has come off meanwhile.
        """
        self._append(entry, {"id": entry.id, "expires_at": expires_at.isoformat()})

    def entries(self) -> dict[str, Entry]:
        """All entries as they are on disk now. Only what was written since the last look is read.

        Raises:
            LedgerError: the file cannot be read.
        """
        return self._view.refresh().entries

    def lease(self, owner: Owner) -> Path:
        """The file by which other machines see that an owner is alive; see `DynamoFaultLibrary.owner`."""
        return self._view.lease(owner)

    def make_place(self) -> None:
        """Make the directory that the ledger lies in, for its owner alone.

        Raises:
            LedgerError: it cannot be made.
        """
        try:
            make_private(self.path.parent)
        except OSError as error:
            raise self._cannot_be_written(error) from error

    def _cannot_be_written(self, error: OSError) -> LedgerError:
        return LedgerError(
            f"cannot write ledger '{self.path}': {error.strerror}; without a ledger no fault is injected"
        )

    def _append(self, entry: Entry, data: dict[str, Any]) -> None:
        """Write a line, unless what others have written forbids it, and have `entry` follow."""
        try:
            self.make_place()
            with locked(self.path) as descriptor:
                check_owner(descriptor, self.path, foreign=self._foreign)
                self._view.read_on(descriptor)
                written = self._view.entries.get(entry.id)
                if written is not None and not written.state.is_open:
                    entry.follow(written)
                known = written or entry
                wanted = State(data.setdefault("state", known.state.value))
                if not known.state.may_become(wanted):
                    if "expires_at" not in data and not wanted.is_open and known.state is wanted:
                        return
                    what = "be renewed" if "expires_at" in data else f"become {wanted.value}"
                    raise StateError(f"{entry.id} cannot {what}: it is {known.state.value} ({known.detail})")
                self._write(descriptor, {"at": utc_text(), **data}, durable=entry.is_fault)
        except OSError as error:
            raise self._cannot_be_written(error) from error
        if "kind" not in data:
            entry.changed(data)

    def _write(self, descriptor: int, data: dict[str, Any], durable: bool) -> None:
        line = json.dumps(data, separators=(",", ":"))
        size = os.fstat(descriptor).st_size
        torn = size > 0 and os.pread(descriptor, 1, size - 1) != b"\n"
        data_bytes = (("\n" if torn else "") + line + "\n").encode()
        written = os.write(descriptor, data_bytes)
        if written != len(data_bytes):
            os.ftruncate(descriptor, size)
            raise LedgerError(f"cannot write ledger '{self.path}': the disk took {written} bytes of a line")
        if durable:
            os.fsync(descriptor)


def make_private(directory: Path) -> None:
    """Make a directory, and those above it that are missing, for this user alone."""
    if directory.is_dir():
        return
    if not directory.parent.exists():
        make_private(directory.parent)
    directory.mkdir(mode=0o700, exist_ok=True)


def check_owner(descriptor: int, path: Path, *, foreign: bool = False) -> None:
    """See that an open ledger is this user's own; with `foreign` root may use another's.

    Raises:
        LedgerError: it is not.
    """
    found, user = os.fstat(descriptor), os.geteuid()
    owner = found.st_uid
    if stat.S_ISREG(found.st_mode) and owner != user and not (foreign and user == 0):
        raise LedgerError(
            f"ledger '{path}' belongs to user {owner}, not to user {user} who runs this, so nothing is done that it "
            "says; root may, with 'dynamo-fault recover --force'"
        )


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
    _file: tuple[int, int] | None = None
    _offset: int = 0
    _lines: int = 0

    @property
    def open_entries(self) -> list[Entry]:
        """What is left to undo, last one first."""
        return [entry for entry in reversed(self.entries.values()) if entry.state.is_open]

    def lease(self, owner: Owner) -> Path:
        """See `Ledger.lease`."""
        return self.path.with_name(f"{self.path.stem}.{owner.name}.lease")

    def is_alive(self, entry: Entry) -> bool:
        """Whether the owner of an entry runs."""
        return entry.owner.is_alive(self.lease(entry.owner))

    @property
    def has_living_owner(self) -> bool:
        """Whether any process runs that has written entries, closed ones included."""
        return any(owner.is_alive(self.lease(owner)) for owner in {entry.owner for entry in self.entries.values()})

    def refresh(self, *, foreign: bool = True) -> "LedgerView":
        """Read what was written since the last look, and return self. Without `foreign` it must be this user's own.

        Raises:
            LedgerError: the file cannot be read, or is another user's.
        """
        try:
            descriptor = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if not foreign:
                    check_owner(descriptor, self.path)
                self.read_on(descriptor)
            finally:
                os.close(descriptor)
        except OSError as error:
            raise LedgerError(f"cannot read ledger '{self.path}': {error.strerror}") from error
        return self

    def read_on(self, descriptor: int) -> None:
        """Read whole lines that were not read before; all of them if this is another file than the last time."""
        found = os.fstat(descriptor)
        if self._file != (found.st_dev, found.st_ino) or found.st_size < self._offset:
            self._file, self._offset, self._lines = (found.st_dev, found.st_ino), 0, 0
            self.entries.clear()
            self.corrupt.clear()
        size = found.st_size - self._offset
        data = os.pread(descriptor, size, self._offset) if size else b""
        while len(data) < size and (more := os.pread(descriptor, size - len(data), self._offset + len(data))):
            data += more
        whole, newline, _ = data.rpartition(b"\n")
        for line in whole.split(b"\n") if newline else ():
            self.read_line(line)
        self._offset += len(whole) + len(newline)

    def read_line(self, line: bytes) -> None:
        """Apply one line; what makes no sense goes to `corrupt`."""
        self._lines += 1
        if not line.strip():
            return
        try:
            data = json.loads(line)
            if "kind" in data:
                self.entries[data["id"]] = Entry.from_json(data)
            else:
                self.entries[data["id"]].changed(data)
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            self.corrupt.append(f"{self.path}:{self._lines}: {type(error).__name__}: {error}")

    def read_torn_line(self) -> None:
        """Report what stands behind the last whole line: whoever wrote it was killed."""
        with suppress(OSError), self.path.open("rb") as file:
            file.seek(self._offset)
            self.read_line(file.read())


def read_ledger(path: Path, *, foreign: bool = True) -> LedgerView:
    """Read a ledger file; a corrupt line is reported in the view and skipped. See `LedgerView.refresh`.

    Raises:
        LedgerError: the file cannot be read at all.
    """
    view = LedgerView(path).refresh(foreign=foreign)
    view.read_torn_line()
    return view
