"""Kubernetes' YAML: read as kubectl reads it, with the place of every value in the text.

kubectl reads YAML 1.1 by Go's rules, not by those of a Python parser: `y`, `no` and `off` are booleans, `0o17` and
`017` are 15, `1e3` is 1000, while `12:30:45` and dates stay strings, and a key is always a string (`on: 1` is the key
`true`). So scalars are resolved here; libyaml, which Go's parser is made after, does the rest.
"""

import base64
import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import yaml

MOST_NODES = 200_000
"""A document that grows beyond this through its aliases is a bomb, or a mistake."""

_LOADER: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
_YAML = "tag:yaml.org,2002:"
_WORDS = {
    **dict.fromkeys(("y", "Y", "yes", "Yes", "YES", "true", "True", "TRUE", "on", "On", "ON"), True),
    **dict.fromkeys(("n", "N", "no", "No", "NO", "false", "False", "FALSE", "off", "Off", "OFF"), False),
    **dict.fromkeys(("", "~", "null", "Null", "NULL"), None),
}
_WHOLE = re.compile(r"[-+]?(0[xX][0-9a-fA-F]+|0[oO][0-7]+|0[bB][01]+|0[0-7]*|[1-9][0-9]*)")
_REAL = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NO_JSON = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")


class NotYaml(ValueError):  # noqa: N818  # the caller says which file, in an error of its own
    """The text cannot be read, and the line says where."""

    def __init__(self, problem: str, line: int | None = None) -> None:
        super().__init__(problem if line is None else f"line {line}: {problem}")


@dataclass(slots=True)
class Node:
    """A value and its place: characters `start` to `end` of the text, `end` being that of its content."""

    start: int
    end: int
    line: int
    size: int = 1
    anchor: str | None = None
    tag: str | None = None


@dataclass(slots=True)
class Scalar(Node):
    """A word, a number, a text; `style` is its quote, `|`, `>` or nothing."""

    text: str = ""
    style: str = ""


@dataclass(slots=True)
class Sequence(Node):
    """A list; `flow` when it is written in brackets."""

    flow: bool = False
    items: list[Node] = field(default_factory=list)


@dataclass(slots=True)
class Mapping(Node):
    """Keys with their values, in their order, merge keys among them."""

    flow: bool = False
    pairs: list[tuple[Scalar, Node]] = field(default_factory=list)


@dataclass(slots=True)
class Alias(Node):
    """`*name`, and the value that it stands for."""

    target: Node | None = None


@dataclass(slots=True)
class Part:
    """A document of a text, with its markers and comments: characters `start` to `end`."""

    text: str
    """The whole text that the document is a part of."""
    start: int
    end: int
    root: Node | None

    @property
    def own_text(self) -> str:
        """The document's own text."""
        return self.text[self.start : self.end]


def read(text: str) -> list[Part]:
    """Read all documents of a text; joined together, the parts' own texts are the text.

    Raises:
        NotYaml: the text is not YAML, or is nothing that Kubernetes can read.
    """
    whole = text if text.endswith("\n") else text + "\n"  # as kubectl does: a `|` at the end is a whole line
    mark = whole.startswith("\ufeff")
    try:
        found = list(_Composer(whole[mark:], int(mark)).documents())
    except yaml.MarkedYAMLError as error:
        at = error.problem_mark or error.context_mark
        raise NotYaml(str(error.problem or error.context), at.line + 1 if at else None) from None
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise error if isinstance(error, NotYaml) else NotYaml(" ".join(str(error).split())) from None
    if not found:
        return []
    starts = [0, *(start for start, _ in found[1:])]
    ends = [*starts[1:], len(text)]
    return [Part(text, start, end, root) for start, end, (_, root) in zip(starts, ends, found, strict=True)]


def value(node: Node | None) -> Any:
    """What Kubernetes reads: dicts, lists and scalars, made anew, what aliases stand for included.

    Raises:
        NotYaml: a value has no counterpart in JSON, or a key is there twice.
    """
    match node:
        case Scalar():
            return _scalar(node)
        case Sequence():
            return [value(item) for item in node.items]
        case Mapping():
            return _mapping(node)
        case Alias():
            return value(node.target)
    return None


def _mapping(node: Mapping) -> dict[str, Any]:
    found: dict[str, Any] = {}
    lines: dict[str, int] = {}
    for key, item in node.pairs:
        if is_merge(key):
            found |= brought(item)  # kubectl goes by the order: a merge key wins over what stands before it
            continue
        name = key_text(key)
        if name in lines:
            raise NotYaml(
                f"key '{name}' is in the same map as in line {lines[name]}; kubectl would take the last and forget the "
                "first without a word: keep one",
                key.line,
            )
        lines[name] = key.line
        found[name] = value(item)
    return found


def is_merge(key: Scalar) -> bool:
    """Whether a key is `<<`, which brings the pairs of other maps."""
    return key.text == "<<" and not key.style and key.tag in (None, f"{_YAML}merge")


def brought(item: Node) -> dict[str, Any]:
    """What a merge key with this value brings; of several maps the first one wins."""
    found = value(item)
    maps = found if isinstance(found, list) else [found]
    if not all(isinstance(entry, dict) for entry in maps):
        raise NotYaml("the merge key '<<' needs a map or a list of maps", item.line)
    return {key: entry[key] for entry in reversed(maps) for key in entry}


