import json
import os
import subprocess
import sys
import tempfile
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import LedgerError, StateError
from DynamoFaultLibrary.ledger import Entry, Ledger, LedgerView, Owner, State, read_ledger, state_directory
from DynamoFaultLibrary.processes import ProcessId

ROOT = Path(__file__).parents[2]
OWNER = Owner(ProcessId(4711, 12345), "host-a")
UNDO = {"action": "remove", "path": "/nowhere"}


def run_python(script: str, *args: str) -> subprocess.Popen[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-c", script, *args],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_ledger_lies_below_the_state_directory_under_its_run(tmp_path: Path) -> None:
    assert Ledger("run-1", OWNER, tmp_path).path == tmp_path / "runs" / "run-1.jsonl"


def test_the_state_directory_is_the_one_that_the_variable_names(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", "/srv/state")
    assert state_directory() == Path("/srv/state")
    assert Ledger("r", OWNER).path == Path("/srv/state/runs/r.jsonl")


def test_a_relative_state_directory_is_made_absolute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("DYNAMO_FAULT_STATE", "state")
    assert state_directory() == tmp_path / "state"


def test_the_state_directory_follows_xdg_and_then_home(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DYNAMO_FAULT_STATE", raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", "/xdg")
    monkeypatch.setenv("HOME", "/home/somebody")
    assert state_directory() == Path("/xdg/dynamo-fault")
    monkeypatch.delenv("XDG_STATE_HOME")
    assert state_directory() == Path("/home/somebody/.local/state/dynamo-fault")


@pytest.mark.parametrize("run", ["", "..", ".hidden", "-x", "a/b", "../a", "a b", "a\n", "ä", "a\0"])
def test_a_run_id_that_is_no_plain_file_name_is_refused(run: str, tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as raised:
        Ledger(run, OWNER, tmp_path)
    assert str(raised.value) == f"run id {run!r} must be letters, digits, '_', '.' or '-'"
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_written_before_the_first_intent(ledger: Ledger) -> None:
    assert not ledger.path.exists()


def test_an_intent_is_on_disk_for_another_reader_when_it_has_returned(ledger: Ledger) -> None:
    expires = datetime(2030, 1, 2, 3, 4, 5, tzinfo=UTC)
    entry = ledger.intend("Stall Process", {"replica": "W-0"}, UNDO, expires_at=expires)
    seen = read_ledger(ledger.path).entries[entry.id]
    assert seen == entry
    assert (seen.kind, seen.target, seen.undo, seen.owner) == ("Stall Process", {"replica": "W-0"}, UNDO, ledger.owner)
    assert (seen.state, seen.is_fault, seen.expires_at, seen.evidence) == (State.INTENT, True, expires, [])


def test_each_line_is_flushed_to_the_disk_whole(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    sizes: list[int] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        sizes.append(os.fstat(descriptor).st_size)
        real(descriptor)

    monkeypatch.setattr(os, "fsync", fsync)
    ledger.mark(ledger.intend("a", {}, UNDO), State.ACTIVE)
    lines = ledger.path.read_bytes().splitlines(keepends=True)
    assert sizes == [len(lines[0]), len(lines[0]) + len(lines[1])]


def test_what_need_not_outlive_the_machine_is_not_flushed(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    flushed: list[int] = []
    monkeypatch.setattr(os, "fsync", flushed.append)
    entry = ledger.intend("process", {}, UNDO, is_fault=False)
    ledger.mark(entry, State.RECOVERED)
    assert flushed == []
    assert read_ledger(ledger.path).entries[entry.id].state is State.RECOVERED


def test_an_entry_has_an_id_made_of_its_kind(ledger: Ledger) -> None:
    first, second = (ledger.intend("Stall Process", {}, UNDO).id for _ in range(2))
    assert first.startswith("stall-process-")
    assert len(first) == len("stall-process-") + 8
    assert first != second


def test_only_its_owner_may_read_the_ledger_file(ledger: Ledger) -> None:
    ledger.intend("a", {}, UNDO)
    assert ledger.path.stat().st_mode & 0o777 == 0o600


def test_marks_are_read_back_with_their_evidence(ledger: Ledger) -> None:
    entry = ledger.intend("a", {}, UNDO)
    ledger.mark(entry, State.ACTIVE, evidence=["first"])
    ledger.mark(entry, State.RECOVERED, "all well", ["second"])
    seen = read_ledger(ledger.path).entries[entry.id]
    assert (seen.state, seen.detail, seen.evidence) == (State.RECOVERED, "all well", ["first", "second"])


def test_evidence_of_several_writers_adds_up(ledger: Ledger) -> None:
    entry = ledger.intend("a", {}, UNDO)
    other = read_ledger(ledger.path).entries[entry.id]
    ledger.mark(entry, State.ACTIVE, evidence=["seen by one"])
    Ledger(ledger.run, ledger.owner, ledger.path.parents[1]).mark(other, State.RECOVERED, evidence=["seen by another"])
    assert read_ledger(ledger.path).entries[entry.id].evidence == ["seen by one", "seen by another"]


def test_a_mark_that_is_not_on_disk_does_not_change_the_entry(ledger: Ledger) -> None:
    entry = ledger.intend("a", {}, UNDO, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    ledger.path.unlink()
    ledger.path.mkdir()
    with pytest.raises(LedgerError):
        ledger.mark(entry, State.ACTIVE, "detail", ["evidence"])
    with pytest.raises(LedgerError):
        ledger.renew(entry, datetime(2031, 1, 1, tzinfo=UTC))
    assert (entry.state, entry.detail, entry.evidence) == (State.INTENT, "", [])
    assert entry.expires_at == datetime(2030, 1, 1, tzinfo=UTC)


def test_a_renewal_keeps_state_and_evidence(ledger: Ledger) -> None:
    entry = ledger.intend("a", {}, UNDO)
    ledger.mark(entry, State.ACTIVE, evidence=["seen"])
    ledger.renew(entry, datetime(2031, 1, 1, tzinfo=UTC))
    for found in (entry, read_ledger(ledger.path).entries[entry.id]):
        assert (found.state, found.evidence) == (State.ACTIVE, ["seen"])
        assert found.expires_at == datetime(2031, 1, 1, tzinfo=UTC)


def test_a_renewed_expiry_is_read_back(ledger: Ledger) -> None:
    entry = ledger.intend("a", {}, UNDO, expires_at=datetime(2030, 1, 1, tzinfo=UTC))
    ledger.renew(entry, datetime(2031, 1, 1, tzinfo=UTC))
    ledger.mark(entry, State.ACTIVE)
    seen = read_ledger(ledger.path).entries[entry.id]
    assert seen.expires_at == datetime(2031, 1, 1, tzinfo=UTC)
    assert seen.state is State.ACTIVE


def test_open_entries_are_those_left_to_undo_the_last_one_first(ledger: Ledger) -> None:
    entries = [ledger.intend(kind, {}, UNDO) for kind in "abcd"]
    ledger.mark(entries[0], State.ACTIVE)
    ledger.mark(entries[1], State.RECOVERED)
    ledger.mark(entries[2], State.IRREVERSIBLE)
    assert [entry.kind for entry in read_ledger(ledger.path).open_entries] == ["d", "a"]


def test_only_intent_and_active_are_open() -> None:
    assert [state.value for state in State if state.is_open] == ["intent", "active"]


def test_each_line_tells_when_it_was_written(ledger: Ledger) -> None:
    ledger.intend("a", {}, UNDO)
    at = json.loads(ledger.path.read_text())["at"]
    assert at.endswith("Z")
    assert abs(datetime.fromisoformat(at) - datetime.now(UTC)) < timedelta(minutes=1)


def test_a_torn_last_line_is_skipped(ledger: Ledger) -> None:
    kept = ledger.intend("kept", {}, UNDO)
    ledger.intend("torn", {}, UNDO)
    data = ledger.path.read_bytes()
    ledger.path.write_bytes(data[:-40])
    view = read_ledger(ledger.path)
    assert list(view.entries) == [kept.id]
    assert len(view.corrupt) == 1
    assert view.corrupt[0].startswith(f"{ledger.path}:2: JSONDecodeError: ")


def test_the_next_line_is_not_glued_to_a_torn_one(ledger: Ledger) -> None:
    kept = ledger.intend("kept", {}, UNDO)
    ledger.intend("torn", {}, UNDO)
    ledger.path.write_bytes(ledger.path.read_bytes()[:-40])
    after = ledger.intend("after", {}, UNDO)
    last = ledger.intend("last", {}, UNDO)
    view = read_ledger(ledger.path)
    assert list(view.entries) == [kept.id, after.id, last.id]
    assert len(view.corrupt) == 1
    assert b"\n\n" not in ledger.path.read_bytes()


def with_field(name: str, value: object) -> bytes:
    """The line of an intent of which one field is wrong."""
    return json.dumps({**Entry.new("k", {}, UNDO, OWNER, True, None).to_json(), name: value}).encode()


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (b"{", "JSONDecodeError"),
        (b"\x80abc", "UnicodeDecodeError"),
        (b"null", "TypeError"),
        (b"[1]", "TypeError"),
        (b'["kind"]', ""),
        (b"{}", "KeyError"),
        (b'{"id":"stranger","state":"active"}', "KeyError"),
        (b'{"id":"x","kind":"k"}', "KeyError"),
        (b'{"id":["x"],"state":"active"}', "TypeError"),
        (with_field("undo", None), "TypeError"),
        (with_field("target", "Worker"), "ValueError"),
    ],
)
def test_a_corrupt_line_is_reported_with_its_place_and_skipped(ledger: Ledger, line: bytes, error: str) -> None:
    first = ledger.intend("first", {}, UNDO)
    with ledger.path.open("ab") as file:
        file.write(line + b"\n")
    second = ledger.intend("second", {}, UNDO)
    view = read_ledger(ledger.path)
    assert list(view.entries) == [first.id, second.id]
    assert len(view.corrupt) == 1
    assert view.corrupt[0].startswith(f"{ledger.path}:2: {error}")


def test_a_mark_with_an_unknown_state_is_reported_and_changes_nothing(ledger: Ledger) -> None:
    entry = ledger.intend("a", {}, UNDO)
    ledger.mark(entry, State.ACTIVE, evidence=["seen"])
    with ledger.path.open("a") as file:
        file.write(json.dumps({"id": entry.id, "state": "lost"}) + "\n")
    view = read_ledger(ledger.path)
    assert view.entries[entry.id].state is State.ACTIVE
    assert view.entries[entry.id].evidence == ["seen"]
    assert "'lost' is not a valid State" in view.corrupt[0]


def test_a_ledger_that_is_not_there_is_an_error_with_its_path(tmp_path: Path) -> None:
    with pytest.raises(LedgerError) as raised:
        read_ledger(tmp_path / "none.jsonl")
    assert str(raised.value) == f"cannot read ledger '{tmp_path}/none.jsonl': No such file or directory"


def test_an_empty_ledger_has_no_entries(tmp_path: Path) -> None:
    path = tmp_path / "empty.jsonl"
    path.touch()
    view = read_ledger(path)
    assert (view.entries, view.corrupt, view.open_entries) == ({}, [], [])


def test_an_unwritable_directory_is_an_error_that_says_what_follows(tmp_path: Path) -> None:
    blocker = tmp_path / "file"
    blocker.touch()
    ledger = Ledger("r", OWNER, blocker)
    with pytest.raises(LedgerError) as raised:
        ledger.intend("a", {}, UNDO)
    assert str(raised.value) == (
        f"cannot write ledger '{blocker}/runs/r.jsonl': Not a directory; without a ledger no fault is injected"
    )


def test_a_ledger_that_a_directory_stands_in_for_cannot_be_written(ledger: Ledger) -> None:
    ledger.path.mkdir(parents=True)
    with pytest.raises(LedgerError, match="Is a directory; without a ledger no fault is injected"):
        ledger.intend("a", {}, UNDO)


FILL_UP = """
import resource, sys
from pathlib import Path
from DynamoFaultLibrary.errors import LedgerError
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.processes import ProcessId
ledger = Ledger("full", Owner(ProcessId.current()), Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
written = 0
try:
    while True:
        ledger.intend("a", {}, {"action": "remove", "path": "/nowhere"})
        written += 1
except LedgerError as error:
    print(written, error)
"""


def test_a_line_that_the_disk_takes_only_a_part_of_is_an_error_and_taken_back(tmp_path: Path) -> None:
    out, _ = run_python(FILL_UP, str(tmp_path)).communicate(timeout=20)
    written, _, message = out.partition(" ")
    path = tmp_path / "runs" / "full.jsonl"
    assert message.startswith(f"cannot write ledger '{path}': ")
    data = path.read_bytes()
    assert data.endswith(b"\n")
    assert int(written) >= 1
    assert data.count(b"\n") == int(written) == len(read_ledger(path).entries)


APPEND = """
import sys
from pathlib import Path
from DynamoFaultLibrary.ledger import Ledger, Owner, State
from DynamoFaultLibrary.processes import ProcessId
ledger = Ledger("shared", Owner(ProcessId.current()), Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(25):
    entry = ledger.intend("k", {"writer": sys.argv[2], "number": number, "fill": "x" * 500}, {"action": "remove"})
    ledger.mark(entry, State.ACTIVE, evidence=["y" * 500])
"""


def test_lines_of_several_processes_at_once_are_all_readable(tmp_path: Path) -> None:
    writers = [run_python(APPEND, str(tmp_path), str(number)) for number in range(3)]
    for writer in writers:
        assert writer.stdout is not None
        assert writer.stdout.readline() == "ready\n"
    for writer in writers:
        assert writer.stdin is not None
        writer.stdin.write("go\n")
        writer.stdin.flush()
    assert [(writer.communicate(timeout=20)[0], writer.returncode) for writer in writers] == [("", 0)] * 3
    view = read_ledger(tmp_path / "runs" / "shared.jsonl")
    assert view.corrupt == []
    seen = [(entry.target["writer"], entry.target["number"]) for entry in view.entries.values()]
    assert sorted(seen) == sorted((str(writer), number) for writer in range(3) for number in range(25))
    assert {entry.state for entry in view.entries.values()} == {State.ACTIVE}


KILLED = """
import os, signal, sys
from pathlib import Path
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.processes import ProcessId
ledger = Ledger("killed", Owner(ProcessId.current()), Path(sys.argv[1]))
ledger.intend("k", {}, {"action": "remove"})
os.kill(os.getpid(), signal.SIGKILL)
"""


def test_an_intent_survives_the_sudden_death_of_its_writer(tmp_path: Path) -> None:
    writer = run_python(KILLED, str(tmp_path))
    writer.communicate(timeout=20)
    assert writer.returncode == -9
    (entry,) = read_ledger(tmp_path / "runs" / "killed.jsonl").open_entries
    assert entry.state is State.INTENT
    assert entry.owner.process.pid == writer.pid
    assert not entry.owner.process.is_running


# A fixed alphabet: the whole of Unicode is slow to set up.
TEXTS = st.text('az09 "\\\n{}[]:,äЖ✓\U0001f600', max_size=10)
JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**40), 2**40) | TEXTS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3),
    max_leaves=5,
)
OBJECTS = st.dictionaries(TEXTS, JSON_VALUES, max_size=3)


