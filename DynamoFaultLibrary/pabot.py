"""Who runs us: robot by itself, or pabot with one robot a suite."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import psutil

from DynamoFaultLibrary.processes import ProcessId, die_with_parent


def pabot_above() -> psutil.Process | None:
    """The pabot process that started this one, directly or not."""
    return next((parent for parent in psutil.Process().parents() if _is_pabot(parent)), None)


def _is_pabot(process: psutil.Process) -> bool:
    try:
        words = process.cmdline()
    except psutil.Error:
        return False
    return any(word == "pabot.pabot" or Path(word).name in ("pabot", "pabot.py") for word in words[:4])


def pabot_helpers(pabot: psutil.Process) -> list[ProcessId]:
    """Pabot's own server process: it would outlive a pabot that was killed."""
    found = []
    for child in pabot.children():
        with suppress(psutil.Error):
            if "pabot.pabotlib" in child.cmdline() and (identity := ProcessId.of(child.pid)):
                found.append(identity)
    return found


def end_with_pabot() -> None:
    """For a robot that pabot has started: get SIGTERM when pabot dies, to tear down instead of running on alone."""
    die_with_parent(signal.SIGTERM)
    if pabot_above() is None:  # it died before we asked
        os.kill(os.getpid(), signal.SIGTERM)