def key_text(node: Scalar) -> str:
    """A key as Kubernetes reads it: always a string."""
    found = _scalar(node)
    if found is None:
        raise NotYaml("a key must be a string, not null", node.line)
    return str(found).lower() if isinstance(found, bool) else str(found)


def plain(text: str) -> Any:
    """What Kubernetes reads where `text` stands without quotes.

    Raises:
        NotYaml: it is an infinity or no number.
    """
    if text in _WORDS:
        return _WORDS[text]
    if _NO_JSON.fullmatch(text):
        raise NotYaml(f"{text} cannot be sent to Kubernetes; put it into quotes if it is a word")
    if text[0] not in "+-.0123456789":
        return text
    digits = text if text[0] == "." else text.replace("_", "")
    if _WHOLE.fullmatch(digits):
        number = _whole(digits)
        if -(2**63) <= number < 2**64:
            return number
    if _REAL.fullmatch(digits):
        real = float(digits)
        if abs(real) != float("inf"):
            return int(real) if real.is_integer() and abs(real) < 1e21 else real
    return text


def _whole(digits: str) -> int:
    sign, figures = (-1, digits[1:]) if digits[0] == "-" else (1, digits.lstrip("+"))
    octal = len(figures) > 1 and figures[0] == "0" and figures[1].isdigit()
    return sign * (int(figures, 8) if octal else int(figures, 0))


def _scalar(node: Scalar) -> Any:
    tag = (node.tag or "").removeprefix(_YAML)
    try:
        if not node.tag:
            return node.text if node.style else plain(node.text)
        if tag == "binary":
            return base64.b64decode(node.text).decode(errors="replace")
        if tag not in ("int", "float", "bool", "null"):
            return node.text
        found = plain(node.text)
    except (NotYaml, binascii.Error) as error:
        raise NotYaml(str(error), node.line) from None
    types: dict[str, tuple[type, ...]] = {"int": (int,), "float": (int, float), "bool": (bool,), "null": (type(None),)}
    if not isinstance(found, types[tag]) or (isinstance(found, bool) and tag != "bool"):
        raise NotYaml(f"'{node.text}' is not a !!{tag}", node.line)
    return found


class _Composer:
    """Makes nodes of a parser's events; PyYAML's own nodes do not tell where an alias stands."""

    def __init__(self, text: str, offset: int) -> None:
        self.text = text
        self.offset = offset
        """Characters before `text`, which the parser's marks do not count."""
        self.events: Iterator[Any] = iter(yaml.parse(text, Loader=_LOADER))
        self.anchors: dict[str, Node] = {}

    def documents(self) -> Iterator[tuple[int, Node | None]]:
        """Each document: the place of its first marker or directive, and its value."""
        for event in self.events:
            if isinstance(event, yaml.DocumentStartEvent):
                self.anchors = {}
                root = self._node(next(self.events))
                yield self._place(event).start, root

    def _node(self, event: Any) -> Node:
        place = self._place(event)
        if isinstance(event, yaml.AliasEvent):
            if event.anchor not in self.anchors:
                raise NotYaml(f"alias '*{event.anchor}' stands for nothing before it", place.line)
            target = self.anchors[event.anchor]
            return Alias(place.start, place.end, place.line, target.size, target=target)
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            style = event.style or ""
            end = _content_end(self.text, event) + self.offset if style in ("|", ">") else place.end
            node = Scalar(place.start, end, place.line, text=event.value, style=style)
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self._sequence(place, bool(event.flow_style))
        else:
            node = self._mapping(place, bool(event.flow_style))
        node.anchor, node.tag = event.anchor, event.tag
        if node.size > MOST_NODES:
            raise NotYaml(f"its aliases make more than {MOST_NODES} values of it", place.line)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def _sequence(self, place: Node, flow: bool) -> Sequence:
        node = Sequence(place.start, place.end, place.line, flow=flow)
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            node.items.append(self._node(event))
        node.end = self._place(event).end if flow else node.items[-1].end
        node.size += sum(item.size for item in node.items)
        return node

    def _mapping(self, place: Node, flow: bool) -> Mapping:
        node = Mapping(place.start, place.end, place.line, flow=flow)
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self._node(event)
            if not isinstance(key, Scalar):
                raise NotYaml("a key must be a string, not a map, a list or an alias", key.line)
            node.pairs.append((key, self._node(next(self.events))))
        node.end = self._place(event).end if flow else node.pairs[-1][1].end
        node.size += sum(item.size + 1 for _, item in node.pairs)
        return node

    def _place(self, event: Any) -> Node:
        start, end = event.start_mark, event.end_mark
        return Node(start.index + self.offset, end.index + self.offset, start.line + 1)


def _content_end(text: str, event: Any) -> int:
    """Where a block scalar's content ends: before the line break, and before blank lines that do not count."""
    start, end = event.start_mark.index, event.end_mark.index
    header = text[start : text.find("\n", start)].partition("#")[0]
    if "+" in header:
        return int(end - text[:end].endswith("\n"))
    return int(start + len(text[start:end].rstrip("\r\n")))