@given(
    kind=TEXTS,
    target=OBJECTS,
    undo=OBJECTS,
    is_fault=st.booleans(),
    state=st.sampled_from(State),
    evidence=st.lists(TEXTS, max_size=3),
    detail=TEXTS,
    expires=st.none() | st.datetimes(timezones=st.just(UTC)),
)
def test_an_entry_is_the_same_after_it_was_json(
    kind: str,
    target: dict[str, Any],
    undo: dict[str, Any],
    is_fault: bool,
    state: State,
    evidence: list[str],
    detail: str,
    expires: datetime | None,
) -> None:
    entry = Entry.new(kind, target, undo, OWNER, is_fault, expires)
    entry.state, entry.evidence, entry.detail = state, evidence, detail
    assert Entry.from_json(json.loads(json.dumps(entry.to_json()))) == entry


@given(
    names=st.lists(TEXTS, min_size=1, max_size=4),
    marks=st.lists(st.tuples(st.integers(0, 3), st.sampled_from(State)), max_size=4),
    cut=st.floats(0, 1),
)
def test_a_ledger_cut_anywhere_keeps_each_whole_line_and_takes_new_ones(
    names: list[str], marks: list[tuple[int, State]], cut: float
) -> None:
    with tempfile.TemporaryDirectory() as directory:
        ledger = Ledger("r", OWNER, Path(directory))
        entries = [ledger.intend("k", {"name": name}, UNDO) for name in names]
        for index, state in marks:
            with suppress(StateError):
                ledger.mark(entries[index % len(entries)], state)
        lines = ledger.path.read_bytes().splitlines()
        data = ledger.path.read_bytes()
        length = round(cut * len(data))
        ledger.path.write_bytes(data[:length])
        expected: dict[str, tuple[str, str]] = {}
        end = 0
        for line in lines:
            end += len(line)
            if end <= length:
                content = json.loads(line)
                name = content["target"]["name"] if "target" in content else expected[content["id"]][0]
                expected[content["id"]] = (name, content["state"])
            end += 1
        after = ledger.intend("k", {"name": "after"}, UNDO)
        view = read_ledger(ledger.path)
        seen = {entry.id: (entry.target["name"], entry.state.value) for entry in view.entries.values()}
        assert seen == {**expected, after.id: ("after", "intent")}
        assert len(view.corrupt) <= 1


