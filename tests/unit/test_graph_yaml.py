"""YAML is read as kubectl reads it, and edits are written into the text that was read."""

import copy
import difflib
import json
from typing import Any

import pytest
import yaml
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import yaml_writing
from DynamoFaultLibrary.graph.yaml_reading import NotYaml, read, value
from DynamoFaultLibrary.graph.yaml_rendering import dump
from DynamoFaultLibrary.graph.yaml_writing import write


def only(text: str) -> Any:
    (part,) = read(text)
    return value(part.root)


def all_of(text: str) -> list[Any]:
    return [value(part.root) for part in read(text)]


def edited(text: str, wanted: Any) -> str:
    (part,) = read(text)
    return write(part, wanted)


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        ("yes y Y On TRUE", True),
        ("no n NO Off false", False),
        ("~ null NULL", None),
        ("0o17 017 0xF 0b1111 15. 1.5e1 +15 1_5", 15),
        ("08 8.0", 8),
        (".5 5e-1", 0.5),
    ],
)
def test_a_word_is_what_kubectl_makes_of_it(words: str, expected: object) -> None:
    """As `kubectl annotate --local -o json` of kubectl 1.37 prints it."""
    for word in words.split():
        found = only(f"a: {word}")["a"]
        assert (found, type(found)) == (expected, type(expected))


@pytest.mark.parametrize(
    "word",
    ["12:30:45", "190:20", "2024-13-45", "2001-01-01", "tRue", "nO", "0o8", "0b2", "=", "1,000", "inf", "1e400", "_1"],
)
def test_a_word_that_kubectl_leaves_alone_is_a_string(word: str) -> None:
    assert only(f"a: {word}") == {"a": word}


def test_keys_are_strings() -> None:
    assert only("{on: 1, 0x10: 2, 1.5: 3, 2001-01-01: 4}") == {"true": 1, "16": 2, "1.5": 3, "2001-01-01": 4}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("!!str 5", "5"),
        ("! 12", "12"),
        ('!!int "3"', 3),
        ("!!float 3", 3),
        ("!!binary aGVsbG8=", "hello"),
        ("!foo 12", "12"),
        ('"yes"', "yes"),
        ("'1'", "1"),
        ("!!bool yes", True),
    ],
)
def test_quotes_and_tags_say_what_a_word_is(text: str, expected: object) -> None:
    assert only(f"a: {text}") == {"a": expected}


def test_merge_keys_bring_what_they_name_and_what_follows_wins() -> None:
    assert only("x: &x {p: 1, q: 2}\nb: {<<: *x, q: 3}\nc: {q: 3, <<: *x}")["b"] == {"p": 1, "q": 3}
    assert only("x: &x {p: 1, q: 2}\nc: {q: 3, <<: *x}")["c"] == {"p": 1, "q": 2}
    assert only("x: &x {p: 1}\ny: &y {p: 2, r: 5}\nb: {<<: [*x, *y]}")["b"] == {"p": 1, "r": 5}


def test_what_an_alias_stands_for_is_a_value_of_its_own() -> None:
    found = only("a: &x {p: [1]}\nb: *x")
    found["a"]["p"].append(2)
    assert found["b"] == {"p": [1]}


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: 2\na: 3\n", r"line 3: key 'a' is in the same map as in line 1; kubectl would take the last"),
        ("on: 1\ntrue: 2\n", r"line 2: key 'true' is in the same map as in line 1"),
        ("a: .inf\n", r"line 1: \.inf cannot be sent to Kubernetes"),
        ("a: 1\n~: 2\n", "line 2: a key must be a string, not null"),
        ("? [a]\n: 1\n", "line 1: a key must be a string, not a map, a list or an alias"),
        ("a: *x\n", "line 1: alias '\\*x' stands for nothing before it"),
        ("a: &x {p: 1}\n---\nb: *x\n", "line 3: alias '\\*x' stands for nothing before it"),
        ("a: &x [*x]\n", "line 1: alias '\\*x' stands for nothing before it"),
        ("a:\n  <<: 5\n", "line 2: the merge key '<<' needs a map or a list of maps"),
        ("a: !!int 3.5\n", r"line 1: '3.5' is not a !!int"),
        ("a: [1, 2", "line 2: "),
        ("a: 1\n\tb: 2", "line 2: "),
        ("\x00", "special characters are not allowed|control characters"),
    ],
)
def test_what_kubernetes_cannot_read_is_refused_with_its_line(text: str, message: str) -> None:
    with pytest.raises(NotYaml, match=message) as raised:
        all_of(text)
    assert "\n" not in str(raised.value)


