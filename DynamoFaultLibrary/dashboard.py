"""Feeds robotframework-dashboard with runs, by its command: that is its documented interface."""

import subprocess
import sys
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.output_xml import output_of
from DynamoFaultLibrary.reports.run import Run

_MODULE = "robotframework_dashboard"
_TIMEOUT = 600.0


def feed(runs: Sequence[Run], page: Path) -> None:
    """Write the page, and the database beside it; runs that the database has already are passed over.

    Raises:
        FaultLibraryError: the package is missing, no run has an output.xml, or it does not write the page.
    """
    if find_spec(_MODULE) is None:
        raise FaultLibraryError(
            "--dashboard needs robotframework-dashboard: install 'robotframework-dynamofaultlibrary[dashboard]'"
        )
    outputs = [(run, output) for run in runs if (output := output_of(run.path)) is not None]
    if not outputs:
        raise FaultLibraryError("--dashboard needs an output.xml of Robot Framework, and no run here has one")
    unusable = next((output for _, output in outputs if ":" in str(output)), None)
    if unusable is not None:
        raise FaultLibraryError(f"robotframework-dashboard takes what follows ':' for tags, so rename '{unusable}'")
    before = page.stat().st_mtime_ns if page.exists() else None
    command = [sys.executable, "-m", f"{_MODULE}.main", "-d", str(page.with_suffix(".db")), "-n", str(page.absolute())]
    command.append("--offlinedependencies")
    for run, output in outputs:
        command += ["-o", f"{output}:version_{run.version}" if run.version else str(output)]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=_TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise FaultLibraryError(f"robotframework-dashboard was not done after {_TIMEOUT:g} s") from error
    told = [line.strip() for line in (answer.stdout + answer.stderr).splitlines() if "ERROR" in line]
    if answer.returncode or not page.exists() or page.stat().st_mtime_ns == before:
        why = told[0] if told else (answer.stderr or answer.stdout).strip().splitlines()[-1:] or "it gave no reason"
        raise FaultLibraryError(f"robotframework-dashboard did not write '{page}': {why}")
