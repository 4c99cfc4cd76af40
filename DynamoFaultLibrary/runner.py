"""Who runs us: robot by itself, or pabot with one robot a suite."""

import ctypes
import os
import signal
from pathlib import Path

import psutil

from DynamoFaultLibrary.processes import ProcessId

_PR_SET_PDEATHSIG = 1


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
        try:
            if "pabot.pabotlib" in child.cmdline():
                identity = ProcessId.of(child.pid)
                if identity:
                    found.append(identity)
        except psutil.Error:
            continue
    return found


def end_with_pabot() -> None:
    """Have the kernel send this process SIGTERM when pabot dies, so that it tears down instead of running on alone."""
    pabot = pabot_above()
    if pabot is not None and pabot.pid == os.getppid():
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
