"""Which run a process belongs to, and what two imports of the library in one process have apart."""

from datetime import timedelta
from pathlib import Path

import pytest

from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.keywords.context import Context, Options
from DynamoFaultLibrary.ledger import State
from DynamoFaultLibrary.ledger.recovery import recover
from DynamoFaultLibrary.run_id import ledgers_of


@pytest.fixture(autouse=True)
def place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path))
    monkeypatch.setenv("DYNAMO_FAULT_RUN", "nightly")


def context() -> Context:
    return Context(Options("local", 1, timedelta(minutes=1), BlastRadius()))


def test_the_end_of_one_import_leaves_the_faults_of_another_in_effect() -> None:
    """Both wrote one ledger as the same owner: what ended with one of them took off all that the other had on."""
    one, other = context(), context()
    entries = [each.ledger.intend("kind", {}, {"action": "none"}) for each in (one, other)]
    owner = one.ledger.owner
    assert owner == other.ledger.owner
    recover(one.ledger.path, force=True, concerns=lambda entry: entry.owner == owner)
    assert [entry.id for entry in ledger_of(other)] == [entries[1].id]
    assert ledger_of(other)[0].state is State.INTENT
    assert one.run_directory() != other.run_directory(), "timeline and faults.json have the same names"
    one.close()
    other.close()


def ledger_of(of: Context) -> list[object]:
    return list(of.ledger.entries().values())


def test_the_first_import_has_the_name_of_the_run_and_so_has_the_next_when_it_is_over() -> None:
    one, other = context(), context()
    assert (one.ledger.run, other.ledger.run) == ("nightly", "nightly.import-2")
    one.close()
    third = context()
    assert third.ledger.run == "nightly"
    for each in (other, third):
        each.close()


def test_a_launcher_finds_the_ledgers_of_all_imports_and_of_no_other_run(tmp_path: Path) -> None:
    (tmp_path / "runs").mkdir()
    for name in ("nightly", "nightly.import-2", "nightly-2", "nightly.import-x", "other"):
        (tmp_path / "runs" / f"{name}.jsonl").touch()
    assert [path.stem for path in ledgers_of("nightly")] == ["nightly", "nightly.import-2"]
