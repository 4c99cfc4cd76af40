"""Which run this process belongs to, and which ledgers a run has."""

import itertools
import os
import re
import secrets
from datetime import UTC, datetime
from pathlib import Path

import psutil

from DynamoFaultLibrary.ledger.store import RUN_VARIABLE, state_directory
from DynamoFaultLibrary.pabot import pabot_above

_IMPORT = ".import-"
_taken: set[str] = set()


def take_run() -> str:
    """The id of this run, for one import of the library: the plain one for the first import of this process.

    Ledgers tell the processes of a run apart by their owner. Two imports in one process have the same: the end of one
    would take off what the other has injected. So another import has a ledger, and results, of its own.
    """
    run = _run_id()
    wanted = itertools.chain([run], (f"{run}{_IMPORT}{number}" for number in itertools.count(2)))
    taken = next(each for each in wanted if each not in _taken)
    _taken.add(taken)
    return taken


def leave_run(run: str) -> None:
    """That import is over."""
    _taken.discard(run)


def ledgers_of(run: str) -> list[Path]:
    """The ledger files of a run, of all imports."""
    found = (state_directory() / "runs").glob("*.jsonl")
    name = re.compile(rf"{re.escape(run)}({re.escape(_IMPORT)}\d+)?")
    return sorted((path for path in found if name.fullmatch(path.stem)), key=lambda path: path.stem)


def _run_id() -> str:
    """``$DYNAMO_FAULT_RUN``, else one from the start of pabot (the same for all its robots), else from our own."""
    given = os.environ.get(RUN_VARIABLE)
    if given:
        return given
    pabot = pabot_above()
    process = pabot or psutil.Process()
    started = datetime.fromtimestamp(process.create_time(), UTC)
    suffix = str(process.pid) if pabot else f"{process.pid}-{secrets.token_hex(2)}"
    return f"{started:%Y%m%d-%H%M%S}-{suffix}"