def another(ledger: Ledger) -> Ledger:
    """The same ledger as another process writes it."""
    return Ledger(ledger.run, ledger.owner, ledger.path.parents[1])


def test_the_line_that_closes_an_entry_says_when_it_came_off(ledger: Ledger) -> None:
    """An expired stall of 3 s was told as one of 12 s, since the time was taken when it was noticed (row 3)."""
    entry = ledger.intend("a", {}, UNDO)
    moment = monotonic() - 9
    ledger.mark(entry, State.RECOVERED, "verified 9 s later", came_off_s=moment)
    for seen in (entry, read_ledger(ledger.path).entries[entry.id]):
        assert seen.came_off_s == moment
        assert seen.came_off_at is not None
        assert abs(datetime.now(UTC) - timedelta(seconds=9) - seen.came_off_at) < timedelta(seconds=5)


def test_an_open_entry_has_not_come_off(ledger: Ledger) -> None:
    entry = ledger.mark(ledger.intend("a", {}, UNDO), State.ACTIVE)
    assert (entry.came_off_s, entry.came_off_at) == (None, None)


def test_a_ledger_without_these_times_is_read(ledger: Ledger) -> None:
    """Written by an earlier version (row 3)."""
    entry = ledger.intend("a", {}, UNDO)
    with ledger.path.open("a") as file:
        file.write(json.dumps({"at": "2026-01-01T00:00:00Z", "id": entry.id, "state": "recovered"}) + "\n")
    view = read_ledger(ledger.path)
    assert view.corrupt == []
    assert view.entries[entry.id].state is State.RECOVERED
    assert view.entries[entry.id].came_off_s is None


