"""Two real runs, compared and followed as users do it."""

import contextlib
import json
import sqlite3
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from child import DATA, Sandbox

LOAD = "Compared.A Load Loses A Worker: default"


@dataclass
class Runs:
    """Results of two runs of the same suite, one of them with a test that fails."""

    sandbox: Sandbox

    def call(self, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "DynamoFaultLibrary.cli", *map(str, arguments)],
            env=self.sandbox.environment,
            cwd=self.sandbox.base,
            capture_output=True,
            text=True,
            check=False,
            timeout=120,
        )


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Runs:
    sandbox = Sandbox(tmp_path_factory.mktemp("compared"))
    for name, broken in (("1.4.2", "no"), ("1.6.1", "yes")):
        options = ("--outputdir", f"runs/{name}", "--metadata", f"Dynamo:{name}", "--variable", f"BROKEN:{broken}")
        child = sandbox.start(*options, DATA / "compared.robot")
        console, _ = child.communicate(timeout=180)
        assert child.returncode == (broken == "yes"), console
    assert sandbox.leftovers() == []
    return Runs(sandbox)


def test_two_runs_are_told_apart_by_version_and_compared(runs: Runs) -> None:
    answer = runs.call("compare", "runs/1.4.2", "runs/1.6.1", "--html", "page.html")
    assert answer.returncode == 1, answer.stderr
    assert "Compared.It May Be Broken  newly failed  passed  failed" in answer.stdout
    assert "Compared.It May Be Broken: it was told to fail" in answer.stdout
    assert "1 load in common. 1 run and 1 run do not tell" in answer.stdout
    assert "1.6.1 beside 1.4.2" in (runs.sandbox.base / "page.html").read_text()
    data = json.loads(runs.call("compare", "runs/1.4.2/output.xml", "runs/1.6.1", "--json").stdout)
    figures = {each["figure"]: each for each in data["comparisons"][0]["figures"]}
    assert {each["load"] for each in figures.values()} == {LOAD}
    assert figures["recovery"]["one"][0] > 0
    assert figures["startup"]["other"][0] > 0


def test_the_other_way_round_nothing_is_worse(runs: Runs) -> None:
    answer = runs.call("compare", "runs/1.6.1", "--vs", "runs/1.4.2")
    assert answer.returncode == 0, answer.stderr
    assert "Compared.It May Be Broken  fixed" in answer.stdout


def test_history_follows_both(runs: Runs) -> None:
    answer = runs.call("history", "runs", "--html", "trends.html")
    assert answer.returncode == 0, answer.stderr
    assert [line.split()[2:4] for line in answer.stdout.splitlines()[2:]] == [
        ["runs/1.4.2", "1.4.2"],
        ["runs/1.6.1", "1.6.1"],
    ]
    page = (runs.sandbox.base / "trends.html").read_text()
    assert "Tests that changed their verdict" in page
    assert "Recovery time (s)" in page


def test_history_feeds_robotframework_dashboard(runs: Runs) -> None:
    pytest.importorskip("robotframework_dashboard", reason="needs the extra 'dashboard'")
    for _ in range(2):  # the second time the database has both runs
        answer = runs.call("history", "runs", "--dashboard", "dashboard.html")
        assert answer.returncode == 0, answer.stderr
    with contextlib.closing(sqlite3.connect(runs.sandbox.base / "dashboard.db")) as database:
        stored = database.execute("SELECT project_version, passed, failed FROM runs ORDER BY run_start").fetchall()
    assert stored == [("1.4.2", 2, 0), ("1.6.1", 1, 1)]
    assert (runs.sandbox.base / "dashboard.html").stat().st_size > 100_000