def test_aliases_that_multiply_are_refused() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 10)]
    with pytest.raises(NotYaml, match="its aliases make more than 200000 values of it"):
        read("\n".join(lines))


def test_deep_nesting_is_refused_in_words() -> None:
    with pytest.raises(NotYaml):
        read("[" * 20000)


BLOCK = """\
# above
a: 1   # one
# between
text: |
  first
  second

folded: >-
  python3 -m dynamo.vllm
  --model x
  --last
quoted: "two
  lines"
list:
- x
# in the list
- "y"  # why
wide:
    - name: A
      value: "1"

    # of B
    - name: B
      value: '2'
flow: {p: 1, q: [a, "b"]}
many: [
  "--a",
  "--b",
]
empty:
last: |+
  end

"""


def change(text: str, *steps: Any) -> list[str]:
    """Lines that an edit takes out and puts in; the last step is the new value (or ... to take it out)."""
    document = only(text)
    place = document
    for step in steps[:-2]:
        place = place[step]
    if steps[-1] is ...:
        del place[steps[-2]]
    elif steps[-2] is None:
        place.append(steps[-1])
    else:
        place[steps[-2]] = steps[-1]
    result = edited(text, document)
    assert yaml_writing.unchanged(read(result)[0].root, document)
    lines = difflib.unified_diff(text.splitlines(), result.splitlines(), lineterm="", n=0)
    return [line for line in list(lines)[2:] if line[0] != "@"]


@pytest.mark.parametrize(
    ("steps", "lines"),
    [
        (("a", 2), ["-a: 1   # one", "+a: 2   # one"]),
        (("a", "yes"), ["-a: 1   # one", '+a: "yes"   # one']),
        (("a", ["x"]), ["-a: 1   # one", "+a:   # one", "+- x"]),
        (("a", {"b": {"c": 1}}), ["-a: 1   # one", "+a:   # one", "+  b:", "+    c: 1"]),
        (("a", "x\ny\n"), ["-a: 1   # one", "+a: |   # one", "+  x", "+  y"]),
        (("a", ...), ["-a: 1   # one"]),
        (("new", "a: b"), ['+new: "a: b"']),
        (("text", "first\nsecond\nthird\n"), ["+  third"]),
        (("text", "first\n"), ["-  second"]),
        (("text", "x"), ["-text: |", "-  first", "-  second", "+text: |-", "+  x"]),
        (("text", 5), ["-text: |", "-  first", "-  second", "+text: 5"]),
        (("text", ...), ["-text: |", "-  first", "-  second"]),
        (("folded", "python3 -m dynamo.vllm --model y --last"), ["-  --model x", "+  --model y"]),
        (("folded", "python3 -m dynamo.vllm --model x --last --new 1"), ["-  --last", "+  --last --new 1"]),
        (("folded", "python3 -m dynamo.vllm --last"), ["-  --model x"]),
        (("quoted", "two more lines"), ['-quoted: "two', '+quoted: "two more']),
        (("list", None, "z"), ['+- "z"']),
        (("list", 0, ...), ["-- x"]),
        (("list", 1, "it's"), ['-- "y"  # why', '+- "it\'s"  # why']),
        (("list", []), ["-list:", "-- x", "-# in the list", '-- "y"  # why', "+list: []  # why"]),
        (("wide", None, {"name": "C", "value": "on"}), ["+    - name: C", '+      value: "on"']),
        (("wide", 0, ...), ["-    - name: A", '-      value: "1"']),
        (("wide", 0, "name", ...), ["-    - name: A", '-      value: "1"', '+    - value: "1"']),
        (("wide", 1, "value", "3"), ["-      value: '2'", "+      value: '3'"]),
        (("flow", "p", 2), ['-flow: {p: 1, q: [a, "b"]}', '+flow: {p: 2, q: [a, "b"]}']),
        (("flow", "p", ...), ['-flow: {p: 1, q: [a, "b"]}', '+flow: {q: [a, "b"]}']),
        (("flow", "q", ...), ['-flow: {p: 1, q: [a, "b"]}', "+flow: {p: 1}"]),
        (("flow", "q", None, "c,d"), ['-flow: {p: 1, q: [a, "b"]}', '+flow: {p: 1, q: [a, "b", "c,d"]}']),
        (("flow", "q", 0, ...), ['-flow: {p: 1, q: [a, "b"]}', '+flow: {p: 1, q: ["b"]}']),
        (("many", None, "--c"), ['+  "--c",']),
        (("many", [[], None]), ['-  "--a",', '-  "--b",', "+  [],", "+  null,"]),
        (("many", 1, ...), ['-  "--b",']),
        (("empty", 1), ["-empty:", "+empty: 1"]),
        (("empty", [1]), ["+- 1"]),
        (("empty", {}), []),
        (("last", ...), ["-last: |+", "-  end", "-"]),
    ],
)
def test_an_edit_changes_the_lines_that_it_must(steps: tuple[Any, ...], lines: list[str]) -> None:
    assert change(BLOCK, *steps) == lines


