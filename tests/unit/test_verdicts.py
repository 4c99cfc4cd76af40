"""The bench that runs suites beside busy loops: what it counts, and that its loops never outlive it."""

import importlib.util
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.processes import read_stat

SCRIPT = Path(__file__).parents[1] / "bench" / "verdicts.py"


@pytest.fixture(scope="module")
def verdicts() -> Any:
    spec = importlib.util.spec_from_file_location("verdicts", SCRIPT)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_what_fails_changes_or_is_missing_is_told(verdicts: Any) -> None:
    idle = {"Steady": "PASS", "Skipped": "SKIP", "Broken": "FAIL", "Slow": "PASS", "Known": "SKIP", "Lost": "PASS"}
    busy = {"Steady": "PASS", "Skipped": "SKIP", "Broken": "FAIL", "Slow": "FAIL", "Known": "PASS"}
    found = verdicts.collect([("idle", idle), ("idle", idle), ("busy", busy)])
    assert verdicts.unsteady(found) == [
        ["Broken", "2 FAIL", "1 FAIL"],
        ["Known", "2 SKIP", "1 PASS"],
        ["Lost", "2 PASS", "1 missing"],
        ["Slow", "2 PASS", "1 FAIL"],
    ]


def test_without_results_nothing_is_well(verdicts: Any, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as left:
        verdicts.report(verdicts.collect([("idle", {}), ("busy", {})]))
    assert left.value.code == 1


def test_a_run_is_counted(verdicts: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    monkeypatch.setattr(verdicts, "ROOT", tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(SCRIPT.parents[2]))
    (tmp_path / "a.robot").write_text("*** Test Cases ***\nGood\n    No Operation\nBad\n    Fail\n")
    assert verdicts.verdicts_of(tmp_path / "out", ["a.robot"], 60.0) == {"A.Good": "PASS", "A.Bad": "FAIL"}


def test_its_loops_end_with_it(verdicts: Any) -> None:
    with verdicts.busy_loops(2) as pids:
        assert [read_stat(pid) is not None for pid in pids] == [True, True]
    assert [read_stat(pid) for pid in pids] == [None, None]


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_its_loops_end_also_when_it_is_killed(
    number: signal.Signals, start: Callable[..., Any], eventually: Callable[[Callable[[], bool]], None]
) -> None:
    script = (
        f"import sys; sys.path.insert(0, {str(SCRIPT.parent)!r}); import verdicts\n"
        "with verdicts.busy_loops(1) as pids: print(*pids, flush=True); sys.stdin.read()"
    )
    bench = start(sys.executable, "-c", script)
    loop = int(bench.line())
    os.kill(bench.pid, number)

    def is_gone() -> bool:
        stat = read_stat(loop)
        return stat is None or stat.state == "Z"

    eventually(is_gone)
