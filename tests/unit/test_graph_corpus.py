"""The shapes of real graphs, each written anew and small: loaded, written back, edited as their user means it.

`graphs/expected.yaml` says what must happen; what a process gets is seen by running the commands
(`tests/graph_oracle.py`).
"""

import shlex
from dataclasses import replace
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.edits import Change, Edits, apply_edits
from DynamoFaultLibrary.graph.manifest import Manifest
from tests import graph_oracle as oracle
from tests.graph_judge import ALL, FIELDS, Seen, comments, judge, only

FOLDER = Path(__file__).parent / "graphs"
EXPECTED: dict[str, dict[str, Any]] = yaml.safe_load((FOLDER / "expected.yaml").read_text(encoding="utf-8"))
KEYS = ("args", "worlds", "refused", "may be refused", "told")
DOOR = {
    "role": "frontend",
    "runs": "python3 -m dynamo.frontend",
    "then": "python3 -m dynamo.frontend --http-host 127.0.0.9 --router-mode kv --migration-limit 3",
}
GRAPHS = [key for key, row in EXPECTED.items() if "does not load" not in row]
FILES = sorted({key.partition("#")[0] for key in GRAPHS})
REFUSED = [(key, edit) for key in GRAPHS for edit in EXPECTED[key].get("refused", {})]


def path_of(key: str) -> Path:
    return FOLDER / f"{key.partition('#')[0]}.yaml"


def graph_name(key: str) -> str:
    names = list(oracle.graphs(path_of(key).read_text(encoding="utf-8")))
    return key.partition("#")[2] or names[0]


@cache
def unedited(key: str, **world: str) -> Seen:
    """A graph as it is, with some variables set."""
    return Seen(path_of(key).read_text(encoding="utf-8"), graph_name(key), own=True, world=world)


def services(key: str) -> dict[str, dict[str, Any]]:
    """The rows of a graph's services; a door that is not mentioned has the usual one."""
    rows = {name: row for name, row in EXPECTED[key].items() if name not in KEYS}
    usual = {"Door": DOOR} if "Door" in unedited(key).mains else {}
    return {**usual, **rows}


def lines(row: dict[str, Any], when: str) -> list[str]:
    said = row["runs"] if row.get(when) == "the same" else row.get(when, [])
    return [said] if isinstance(said, str) else list(said)


def edits_of(key: str) -> Edits:
    return replace(ALL, args=EXPECTED[key].get("args", ALL.args))


def edited(key: str, edits: Edits) -> tuple[str, list[Change]]:
    manifest = Manifest.load(path_of(key))
    changes = apply_edits(manifest.graph(graph_name(key)), edits)
    return manifest.to_yaml(), changes


def in_groups(words: list[str]) -> tuple[list[str], list[list[str]]]:
    """A command line as its program and its options, whose order does not matter, each with what belongs to it."""
    head: list[str] = []
    groups: list[list[str]] = []
    for index, word in enumerate(words):
        if word == "--" and groups:
            groups.append(words[index:])
            break
        if groups and not oracle.is_option(word):
            groups[-1].append(word)
        elif len(head) > 1 and oracle.is_option(word) and head[-1] != "-u" and word != "-m":
            groups.append(list(filter(None, word.partition("=")[::2] if word.startswith("--") else [word])))
        else:
            head.append(word)
    return head, sorted(groups)


def test_each_shape_has_a_row() -> None:
    files = {path.stem for path in FOLDER.glob("*.yaml")} - {"expected"}
    assert files == {key.partition("#")[0] for key in EXPECTED}
    assert len(files) >= 60


@pytest.mark.parametrize("key", GRAPHS)
def test_the_yardstick_sees_what_runs(key: str) -> None:
    """No code of the library is in this: the table and the stand-ins say the same."""
    seen = unedited(key)
    rows = services(key)
    assert seen.roles == {name: row["role"] for name, row in rows.items()}
    for name, row in rows.items():
        found = [oracle.once(process.argv) for process in oracle.programs(seen.processes[name])]
        assert found == [shlex.split(line) for line in lines(row, "runs")]


@pytest.mark.parametrize("key", GRAPHS)
def test_roles(key: str) -> None:
    found = Manifest.load(path_of(key)).graph(graph_name(key)).services
    assert {name: str(service.role) for name, service in found.items()} == {
        name: row["role"] for name, row in services(key).items()
    }


@pytest.mark.parametrize("key", [key for key, row in EXPECTED.items() if "does not load" in row])
def test_what_is_no_graph_is_refused_with_the_reason(key: str) -> None:
    with pytest.raises(GraphError) as raised:
        Manifest.load(path_of(key)).graph()
    assert EXPECTED[key]["does not load"] in str(raised.value)
    assert f"{key}.yaml" in str(raised.value)


@pytest.mark.parametrize("name", FILES)
def test_a_file_comes_back_as_it_was(name: str) -> None:
    assert Manifest.load(path_of(name)).to_yaml() == path_of(name).read_text(encoding="utf-8")


@pytest.mark.parametrize(("key", "edit"), REFUSED)
def test_an_edit_that_cannot_be_made_is_refused_with_the_reason(key: str, edit: str) -> None:
    with pytest.raises(GraphError) as raised:
        edited(key, only(edits_of(key), edit))
    assert EXPECTED[key]["refused"][edit] in str(raised.value)


def reason(key: str, edit: str) -> str | None:
    """Why an edit is refused; None if it is made."""
    try:
        edited(key, only(edits_of(key), edit))
    except GraphError as error:
        return str(error)
    return None


def made(key: str) -> list[str]:
    """The edits to make together: those that must not be refused, and of those that may be, the ones that are not."""
    allowed = EXPECTED[key].get("may be refused", {})
    reasons = {name: reason(key, name) for name in allowed}
    assert all(allowed[name] in said for name, said in reasons.items() if said)
    return [name for name in FIELDS if name not in EXPECTED[key].get("refused", {}) and not reasons.get(name)]


@pytest.mark.parametrize("key", GRAPHS)
def test_edits_arrive_as_they_are_meant(key: str) -> None:
    names = made(key)
    edits = only(edits_of(key), *names)
    text, changes = edited(key, edits)
    told = [change for change in changes if change.why_not and change.what.startswith("model=")]
    assert [f"{change.service} {change.place}" for change in told] == EXPECTED[key].get("told", [])
    for world in ({}, *EXPECTED[key].get("worlds", [])):
        after = Seen(text, graph_name(key), own=True, world=world)
        assert list(judge(unedited(key, **ALL.env, **world), after, edits, changes)) == []
        if not world and set(names) >= set(FIELDS) - set(EXPECTED[key].get("refused", {})):
            for name, row in services(key).items():
                found = [oracle.once(process.argv) for process in oracle.programs(after.processes[name])]
                assert [in_groups(words) for words in found] == [
                    in_groups(shlex.split(line)) for line in lines(row, "then")
                ]


@pytest.mark.parametrize("key", GRAPHS)
def test_edits_leave_the_rest_of_the_file(key: str) -> None:
    """Other graphs, companions and comments."""
    before = path_of(key).read_text(encoding="utf-8")
    text, _ = edited(key, only(edits_of(key), *made(key)))
    name = graph_name(key)
    assert [item for item in oracle.documents(text) if oracle.is_other_graph(item, name)] == [
        item for item in oracle.documents(before) if oracle.is_other_graph(item, name)
    ]
    assert len(list(yaml.safe_load_all(text))) == len(list(yaml.safe_load_all(before)))
    assert not comments(before) - comments(text)