@pytest.mark.parametrize("newline", ["\n", "\r\n"])
@pytest.mark.parametrize("end", ["", "\n", "\n\n", "\n...\n"])
@pytest.mark.parametrize("start", ["", "\ufeff", "---\n", "# c\n---\n", "%YAML 1.1\n---\n", "--- # x\n"])
def test_the_frame_of_a_document_stays(start: str, end: str, newline: str) -> None:
    text = f"{start}a: {{b: 1}}\nc:\n- ü😀 # ü\n- |\n  x{end}".replace("\n", newline)
    assert edited(text, only(text)) == text
    result = edited(text, {"a": {"b": 2}, "c": ["ü😀", "x\n", "z"], "d": 1})
    assert result == text.replace("b: 1", "b: 2").replace("  x", f"  x{newline}- z{newline}d: 1")


def test_each_document_of_a_text_is_a_part() -> None:
    text = "# first\n---\na: 1\n---\n---\n# only words\n--- {b: 2}\n...\n# end\n"
    parts = read(text)
    assert "".join(part.own_text for part in parts) == text
    assert all_of(text) == [{"a": 1}, None, None, {"b": 2}]
    assert write(parts[3], {"b": 3}) == "--- {b: 3}\n...\n# end\n"


ALIASES = """\
base: &base
  image: one # why
  env: &env
  - {name: A, value: "1"}
other:
  <<: *base
  name: x
third: {env: *env, image: two}
"""


def test_an_alias_follows_its_anchor_when_all_change() -> None:
    wanted = only(ALIASES)
    wanted["base"]["image"] = wanted["other"]["image"] = "new"
    assert edited(ALIASES, wanted) == ALIASES.replace("image: one", "image: new")


def test_a_change_beside_an_anchor_changes_nothing_else() -> None:
    wanted = only(ALIASES)
    wanted["other"]["image"] = "new"
    assert edited(ALIASES, wanted) == ALIASES.replace("  name: x\n", "  image: new\n  name: x\n")


def test_an_alias_is_written_out_when_only_it_or_only_its_anchor_changes() -> None:
    wanted = only(ALIASES)
    wanted["third"]["env"].append({"name": "B", "value": "2"})
    assert 'third: {env: [{name: A, value: "1"}, {name: B, value: "2"}], image: two}' in edited(ALIASES, wanted)
    wanted = only(ALIASES)
    wanted["base"]["env"].append({"name": "B", "value": "2"})
    result = edited(ALIASES, wanted)
    assert only(result) == wanted
    assert "image: one # why" in result
    assert "*" not in result


def test_json_stays_json() -> None:
    text = '{\n  "a": {"b": [1, "x"]},\n  "c": null\n}\n'
    wanted = {"a": {"b": [1, "x", "yes"], "n": {"k": True}}, "c": "d", "e": []}
    result = edited(text, wanted)
    assert json.loads(result) == wanted
    assert result.startswith('{\n  "a": {"b": [1, "x", "yes"], "n"')


