"""``dynamo-fault run``: pabot with the right options, ended cleanly, and with no suite missing in the results."""

import os
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path
from types import FrameType

from robot.api import ExecutionResult, ResultWriter
from robot.errors import DataError
from robot.result import Result, TestSuite
from robot.result.executionresult import CombinedResult

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.ledger.recovery import problems, recover
from DynamoFaultLibrary.ledger.store import RUN_VARIABLE
from DynamoFaultLibrary.ledger.undo import sweep
from DynamoFaultLibrary.load.progress import PROGRESS_FILE
from DynamoFaultLibrary.plugins import LOCAL
from DynamoFaultLibrary.processes import die_with_parent
from DynamoFaultLibrary.reports.run import results_folder
from DynamoFaultLibrary.run_id import ledgers_of

REPORTS = ("log.html", "report.html", "xunit.xml", "output.xml")
PLAN = ".pabotsuitenames"
_PATIENCE = 20.0
"""Seconds that pabot gets to end its robots after a signal; it gives each of them about 5 s."""
_PROGRESS_INTERVAL = 1.0


class LauncherError(FaultLibraryError):
    """A run that cannot begin."""


@dataclass
class Launcher:
    """One run of pabot. `run` is the id that all its robots share."""

    outputdir: Path
    processes: int
    arguments: Sequence[str]
    run: str = field(default_factory=lambda: f"{utc_now():%Y%m%d-%H%M%S}-{secrets.token_hex(3)}")
    _signalled: int = 0
    _began: float = 0.0

    def launch(self) -> int:
        """Run to the end; returns pabot's exit status, or 1 where that is 0 and something is wrong all the same.

        Raises:
            LauncherError: results cannot be written to the output directory.
        """
        try:
            self.outputdir.mkdir(parents=True, exist_ok=True)
            (self.outputdir / "output.xml").unlink(missing_ok=True)
        except OSError as error:
            raise LauncherError(f"cannot write results to '{self.outputdir}': {error.strerror}") from error
        had_plan = Path(PLAN).exists()
        self._began = time.time()
        farewell = self._fork_guard()
        pabot = subprocess.Popen(
            self._command(),
            env={**os.environ, RUN_VARIABLE: self.run},
            start_new_session=True,
            preexec_fn=die_with_parent,  # noqa: PLW1509  # no thread has been started yet
        )
        ended = threading.Event()
        threading.Thread(target=self._show_progress, args=(ended,), daemon=True).start()
        status = self._wait(pabot)
        ended.set()
        troubles = self._clean_up()
        os.write(farewell, b"!")
        missing = self._complete_results()
        if not had_plan:
            Path(PLAN).unlink(missing_ok=True)
        troubles += [f"suite '{name}' has no result: its robot was killed" for name in missing]
        for trouble in troubles:
            print(trouble, file=sys.stderr)
        return status or (1 if troubles else 0)

    def _command(self) -> list[str]:
        robot = [sys.executable, "-m", "robot"]
        return [
            *(sys.executable, "-m", "pabot.pabot", "--command", *robot, "--end-command"),
            *("--processes", str(self.processes), "--pabotlibport", "0"),
            *("--outputdir", str(self.outputdir), "--xunit", "xunit.xml", *self.arguments),
        ]

    def _fork_guard(self) -> int:
        """Fork a process that cleans up should this one be killed; writing a byte to the returned pipe ends it."""
        reading, writing = os.pipe()
        if os.fork() > 0:
            os.close(reading)
            return writing
        status = 1
        try:
            os.setsid()
            os.close(writing)
            if not os.read(reading, 1):
                self._clean_up()
            status = 0
        finally:
            os._exit(status)

    def _show_progress(self, ended: threading.Event) -> None:
        """Print what robots tell of long loads; pabot keeps their consoles to itself."""
        path = results_folder(self.outputdir) / self.run / PROGRESS_FILE
        shown = 0
        while not ended.wait(_PROGRESS_INTERVAL):
            if path.exists():
                with path.open(encoding="utf-8") as file:
                    file.seek(shown)
                    print(file.read(), end="", flush=True)
                    shown = file.tell()

    def _wait(self, pabot: subprocess.Popen[bytes]) -> int:
        def forward(number: int, frame: FrameType | None) -> None:
            """Pabot understands SIGINT alone; a second signal means: at once."""
            self._signalled += 1
            pabot.send_signal(signal.SIGINT if self._signalled == 1 else signal.SIGKILL)
            signal.setitimer(signal.ITIMER_REAL, _PATIENCE)

        def out_of_patience(number: int, frame: FrameType | None) -> None:
            pabot.kill()

        taken = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN:
            print("SIGHUP is ignored (nohup?): this run goes on when its terminal closes", file=sys.stderr, flush=True)
        else:
            taken.append(signal.SIGHUP)
        before = {number: signal.signal(number, forward) for number in taken}
        before[signal.SIGALRM] = signal.signal(signal.SIGALRM, out_of_patience)
        try:
            return pabot.wait()
        finally:
            signal.setitimer(signal.ITIMER_REAL, 0)
            for number, handler in before.items():
                signal.signal(number, handler)

    def _clean_up(self) -> list[str]:
        """End robots that pabot left, let their guards finish, then take off what the ledgers still hold."""
        left = sweep(LOCAL, self.run)  # robots run here, wherever their graphs do
        found = [recover(path, force=True, sweeping=True) for path in ledgers_of(self.run)]
        return [*left, *problems(found), *(line for each in found for line in each.corrupt)]

    def _complete_results(self) -> list[str]:
        """Put a failed test into the results for each planned suite without one; returns their names."""
        output = self.outputdir / "output.xml"
        if not Path(PLAN).exists() or Path(PLAN).stat().st_mtime < self._began - 1:
            return []  # pabot has not come as far as planning
        result = _read(output) or self._merge_what_there_is()
        seen = {test.parent.full_name for test in result.suite.all_tests} if result else set()
        missing = [name for name in planned_suites(Path(PLAN)) if name not in seen]
        if result is None or (not missing and output.exists()):
            return missing
        for name in missing:
            _add_failed_suite(result.suite, name)
        result.save(output)
        ResultWriter(result).write_results(
            log=str(self.outputdir / "log.html"),
            report=str(self.outputdir / "report.html"),
            xunit=str(self.outputdir / "xunit.xml"),
        )
        return missing

    def _merge_what_there_is(self) -> Result | None:
        outputs = [path for path in self.outputdir.glob("pabot_results/*/output.xml") if path.stat().st_size]
        readable = [result for path in outputs if (result := _read(path))]
        if not readable:
            result = Result(suite=TestSuite(name="Suites"))
            return result if planned_suites(Path(PLAN)) else None
        combined: Result = CombinedResult(readable)
        return combined


