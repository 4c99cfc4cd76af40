"""Edits of a YAML document, written into the text that it was read from.

A round trip through a YAML library keeps comments, not the layout: of 281 real manifests ruamel.yaml gives 191 back
as they were. So the text stays, and only what differs from it is written, at the place where it stands.
"""

import json
import re
from collections.abc import Iterator
from difflib import SequenceMatcher
from enum import Enum
from typing import Any, NamedTuple

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.yaml_reading import (
    Alias,
    Mapping,
    Node,
    NotYaml,
    Part,
    Scalar,
    Sequence,
    brought,
    is_merge,
    key_text,
    read,
    value,
)
from DynamoFaultLibrary.graph.yaml_rendering import block_text, flowing, inline, patched, render

Json = Any
"""dict, list, str, int, float, bool or None."""


def write(part: Part, wanted: Json) -> str:
    """The part's own text with its value changed to `wanted`; what did not change stays byte for byte.

    Raises:
        GraphError: that cannot be done: the document would have to be written anew, without its comments and layout.
    """
    if part.root is None or unchanged(part.root, wanted):
        return part.own_text
    for aliases in Aliases:
        text = _Writer(part, aliases).write(part.root, wanted)
        if text is not None and _reads_as(text, wanted):
            return text
    line = part.text.count("\n", 0, part.root.start) + 1
    raise GraphError(
        f"the edits cannot be written into the YAML document at line {line} as it is laid out; lay it out anew, for "
        "example with 'yq -P', or make them by hand"
    )


def unchanged(node: Node | None, wanted: Json) -> bool:
    """Whether the text says `wanted` already: nothing at all says an empty map, too."""
    return _same(value(node), wanted)


def _same(found: Json, wanted: Json) -> bool:
    if isinstance(found, dict) and isinstance(wanted, dict):
        return found.keys() == wanted.keys() and all(_same(found[key], wanted[key]) for key in found)
    if isinstance(found, list) and isinstance(wanted, list):
        return len(found) == len(wanted) and all(map(_same, found, wanted))
    if found is None and wanted in ({}, []):
        return True
    return isinstance(found, bool) is isinstance(wanted, bool) and bool(found == wanted)


def _reads_as(text: str, wanted: Json) -> bool:
    try:
        parts = read(text)
        return len(parts) == 1 and unchanged(parts[0].root, wanted)
    except NotYaml:
        return False


class Aliases(Enum):
    """What becomes of an alias when values change; the first way that gives what is wanted is taken."""

    FOLLOW = "stays, and changes with its anchor"
    OWN = "stays if its own value does not change"
    EXPAND = "is written out, and merge keys with it"


class _Unfit(Exception):  # noqa: N818  # no error: a signal of this module
    """The edit cannot be made inside this value; it is written anew as a whole."""


_Added = tuple[int, str, list[str]]
"""A new entry: the one that it stands behind (-1: before all), its first line, and those below."""


class _Place(NamedTuple):
    """Where a value stands: behind the `:` or `-` that ends at `lead`, in a collection at `column`."""

    lead: int
    column: int
    in_map: bool = True
    flow: bool = False
    quoted: bool = False
    """Whether strings there are in double quotes throughout, as in JSON."""


