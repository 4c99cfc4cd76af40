"""Values as YAML that Kubernetes, and every other reader, takes for what they are."""

import re
from collections.abc import Callable
from typing import Any

from DynamoFaultLibrary.graph.yaml_reading import NotYaml, plain

_AMBIGUOUS = re.compile(r"[-+]?[0-9][0-9_:.\-]*|=|<<|---|\.\.\.")
"""Strings for Kubernetes that another reader takes for times, dates or marks."""
_FIRST = re.compile(r"[^\s\-?:,\[\]{}#&*!|>'\"%@`]|[\-?:](?=[^\s,\[\]{}])")
_ESCAPES = {'"': '\\"', "\\": "\\\\", "\n": "\\n", "\t": "\\t", "\r": "\\r"}


def dump(document: Any) -> str:
    """A document without a text of its own as YAML."""
    head, tail = render(document, -2, in_map=True, step=0)
    return "".join(f"{line}\n" for line in ([head] if head else []) + tail)


def render(entry: Any, column: int, in_map: bool, step: int, quote: str = "") -> tuple[str, list[str]]:
    """A value in block style: what stands behind the `:` or `-` of its collection at `column`, and the lines below."""
    if isinstance(entry, dict) and entry:
        inner = column + 2
        lines = []
        for key, item in entry.items():
            head, tail = render(item, inner, in_map=True, step=step)
            lines += [f"{' ' * inner}{inline(str(key))}:{' ' if head else ''}{head}", *tail]
    elif isinstance(entry, list | tuple) and entry:
        inner = max(column + (step if in_map else 2), 0)
        lines = []
        for item in entry:
            head, tail = render(item, inner, in_map=False, step=step, quote=quote)
            lines += [f"{' ' * inner}- {head}", *tail]
    elif isinstance(entry, str) and "\n" in entry and (block := block_text(entry)) and "+" not in block[0]:
        # A block that ends with blank lines (+) would take those that follow it, too.
        pad = " " * (max(column, 0) + 2)
        return f"|{block[0]}", [pad + line if line else "" for line in block[1]]
    else:
        return inline(entry, quote), []
    return ("", lines) if in_map else (lines[0].lstrip(" "), lines[1:])


def flowing(entry: Any, quoted: bool) -> str:
    """A value in flow style, on one line; strings in double quotes throughout if `quoted`."""
    quote = '"' if quoted else ""
    if isinstance(entry, dict):
        return "{" + ", ".join(f"{inline(str(k), quote, True)}: {flowing(v, quoted)}" for k, v in entry.items()) + "}"
    if isinstance(entry, list | tuple):
        return "[" + ", ".join(flowing(item, quoted) for item in entry) + "]"
    return inline(entry, quote, flow=True)


def inline(value: Any, quote: str = "", flow: bool = False) -> str:
    """A scalar or an empty collection on one line; strings in `quote` if it is given, or where they need it."""
    if value is None or isinstance(value, bool):
        return {None: "null", True: "true", False: "false"}[value]
    if isinstance(value, int | float):
        return str(value)
    if isinstance(value, dict | list | tuple) and not value:
        return "{}" if isinstance(value, dict) else "[]"
    text = str(value)
    if not quote and not _may_be_plain(text, flow):
        quote = "'" if '"' in text and "'" not in text else '"'
    if quote == "'" and _is_printable(text):
        return "'" + text.replace("'", "''") + "'"
    if quote:
        return '"' + "".join(_ESCAPES.get(char) or _shown(char) for char in text) + '"'
    return text


def block_text(text: str) -> tuple[str, list[str]] | None:
    """The indicators behind the `|` of a block of lines, and the lines; None where only quotes can hold the text."""
    body = text.rstrip("\n")
    lines = body.split("\n")
    if not body.strip() or not all(_is_printable(line.replace("\t", " ")) for line in lines):
        return None
    breaks = len(text) - len(body)
    chomping = {0: "-", 1: ""}.get(breaks, "+")
    indented = "2" if body[0] in " \n\t" else ""
    return indented + chomping, lines + [""] * (breaks - 1)


def patched(raw: str, old: str, new: str, reads_as: Callable[[str, str], bool]) -> str | None:
    """`raw`, which spreads `old` over several lines, with the words changed that differ in `new`; None if it cannot.

    Lines without a changed word stay as they are.
    """
    top = raw.index("\n") if raw.lstrip().startswith((">", "&", "!")) else 0
    words, wanted = list(re.finditer(r"\S+", old)), list(re.finditer(r"\S+", new))
    quote = raw[0] if raw[0] in "'\"" else ""
    shown = list(re.finditer(r"\S+", raw[top:].replace(quote, " ") if quote else raw[top:]))
    if not wanted or [word.group() for word in words] != [word.group() for word in shown]:
        return None
    shortest = min(len(words), len(wanted))
    head = next((at for at in range(shortest) if words[at].group() != wanted[at].group()), shortest)
    rest = range(1, shortest - head + 1)
    tail = next((at - 1 for at in rest if words[-at].group() != wanted[-at].group()), shortest - head)
    middle = new[wanted[head].start() : wanted[len(wanted) - tail - 1].end()] if head + tail < len(wanted) else ""
    if head + tail < len(words) and middle:
        start, end = shown[head].start(), shown[len(words) - tail - 1].end()
    elif head:
        start, end = shown[head - 1].end(), shown[len(words) - tail - 1].end()
        middle = middle and f" {middle}"
    else:
        start, end = shown[0].start(), shown[len(words) - tail].start()
        middle = middle and f"{middle} "
    text = raw[: top + start] + middle + raw[top + end :]
    return text if reads_as(text, new) else None


def _may_be_plain(text: str, flow: bool) -> bool:
    if not text or not _is_printable(text) or text != text.strip() or not _FIRST.match(text):
        return False
    if ": " in text or " #" in text or text.endswith(":") or (flow and re.search(r"[,\[\]{}:?]", text)):
        return False
    try:
        return isinstance(plain(text), str) and not _AMBIGUOUS.fullmatch(text)
    except NotYaml:
        return False


def _is_printable(text: str) -> bool:
    return all(char.isprintable() for char in text)


def _shown(char: str) -> str:
    if char.isprintable():
        return char
    code = ord(char)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"