@pytest.mark.parametrize("state", [State.ACTIVE, State.IRREVERSIBLE])
def test_what_somebody_else_has_undone_does_not_become_active(ledger: Ledger, state: State) -> None:
    """The supervisor undid a fault during its proof, and the ledger went from recovered to active (row 10)."""
    entry = ledger.intend("a", {}, UNDO)
    other = another(ledger)
    other.mark(other.entries()[entry.id], State.RECOVERED, "its time was over", came_off_s=5.0)
    before = ledger.path.read_bytes()
    with pytest.raises(StateError) as raised:
        ledger.mark(entry, state, evidence=["seen"])
    assert str(raised.value) == f"{entry.id} cannot become {state}: it is recovered (its time was over)"
    assert ledger.path.read_bytes() == before
    assert (entry.state, entry.detail, entry.came_off_s) == (State.RECOVERED, "its time was over", 5.0)
    with pytest.raises(StateError):
        ledger.renew(entry, datetime(2031, 1, 1, tzinfo=UTC))
    assert ledger.path.read_bytes() == before


def test_what_is_closed_twice_came_off_when_it_did_first(ledger: Ledger) -> None:
    entry, other = ledger.intend("a", {}, UNDO), another(ledger)
    other.mark(other.entries()[entry.id], State.RECOVERED, "first", came_off_s=5.0)
    ledger.mark(entry, State.RECOVERED, "second", came_off_s=7.0)
    assert (entry.detail, entry.came_off_s) == ("first", 5.0)
    assert read_ledger(ledger.path).entries[entry.id] == entry