@pytest.mark.parametrize(
    "word",
    [
        "yes",
        "1",
        "on",
        "0o17",
        "1e3",
        "~",
        "",
        " x",
        "x ",
        "a: b",
        "a #b",
        "- x",
        "x:",
        "12:30",
        "2001-01-01",
        "=",
        "<<",
        "@x",
        "%x",
        "!x",
        "{x",
        "---",
    ],
)
def test_a_string_is_a_string_for_every_reader(word: str) -> None:
    for text in (
        dump({"a": word, "b": [word], word: 1}),
        edited("a: 1\n", {"a": word}),
        edited("{a: 1}\n", {"a": [word]}),
    ):
        assert only(text)["a"] in (word, [word])
        assert yaml.safe_load(text)["a"] in (word, [word])


def test_lines_are_written_as_a_block() -> None:
    assert dump({"a": ["x\ny: z\n"], "b": "p\nq"}) == "a:\n- |\n  x\n  y: z\nb: |-\n  p\n  q\n"


TEXTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=8) | st.sampled_from(
    [
        "yes",
        "1",
        "- a",
        "a: b",
        "x\ny\n",
        " lead\n",
        "\n\na\n\n",
        "a\n  b",
        "tab\t\nx",
        "'",
        '"',
        "#",
        "é\u2028",
        "a\n \n",
        "x" * 100,
    ]
)
SCALARS = st.none() | st.booleans() | st.integers(-(10**6), 10**6) | st.floats(-1e6, 1e6) | TEXTS
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXTS, inner, max_size=3), max_leaves=8
)
DOCUMENTS = st.dictionaries(TEXTS, VALUES, min_size=1, max_size=4)


@given(DOCUMENTS)
@settings(max_examples=60, deadline=None)
def test_whatever_is_dumped_is_read_again(document: dict[str, Any]) -> None:
    assert yaml_writing.unchanged(read(dump(document))[0].root, document)


@given(DOCUMENTS, DOCUMENTS, st.sampled_from(["block", "flow", "yaml"]))
@settings(max_examples=100, deadline=None)
def test_any_document_can_be_made_of_any_other(old: dict[str, Any], new: dict[str, Any], form: str) -> None:
    text = dump(old) if form == "block" else yaml.safe_dump(old, default_flow_style=form == "flow", allow_unicode=True)
    try:
        start = only(text)
    except NotYaml:
        assume(False)
    assume("? " not in text)  # see the test below
    wanted = {**start, **new}
    assert yaml_writing.unchanged(read(edited(text, wanted))[0].root, wanted)


def test_what_cannot_be_written_into_the_text_is_refused() -> None:
    """Else a document written anew would lose its comments without a word."""
    with pytest.raises(GraphError, match=r"cannot be written into the YAML document at line 3 as it is laid out"):
        edited("# c\n\n? a key\n: 1\n", {"a key": 2})


def test_an_edit_in_a_folded_text_keeps_windows_line_ends() -> None:
    text = "# c\r\na: >-\r\n  python3 -m x\r\n  --old 1\r\n"
    assert edited(text, {"a": "python3 -m x --new 1"}) == text.replace("--old", "--new")


def test_a_block_with_blank_lines_at_its_end_takes_none_of_the_file() -> None:
    assert only(edited("a: 1 # c\n\n\nb: 2\n", {"a": "x\n\n", "b": 2})) == {"a": "x\n\n", "b": 2}
    assert edited("a: 1 # c\n\n\nb: 2\n", {"a": "x\n\n", "b": 2}).startswith('a: "x\\n\\n" # c')


LINES = BLOCK.splitlines()


@given(st.data())
@settings(max_examples=100, deadline=None)
def test_edits_of_a_written_document_keep_its_comments(data: st.DataObject) -> None:
    """No edit falls back on a new document, whatever is changed where."""
    document = only(BLOCK)
    wanted = copy.deepcopy(document)
    for _ in range(data.draw(st.integers(1, 4))):
        key = data.draw(st.sampled_from([*document, "new", "other"]))
        if data.draw(st.booleans()) and isinstance(wanted.get(key), list) and wanted[key]:
            wanted[key].insert(data.draw(st.integers(0, 2)), data.draw(VALUES))
        elif key != "a" and data.draw(st.booleans()):
            wanted.pop(key, None)
        else:
            wanted[key] = data.draw(VALUES)
    result = edited(BLOCK, wanted)
    assert yaml_writing.unchanged(read(result)[0].root, wanted)
    assert result.startswith("# above\na: ")
    assert "# between\n" in result