def output_directory(arguments: Sequence[str], default: str) -> Path:
    """Where robot's options among `arguments` send the output; the last one counts, as for robot."""
    found = default
    for option, value in pairwise([*arguments, ""]):
        if option in ("-d", "--outputdir"):
            found = value
        elif option.startswith("--outputdir="):
            found = option.partition("=")[2]
    return Path(found)


def _read(output: Path) -> Result | None:
    if not output.exists():
        return None
    try:
        return ExecutionResult(output)
    except DataError as error:
        print(f"'{output}' is torn and left out: {error}", file=sys.stderr)
        return None


def planned_suites(plan: Path) -> list[str]:
    """Full names of the suites that pabot has planned to run."""
    if not plan.exists():
        return []
    lines = plan.read_text(encoding="utf-8").splitlines()
    return [line.removeprefix("--suite ").strip() for line in lines if line.startswith("--suite ")]


def _add_failed_suite(root: TestSuite, name: str) -> None:
    *parents, last = name.removeprefix(f"{root.name}.").split(".")
    place = root
    for part in parents:
        place = next((child for child in place.suites if child.name == part), None) or place.suites.create(name=part)
    test = place.suites.create(name=last).tests.create(name="This Suite Has No Result")
    test.status = "FAIL"
    test.message = f"The robot process that ran suite '{name}' was killed, so nothing is known of its tests."