def test_a_line_of_an_old_ledger_that_goes_back_is_reported(ledger: Ledger) -> None:
    """Ledgers of earlier versions may hold such lines (row 10)."""
    entry = ledger.mark(ledger.intend("a", {}, UNDO), State.RECOVERED)
    with ledger.path.open("a") as file:
        file.write(json.dumps({"id": entry.id, "state": "active"}) + "\n")
    view = read_ledger(ledger.path)
    assert view.entries[entry.id].state is State.RECOVERED
    assert f"{entry.id} is recovered and cannot become active" in view.corrupt[0]


ORDER = list(State)
STEPS = st.lists(st.tuples(st.booleans(), st.integers(0, 1), st.sampled_from([*State, "renew"])), max_size=12)


@given(steps=STEPS)
def test_two_writers_move_states_one_way_whatever_the_order(steps: list[tuple[bool, int, State | str]]) -> None:
    """Whichever is next, whatever it believes: no state goes back, and nobody believes otherwise (row 10)."""
    with tempfile.TemporaryDirectory() as directory:
        ours = Ledger("r", OWNER, Path(directory))
        entries = [ours.intend("k", {}, UNDO) for _ in range(2)]
        theirs = another(ours)
        copies = [Entry.from_json(entry.to_json()) for entry in entries]
        known = {entry.id: State.INTENT for entry in entries}
        for mine, index, step in steps:
            ledger, entry = (ours, entries[index]) if mine else (theirs, copies[index])
            was = known[entry.id]
            try:
                if isinstance(step, State):
                    ledger.mark(entry, step, "done")
                else:
                    ledger.renew(entry, datetime(2031, 1, 1, tzinfo=UTC))
                refused = False
            except StateError:
                refused = True
            now = read_ledger(ours.path).entries[entry.id].state
            assert ORDER.index(now) >= ORDER.index(was)
            assert now is was or was.is_open
            if isinstance(step, State):
                assert refused == (now is not step)
            else:
                assert refused == (not was.is_open)
            if refused and not was.is_open:
                assert entry.state is was
            known[entry.id] = now
        assert read_ledger(ours.path).corrupt == []


