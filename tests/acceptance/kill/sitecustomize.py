"""Loaded by each Python of a child run that is to be killed. At one step of a fault's life, robot stops and waits.

``KILL_STEP`` is intent, inject, active or undo; the file ``KILL_MARK`` appears when that step is reached.
"""

import os
import sys
import time
from pathlib import Path
from typing import Any

step = os.environ.get("KILL_STEP")
halted = False


def halt() -> None:
    """Say that we are there, and stay; once only, since an undo may be tried again."""
    global halted  # noqa: PLW0603
    if halted:
        return
    halted = True
    mark = Path(os.environ["KILL_MARK"])
    mark.touch()
    while mark.exists():
        time.sleep(0.01)


if step and sys.orig_argv[1:3] == ["-m", "robot"]:
    from DynamoFaultLibrary.ledger import Entry, Ledger, State
    from DynamoFaultLibrary.platforms.local.ends import Pause

    if step == "intent":
        intend = Ledger.intend

        def intend_and_halt(self: Ledger, *args: Any, **options: Any) -> Entry:
            entry = intend(self, *args, **options)
            if entry.is_fault:
                halt()
            return entry

        Ledger.intend = intend_and_halt  # type: ignore[method-assign]
    elif step == "inject":
        apply = Pause.apply

        def apply_and_halt(self: Pause) -> None:
            apply(self)
            halt()

        Pause.apply = apply_and_halt  # type: ignore[method-assign]
    elif step == "active":
        mark_state = Ledger.mark

        def mark_and_halt(self: Ledger, entry: Entry, state: State, *args: Any, **options: Any) -> Entry:
            marked = mark_state(self, entry, state, *args, **options)
            if state is State.ACTIVE:
                halt()
            return marked

        Ledger.mark = mark_and_halt  # type: ignore[method-assign]
    elif step == "undo":
        heal = Pause.heal

        def halt_and_heal(self: Pause) -> str:
            halt()
            return heal(self)

        Pause.heal = halt_and_heal  # type: ignore[method-assign]
