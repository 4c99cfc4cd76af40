"""Take off all that a ledger still holds, knowing nothing but the file: for runs whose own undoing is gone too."""

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from DynamoFaultLibrary.errors import LedgerError, RecoveryError
from DynamoFaultLibrary.ledger.entry import Entry, Owner, State
from DynamoFaultLibrary.ledger.store import Ledger, locked, read_ledger, state_directory
from DynamoFaultLibrary.ledger.undo import Rank, undo, undoer_of
from DynamoFaultLibrary.processes import ProcessId

GONE_WITH_DEPLOYMENT = "its deployment is gone"


@dataclass
class Recovery:
    """What became of one ledger's open entries."""

    path: Path
    recovered: list[Entry] = field(default_factory=list)
    failed: list[tuple[Entry, str]] = field(default_factory=list)
    alive: list[Entry] = field(default_factory=list)
    """Left alone, since the run that owns them lives."""
    corrupt: list[str] = field(default_factory=list)
    refused: str = ""
    """Why nothing was done at all: it cannot be read, or is another user's."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left."""
        return not self.failed and not self.alive and not self.refused


def ledgers(directory: Path | None = None) -> list[Path]:
    """All ledger files of a state directory, the oldest first."""
    runs = (directory or state_directory()) / "runs"
    found: list[tuple[float, Path]] = []
    for path in runs.glob("*.jsonl"):
        with suppress(FileNotFoundError):  # another run has put it aside
            found.append((path.stat().st_mtime, path))
    return [path for _, path in sorted(found)]


def recover(
    path: Path,
    *,
    force: bool = False,
    dry_run: bool = False,
    foreign: bool = False,
    concerns: Callable[[Entry], bool] = lambda entry: True,
) -> Recovery:
    """Undo the open entries of a ledger that `concerns` picks: faults first, then processes, then directories.

    Entries of a living owner are left alone unless `force` is given, ledgers of other users unless root gives
    `foreign`. A replica that was killed is not started again:
    its deployment ends with its run, so there is nothing to start it for. With `dry_run` nothing is done, and
    `recovered` holds what would be.

    Raises:
        LedgerError: the ledger cannot be read, or is another user's.
    """
    view = read_ledger(path, foreign=foreign and os.geteuid() == 0)
    found = Recovery(path, corrupt=view.corrupt)
    ledger = Ledger(path.stem, Owner(ProcessId.current()), path.parents[1], foreign=foreign)
    for entry in sorted(filter(concerns, view.open_entries), key=_rank):
        if entry.owner.is_alive and not force:
            found.alive.append(entry)
        elif dry_run:
            found.recovered.append(entry)
        else:
            _recover_entry(ledger, entry, found)
    return found


def _recover_entry(ledger: Ledger, entry: Entry, found: Recovery) -> None:
    try:
        gone = undoer_of(entry.undo).goes_with_deployment
        done = GONE_WITH_DEPLOYMENT if gone else undo(entry.undo, ledger.state)
    except Exception as error:  # whatever it is, the other entries are still to be undone
        found.failed.append((entry, str(error) or repr(error)))
        return
    found.recovered.append(entry)
    try:
        ledger.mark(entry, State.RECOVERED, done)
    except LedgerError as error:
        found.failed.append((entry, f"undone ({done}), but {error}"))


def _rank(entry: Entry) -> Rank:
    try:
        return undoer_of(entry.undo).rank
    except RecoveryError:
        return Rank.FAULT  # it will be told when it is its turn


def recover_dead_runs(current: Path) -> None:
    """Recover what dead runs have left, but for the `current` ledger's, and put closed ledgers aside into ``done/``.

    Best effort, at the start of a run: what cannot be recovered stays open, and `dynamo-fault recover` names it.
    """
    for path in ledgers(current.parents[1]):
        if path == current:
            continue
        with suppress(LedgerError, FileNotFoundError):  # another run was faster
            recover(path, concerns=lambda entry: not entry.owner.is_alive)
            _put_aside_if_closed(path)


def _put_aside_if_closed(path: Path) -> None:
    done = path.parent / "done"
    done.mkdir(exist_ok=True)
    with locked(path):
        view = read_ledger(path)
        if not view.open_entries and not any(entry.owner.is_alive for entry in view.entries.values()):
            path.rename(done / f"{path.stem}.{path.stat().st_mtime_ns}.jsonl")


def problems(recoveries: Iterable[Recovery]) -> list[str]:
    """What is left, one sentence each."""
    return [f"{entry.id} is not undone: {why}" for recovery in recoveries for entry, why in recovery.failed]