def test_a_view_reads_only_what_is_new(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run with 1,000 faults must not read all of them again with each keyword."""
    entry = ledger.intend("a", {"name": "a" * 5000}, UNDO)
    view = LedgerView(ledger.path).refresh()
    sizes: list[int] = []
    real = os.pread
    monkeypatch.setattr(os, "pread", lambda d, size, at: (sizes.append(size), real(d, size, at))[1])
    assert view.refresh().entries[entry.id].state is State.INTENT
    assert sizes == []
    another(ledger).mark(Entry.from_json(entry.to_json()), State.ACTIVE)
    sizes.clear()
    assert view.refresh().entries[entry.id].state is State.ACTIVE
    assert sum(sizes) < 1000


def test_a_view_waits_for_the_rest_of_a_line(ledger: Ledger) -> None:
    first, second = ledger.intend("a", {}, UNDO), ledger.intend("b", {}, UNDO)
    data = ledger.path.read_bytes()
    ledger.path.write_bytes(data[:-30])
    view = LedgerView(ledger.path).refresh()
    assert (list(view.entries), view.corrupt) == ([first.id], [])
    ledger.path.write_bytes(data)
    assert list(view.refresh().entries) == [first.id, second.id]
    assert view.corrupt == []


def test_a_view_begins_again_with_another_file(ledger: Ledger) -> None:
    ledger.intend("a", {}, UNDO)
    view = LedgerView(ledger.path).refresh()
    ledger.path.rename(ledger.path.with_name("aside"))
    entry = another(ledger).intend("b", {}, UNDO)
    assert list(view.refresh().entries) == [entry.id]


def test_directories_that_are_made_are_for_their_owner_alone(ledger: Ledger) -> None:
    """Whoever may write there decides what is undone (row 28)."""
    ledger.intend("a", {}, UNDO)
    assert [place.stat().st_mode & 0o777 for place in (ledger.path.parent, ledger.path.parents[1])] == [0o700, 0o700]


def give_away(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a file belong to another user than the one who runs this."""
    if os.geteuid() == 0:
        os.chown(path, 4711, 4711)
    else:
        monkeypatch.setattr(os, "geteuid", lambda: 4711)


def test_a_ledger_of_another_user_is_not_written(ledger: Ledger, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a state directory that users share, its owner could have root undo anything (row 28)."""
    ledger.intend("a", {}, UNDO)
    give_away(ledger.path, monkeypatch)
    before = ledger.path.read_bytes()
    with pytest.raises(LedgerError, match=r"belongs to user \d+, not to user \d+ who runs this"):
        ledger.intend("b", {}, UNDO)
    assert ledger.path.read_bytes() == before