class _Writer:
    """Collects replacements of a document's text."""

    def __init__(self, part: Part, aliases: Aliases) -> None:
        self.text = part.text if part.text.endswith("\n") else part.text + "\n"
        self.part = part
        self.expand = aliases is Aliases.EXPAND
        self.follow = aliases is Aliases.FOLLOW
        self.newline = "\r\n" if "\r\n" in part.own_text else "\n"
        self.step = _list_step(part.root, self.text)
        self.changes: list[tuple[int, int, str]] = []

    def write(self, root: Node, wanted: Json) -> str | None:
        """The edited text; None where only a document written anew could say it."""
        try:
            self._edit(root, wanted, _Place(root.start, -2))
        except _Unfit:
            return None
        at, pieces = self.part.start, []
        for start, stop, text in sorted(self.changes, key=lambda change: change[:2]):
            pieces += [self.text[at:start], re.sub(r"\r?\n", self.newline, text)]
            at = max(at, stop)
        return "".join([*pieces, self.text[at : self.part.end]])

    def _edit(self, node: Node, wanted: Json, place: _Place) -> None:
        if isinstance(node, Alias):
            if self.expand or not (self.follow or unchanged(node, wanted)):
                self._replace(node, wanted, place)
            return
        if unchanged(node, wanted) and not self.expand:
            return
        before = len(self.changes)
        try:
            match node:
                case Mapping() if isinstance(wanted, dict) and wanted:
                    self._mapping(node, wanted)
                case Sequence() if isinstance(wanted, list) and wanted:
                    self._sequence(node, wanted)
                case Scalar():
                    self._scalar(node, wanted, place)
                case _:
                    raise _Unfit
        except _Unfit:
            del self.changes[before:]
            if place.column < 0:
                raise
            self._replace(node, wanted, place)

    # --- collections

    def _mapping(self, node: Mapping, wanted: dict[str, Json]) -> None:
        given: dict[str, Json] = {}
        own: dict[str, tuple[Scalar, Node]] = {}
        for key, item in node.pairs:
            if is_merge(key):
                given |= brought(item)
            elif self.text[key.start - 2 : key.start].lstrip("\n") == "? ":
                raise _Unfit
            else:
                own[key_text(key)] = key, item
        if given and (self.expand or given.keys() - wanted.keys()):
            raise _Unfit
        kept = [name in wanted for name in own]
        if not any(kept):
            raise _Unfit
        column = self._column(node.pairs[0][0].start)
        quoted = node.flow and node.pairs[0][0].style == '"'
        for name, (key, item) in own.items():
            if name in wanted:
                lead = self.text.index(":", key.end) + 1
                self._edit(item, wanted[name], _Place(lead, column, flow=node.flow, quoted=quoted))
        spans = [(key.start, item.end) for key, item in own.values()]
        added: list[_Added] = []
        last, index = -1, {name: at for at, name in enumerate(own)}
        for name, entry in wanted.items():
            if name in own:
                last = index[name]
            elif name not in given or not (self.follow or _same(given[name], entry)):
                added.append((last, *self._pair(name, entry, column, node.flow, quoted)))
        self._rearrange(spans, kept, added, column, node.flow)

    def _pair(self, name: str, entry: Json, column: int, flow: bool, quoted: bool) -> tuple[str, list[str]]:
        label = inline(name, '"' if quoted else "", flow)
        if flow:
            return f"{label}: {flowing(entry, quoted)}", []
        head, tail = render(entry, column, in_map=True, step=self.step)
        return f"{label}:{' ' if head else ''}{head}", tail

    def _sequence(self, node: Sequence, wanted: list[Json]) -> None:
        olds = [value(item) for item in node.items]
        matches = list(_align(olds, wanted))
        kept = [old is not None and new is not None for old, new in matches if old is not None]
        if not any(kept):
            raise _Unfit
        starts = [item.start for item in node.items] if node.flow else list(self._dashes(node))
        column = self._column(starts[0])
        styles = [item.style for item in node.items if isinstance(item, Scalar)]
        quote = styles[-1] if styles and styles[-1] in ("'", '"') else ""
        added: list[_Added] = []
        last = -1
        for old, new in matches:
            if old is None and new is not None:
                added.append((last, *self._item(wanted[new], column, node.flow, quote)))
            elif old is not None and new is not None:
                last = old
                lead = starts[old] + (0 if node.flow else 1)
                place = _Place(lead, column, in_map=False, flow=node.flow, quoted=quote == '"')
                self._edit(node.items[old], wanted[new], place)
        ends = [item.end for item in node.items]
        self._rearrange(list(zip(starts, ends, strict=True)), kept, added, column, node.flow)

    def _item(self, entry: Json, column: int, flow: bool, quote: str) -> tuple[str, list[str]]:
        if flow:
            return flowing(entry, quote == '"'), []
        head, tail = render(entry, column, in_map=False, step=self.step, quote=quote)
        return f"- {head}", tail

    def _rearrange(
        self, spans: list[tuple[int, int]], kept: list[bool], added: list[_Added], column: int, flow: bool
    ) -> None:
        """Take out the entries that are not kept, and put new ones in."""
        first = kept.index(True)
        (self._drop_in_flow if flow else self._drop_lines)(spans, kept, first)
        pad = " " * column
        for after, head, tail in added:
            if flow:
                self._insert_in_flow(spans, after, first, head, column)
            elif after < 0:
                lines = "\n".join([head, *tail])
                self._change(spans[first][0], spans[first][0], f"{lines}\n{pad}")
            else:
                at = self._line_end(spans[after][1])
                self._change(at, at, "".join(f"\n{line}" for line in [pad + head, *tail]))

    def _insert_in_flow(self, spans: list[tuple[int, int]], after: int, first: int, text: str, column: int) -> None:
        start, end = spans[max(after, first)]
        own_lines = not self.text[self._line_start(start) : start].strip()
        gap = "\n" + " " * column if own_lines else " "
        if after < 0:
            self._change(start, start, f"{text},{gap}")
        else:
            self._change(end, end, f",{gap}{text}")

    def _drop_in_flow(self, spans: list[tuple[int, int]], kept: list[bool], first: int) -> None:
        for at, (start, end) in enumerate(spans):
            if not kept[at] and at < first:
                self._change(start, spans[at + 1][0], "")
            elif not kept[at]:
                self._change(spans[at - 1][1], end, "")

    def _drop_lines(self, spans: list[tuple[int, int]], kept: list[bool], first: int) -> None:
        start = spans[0][0]
        compact = first > 0 and bool(self.text[self._line_start(start) : start].strip())
        if compact:
            self._change(start, spans[first][0], "")
        for at, (start, end) in enumerate(spans):
            if not kept[at] and not (compact and at < first):
                self._change(self._line_start(start), self.text.index("\n", end) + 1, "")

    def _dashes(self, node: Sequence) -> Iterator[int]:
        at = self.text.index("-", node.start) if node.anchor or node.tag else node.start
        for item in node.items:
            at = re.compile(r"(?:[\s]|#[^\n]*)*").match(self.text, at).end()  # type: ignore[union-attr]  # matches all
            yield at
            at = item.end

    # --- scalars and whole values

    def _scalar(self, node: Scalar, wanted: Json, place: _Place) -> None:
        raw = self.text[node.start : node.end]
        if unchanged(node, wanted):
            return
        if not isinstance(wanted, str) or not isinstance(value(node), str):
            raise _Unfit
        folded = node.style == ">" or (node.style != "|" and "\n" in raw)
        if folded and (text := patched(raw, node.text, wanted, _folds)) is not None:
            self._change(node.start, node.end, text)
        elif node.style == "|" and (block := block_text(wanted)):
            self._literal(node, raw, *block)
        elif node.style in ("'", '"') and "\n" not in raw and not (node.anchor or node.tag):
            self._change(node.start, node.end, inline(wanted, node.style, place.flow))
        else:
            raise _Unfit

    def _literal(self, node: Scalar, raw: str, indicator: str, lines: list[str]) -> None:
        top, _, body = raw.partition("\n")
        depths = [len(line) - len(line.lstrip(" ")) for line in body.splitlines() if line.strip()]
        if not depths or "2" in indicator or re.search(r"\|[-+]?\d", top):
            raise _Unfit
        header = re.sub(r"\|[-+]?", lambda _: f"|{indicator}", top.rstrip("\r"), count=1)
        pad = " " * depths[0]
        self._change(node.start, node.end, "\n".join([header, *(pad + line if line else "" for line in lines)]))

    def _replace(self, node: Node, wanted: Json, place: _Place) -> None:
        name = f"&{node.anchor}" if node.anchor and not self.expand else ""
        quote = node.style if isinstance(node, Scalar) and node.style in ("'", '"') and isinstance(wanted, str) else ""
        tail: list[str] = []
        if place.flow:
            head = flowing(wanted, place.quoted or quote == '"')
        else:
            head, tail = render(wanted, place.column, place.in_map, self.step, quote)
        words = " ".join(filter(None, [name, head]))
        if isinstance(node, Scalar | Alias) and node.start < node.end and head and not tail:
            self._change(node.start, node.end, words)
            return
        lead = min(place.lead, node.start)
        self._change(lead, node.end, f" {words}" if words and self.text[lead - 1] in ":-" else words)
        at = self._line_end(node.end)
        self._change(at, at, "".join(f"\n{line}" for line in tail))

    # --- the text

    def _change(self, start: int, stop: int, text: str) -> None:
        if stop > start or text:
            self.changes.append((start, stop, text))

    def _line_start(self, at: int) -> int:
        return self.text.rfind("\n", 0, at) + 1

    def _line_end(self, at: int) -> int:
        end = self.text.index("\n", at)
        return end - (end > at and self.text[end - 1] == "\r")

    def _column(self, at: int) -> int:
        return at - self._line_start(at) - (self.text.startswith("\ufeff") and self._line_start(at) == 0)


