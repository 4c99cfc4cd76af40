"""Take off all that a ledger still holds, knowing nothing but the file: for runs whose own undoing is gone too."""

import os
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from DynamoFaultLibrary.errors import LedgerError, RecoveryError
from DynamoFaultLibrary.ledger.entry import Entry, State
from DynamoFaultLibrary.ledger.store import Ledger, LedgerView, locked, make_private, read_ledger, state_directory
from DynamoFaultLibrary.ledger.undo import Rank, Reach, Undoer, sweep, undo, undoer_of
from DynamoFaultLibrary.owner import Owner, is_fresh
from DynamoFaultLibrary.plugins import LOCAL

GONE_WITH_DEPLOYMENT = "its deployment is gone"


@dataclass
class Recovery:
    """What became of one ledger's open entries."""

    path: Path
    recovered: list[Entry] = field(default_factory=list)
    failed: list[tuple[Entry, str]] = field(default_factory=list)
    alive: list[Entry] = field(default_factory=list)
    """Left alone, since the run that owns them lives."""
    elsewhere: list[Entry] = field(default_factory=list)
    """Left alone, since they can be undone on another machine only."""
    given_up: list[Entry] = field(default_factory=list)
    """Closed though nothing was done, since that machine is gone."""
    left: list[str] = field(default_factory=list)
    """What bears the run's name and is still there, a sentence each."""
    corrupt: list[str] = field(default_factory=list)
    refused: str = ""
    """Why nothing was done at all: it cannot be read, or is another user's."""

    @property
    def is_clean(self) -> bool:
        """Whether nothing is left."""
        return not (self.failed or self.alive or self.elsewhere or self.left or self.refused)


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
    sweeping: bool = False,
    concerns: Callable[[Entry], bool] = lambda entry: True,
) -> Recovery:
    """Undo the open entries of a ledger that `concerns` picks: faults first, then processes, then directories.

    Entries of a living owner are left alone unless `force` is given. What can be undone on another machine only is left
    alone, too, and so are ledgers of other users; with `foreign`, root acts on those, and what is on a machine that
    does not show that the run lives is given up. A replica that was killed is not started again: its deployment ends
    with its run, so there is nothing to start it for. With `sweeping`, platforms that the ledger names then take off
    what bears the run's name without being in the ledger, unless the run lives. With `dry_run` nothing is done, and the
    result holds what would be.
    """
    try:
        view = read_ledger(path, foreign=foreign and os.geteuid() == 0)
        ledger = Ledger(path.stem, Owner.current(), path.parents[1], foreign=foreign)
    except LedgerError as error:
        return Recovery(path, refused=str(error))
    found = Recovery(path, corrupt=view.corrupt)
    for entry in sorted(filter(concerns, view.open_entries), key=lambda entry: undoer_for(entry).rank):
        if view.is_alive(entry) and not force:
            found.alive.append(entry)
        elif (
            not entry.owner.is_here
            and undoer_for(entry).reach is not Reach.ANYWHERE
            and (not foreign or is_fresh(view.lease(entry.owner)))
        ):
            found.elsewhere.append(entry)
        else:
            _recover_entry(ledger, entry, found, dry_run)
    if sweeping and not dry_run and not found.elsewhere and (force or not view.has_living_owner):
        _sweep(view, found)
    return found


def _sweep(view: LedgerView, found: Recovery) -> None:
    """Not here: what is left on this machine is in the ledger, and a process may bear the run's name and be others'."""
    platforms = {str(entry.undo.get("platform", LOCAL)) for entry in view.entries.values()}
    for platform in sorted(platforms - {LOCAL}):
        try:
            found.left += sweep(platform, view.path.stem)
        except RecoveryError as error:
            found.left.append(f"nobody knows what is left on platform '{platform}': {error}")


def _recover_entry(ledger: Ledger, entry: Entry, found: Recovery, dry_run: bool) -> None:
    try:
        undoer = undoer_of(entry.undo)
        is_lost = undoer.reach is Reach.BOOT and not entry.owner.is_here
        done = f"given up: nothing was done on machine '{entry.owner.machine}', which is gone"
        if not is_lost and not dry_run:
            done = _take_off(undoer, entry, ledger.state, found)
    except Exception as error:  # whatever it is, the other entries are still to be undone
        found.failed.append((entry, str(error) or repr(error)))
        return
    (found.given_up if is_lost else found.recovered).append(entry)
    if dry_run:
        return
    try:
        ledger.mark(entry, State.IRREVERSIBLE if is_lost else State.RECOVERED, done)
    except LedgerError as error:
        found.failed.append((entry, f"{done}, but {error}"))


def _take_off(undoer: Undoer, entry: Entry, state: Path, found: Recovery) -> str:
    if undoer.reach is Reach.BOOT and entry.owner.was_here_before:
        return "gone: this machine has started anew since"
    if not undoer.goes_with_deployment:
        return undo(entry.undo, state)
    stays = [failed.id for failed, _ in found.failed if undoer_for(failed).rank is Rank.PROCESS]
    if stays:
        raise RecoveryError(f"its deployment is not gone: {', '.join(stays)}")
    return GONE_WITH_DEPLOYMENT


def undoer_for(entry: Entry) -> Undoer:
    """What undoes an entry. One that is not known comes first, and `undo` says what is wrong with it."""
    try:
        return undoer_of(entry.undo)
    except Exception:  # a platform of others, or a recipe that is none
        return Undoer(lambda recipe: "", Rank.FAULT, Reach.ANYWHERE)


def recover_owned(ledger: Ledger) -> Recovery:
    """Undo what the owner of `ledger` has left there, whether it lives or not."""
    if not ledger.path.exists():
        return Recovery(ledger.path)
    return recover(ledger.path, force=True, concerns=lambda entry: entry.owner == ledger.owner)


def recover_dead_runs(current: Path) -> None:
    """Recover what dead runs have left, but for the `current` ledger's, and put closed ledgers aside into ``done/``.

    Best effort, at the start of a run: what cannot be recovered stays open, and `dynamo-fault recover` names it.
    """
    for path in ledgers(current.parents[1]):
        if path == current:
            continue
        with suppress(LedgerError, OSError):  # another run was faster, or nothing can be written
            if not recover(path).refused:
                _put_aside_if_closed(path)


def _put_aside_if_closed(path: Path) -> None:
    done = path.parent / "done"
    make_private(done)
    with locked(path):
        view = read_ledger(path)
        if not view.open_entries and not view.has_living_owner:
            path.rename(done / f"{path.stem}.{path.stat().st_mtime_ns}.jsonl")
            for entry in view.entries.values():
                view.lease(entry.owner).unlink(missing_ok=True)


def problems(recoveries: Iterable[Recovery]) -> list[str]:
    """What is left, one sentence each."""
    return [line for recovery in recoveries for line in _problems_of(recovery)]


def _problems_of(recovery: Recovery) -> list[str]:
    elsewhere = [(entry, where_to_undo(recovery.path, [entry])) for entry in recovery.elsewhere]
    stays = [f"{entry.id} is not undone: {why}" for entry, why in [*recovery.failed, *elsewhere]]
    return [*stays, *recovery.left, *filter(None, [recovery.refused])]


def where_to_undo(path: Path, entries: Sequence[Entry]) -> str:
    """What is to be done about entries that are on another machine."""
    hosts = ", ".join(dict.fromkeys(f"'{entry.owner.machine}'" for entry in entries))
    return f"run 'dynamo-fault recover --run {path.stem}' on machine {hosts}"
