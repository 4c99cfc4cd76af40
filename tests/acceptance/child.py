"""Run robot or pabot as a child in a sandbox of its own, read its output, and see what it leaves on the machine."""

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from robot.api import ExecutionResult
from robot.result import Message, Result, TestCase

from DynamoFaultLibrary.ledger import read_ledger
from DynamoFaultLibrary.ledger.store import LedgerView
from DynamoFaultLibrary.net.links import link_exists
from DynamoFaultLibrary.platforms.local.undoers import DEPLOYMENT_VARIABLE
from DynamoFaultLibrary.processes import all_pids, read_command, read_stat, read_variable

DATA = Path(__file__).parent / "testdata"
ROOT = Path(__file__).parents[2]
TIMEOUT = 180


@dataclass
class Sandbox:
    """A directory with results, state and home of one child run."""

    base: Path

    @property
    def results(self) -> Path:
        return self.base / "results"

    @property
    def state(self) -> Path:
        return self.base / "state"

    @property
    def environment(self) -> dict[str, str]:
        home = self.base / "home"
        home.mkdir(exist_ok=True)
        return {**os.environ, "DYNAMO_FAULT_STATE": str(self.state), "HOME": str(home)}

    def start(self, *arguments: str | Path, module: str = "robot", **environment: str) -> subprocess.Popen[str]:
        """Start a child run in a session of its own."""
        command = [sys.executable, "-m", module, *map(str, arguments)]
        return subprocess.Popen(
            command,
            env={**self.environment, **environment},
            cwd=self.base,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def robot(self, *arguments: str | Path, **environment: str) -> "Run":
        """Run robot to its end."""
        child = self.start("--outputdir", self.results, "--xunit", "xunit.xml", *arguments, **environment)
        console, _ = child.communicate(timeout=TIMEOUT)
        return Run(self, child.returncode, console)

    def ledgers(self) -> list[LedgerView]:
        """The ledgers of all runs in this sandbox."""
        return [read_ledger(path) for path in sorted((self.state / "runs").glob("*.jsonl"))]

    def leftovers(self) -> list[str]:
        """What is left of this sandbox's runs: processes, directories, open ledger entries, networks, files at home."""
        found = [f"process {pid} ({state_of(pid)}): {read_command(pid)}" for pid in self.processes()]
        found += [f"directory {path}" for path in (self.state / "work").glob("*")]
        found += [f"file {path}" for path in (self.base / "home").rglob("*") if path.is_file()]
        for ledger in self.ledgers():
            found += [f"entry {entry.id} is {entry.state}" for entry in ledger.open_entries]
            networks = [entry.target["link"] for entry in ledger.entries.values() if entry.kind == "network"]
            found += [f"interface {link}" for link in networks if link_exists(link)]
        return found

    def processes(self) -> list[int]:
        """All processes that run with this sandbox's state directory."""
        marked = (pid for pid in all_pids() if read_variable(pid, "DYNAMO_FAULT_STATE") == str(self.state))
        return [pid for pid in marked if pid != os.getpid()]

    def deployment_processes(self) -> list[int]:
        """Processes of deployments of this sandbox."""
        return [pid for pid in self.processes() if read_variable(pid, DEPLOYMENT_VARIABLE)]


def state_of(pid: int) -> str:
    stat = read_stat(pid)
    return stat.state if stat else "gone"


@dataclass
class Run:
    """A child run that has ended."""

    sandbox: Sandbox
    returncode: int
    console: str

    @property
    def result(self) -> Result:
        return ExecutionResult(self.sandbox.results / "output.xml")

    @property
    def tests(self) -> dict[str, TestCase]:
        return {test.name: test for test in self.result.suite.all_tests}

    def messages(self, test: str) -> list[str]:
        """All log messages of a test, those of its keywords included."""
        found: list[str] = []

        def walk(body: object) -> None:
            for item in body:  # type: ignore[attr-defined]  # a body is iterable
                if isinstance(item, Message):
                    found.append(item.message)
                elif hasattr(item, "body"):
                    walk(item.body)

        case = self.tests[test]
        for part in (case.setup, case.teardown):
            if part:
                walk(part.body)
        walk(case.body)
        return found