def _folds(raw: str, wanted: str) -> bool:
    try:
        return bool(value(read(f"k: {raw}\n")[0].root) == {"k": wanted})
    except NotYaml:
        return False


def _list_step(root: Node | None, text: str) -> int:
    """How far lists stand to the right of their keys in most places of a document."""
    votes = []
    stack = [root]
    while stack:
        match stack.pop():
            case Mapping() as node:
                for key, item in node.pairs:
                    if isinstance(item, Sequence) and not (node.flow or item.flow or item.anchor or item.tag):
                        columns = [at - text.rfind("\n", 0, at) for at in (key.start, item.start)]
                        votes.append(columns[1] - columns[0])
                    stack.append(item)
            case Sequence() as node:
                stack += node.items
            case _:
                pass
    return max(votes, key=votes.count) if votes else 0


def _align(olds: list[Json], news: list[Json]) -> Iterator[tuple[int | None, int | None]]:
    """Which old entry each new one comes from: (old, new), (old, None) for those gone, (None, new) for new ones."""
    before, after = ([json.dumps(entry, sort_keys=True) for entry in side] for side in (olds, news))
    for tag, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if tag == "equal":
            yield from zip(range(a, b), range(c, d), strict=True)
            continue
        waiting = list(range(a, b))
        for new in range(c, d):
            old = next((at for at in waiting if _alike(olds[at], news[new])), None)
            if old is not None:
                skipped = waiting.index(old)
                yield from ((gone, None) for gone in waiting[:skipped])
                waiting = waiting[skipped + 1 :]
            yield old, new
        yield from ((gone, None) for gone in waiting)


def _alike(old: Json, new: Json) -> bool:
    """Whether an entry may have become the other: things of one name, or two words."""
    if isinstance(old, dict) and isinstance(new, dict):
        return bool(old.get("name") == new.get("name"))
    return isinstance(old, list) is isinstance(new, list) and isinstance(old, dict) is isinstance(new, dict)
