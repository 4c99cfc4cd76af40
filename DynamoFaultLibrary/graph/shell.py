"""The command of a shell script that runs a program: found, read, and edited byte by byte."""

import re
import shlex
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import pairwise
from typing import TYPE_CHECKING

from DynamoFaultLibrary.graph.launchers import DYNAMO, PYTHON, basename, find_program, guess_module
from DynamoFaultLibrary.graph.options import Splice, Word
from DynamoFaultLibrary.graph.references import Lookup, escape, expand

if TYPE_CHECKING:
    from tree_sitter import Node, Parser

_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_LAST_CONTINUATION = re.compile(rb"(?<!\\)\\\s*\Z")
_ESCAPED_IN_QUOTES = re.compile(r'\\([\\"$`\n])')
_REFERENCE = re.compile(r"\$\(([A-Za-z_][\w.-]*)\)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")
_UNSEEN = ("command_substitution", "process_substitution")
_POSITIONAL = re.compile(r"\$\{?[@*1-9]")
_BUILTINS = frozenset(
    {"cd", "echo", "eval", "exit", "export", "printf", "read", "set", "source", ".", "ulimit", "unset"}
)
_WORDS = frozenset({"word", "number", "raw_string", "string", "concatenation", "simple_expansion", "expansion"})
_WORDS |= {"ansi_c_string", "translated_string", "arithmetic_expansion", "brace_expression", *_UNSEEN}


class UnclearScriptError(Exception):
    """The script cannot be edited with certainty; the message is the reason, a part of a sentence."""


@dataclass(frozen=True)
class _Place:
    word: Word
    start: int
    stop: int
    in_array: bool = False


class Script:
    """A script, and the one command of it that runs the program of interest.

    `positional` is what ``"$@"`` stands for; `program` is such as ``dynamo.vllm``.
    """

    def __init__(self, text: str, lookup: Lookup, positional: tuple[str, ...]) -> None:
        self.text, self.lookup, self.positional = text, lookup, positional
        self._bytes = text.encode()
        # A shell takes a backslash on the last line for a continuation by nothing; the parser calls it an error.
        root = _parser().parse(_LAST_CONTINUATION.sub(lambda end: b" " * len(end[0]), self._bytes)).root_node
        self._assigned = _assignments(root)
        self._assigned_elsewhere = set(_set_elsewhere(root))
        self._shifts = any(re.match(r"set\s+--|shift\b", _text(node)) for node in _commands(root))
        """Whether the script makes positional parameters of its own."""
        if root.has_error:
            line = next((node.start_point[0] + 1 for node in _walk(root) if node.is_error or node.is_missing), 1)
            raise UnclearScriptError(f"line {line} of its shell script cannot be read")
        self.program, node, index = self._choose(root)
        arguments = _argument_nodes(node)
        self._check_gaps(arguments)
        if _within(node, ("function_definition",)) and any(_POSITIONAL.search(_text(item)) for item in arguments):
            raise UnclearScriptError("a function of its shell script starts the program with what it is given")
        self._head = arguments[index - 1].end_byte
        self._places = [place for argument in arguments[index:] for place in self._read_argument(argument)]

    @property
    def words(self) -> list[Word]:
        """The program's arguments."""
        return [place.word for place in self._places]

    def variables(self, word: Word) -> list[str]:
        """Variables of the container that the word consists of alone: ``$NAME``, ``"${NAME}"``."""
        match = _VARIABLE.fullmatch(word.source.strip('"'))
        name = (match[1] or match[2]) if match else ""
        is_own = name in self._assigned or name in self._assigned_elsewhere
        return [name] if name.isidentifier() and not is_own else []

    def edited(self, splices: Sequence[Splice]) -> str:
        """The script with the splices carried out; all else stays, byte by byte.

        Raises:
            UnclearScriptError: the result would not be read as it is meant.
        """
        done = self._bytes
        wanted = [word.source for word in self.words]
        for splice in sorted(splices, key=lambda item: item.start, reverse=True):
            done = self._spliced(done, splice)
            wanted[splice.start : splice.stop] = [escape(shlex.quote(text)) for text in splice.new]
        text = done.decode()
        if [word.source for word in Script(text, self.lookup, self.positional).words] != wanted:
            raise UnclearScriptError("its shell script is written in a way that this edit would break")
        return text

    def _spliced(self, done: bytes, splice: Splice) -> bytes:
        new = " ".join(escape(shlex.quote(text)) for text in splice.new).encode()
        behind = self._places[splice.stop - 1].stop if splice.stop else self._head
        if new[-1:].isdigit() and self._bytes[behind : behind + 1] in (b">", b"<"):
            new += b" "  # else it is the number of what is redirected
        if splice.stop > splice.start:
            first, last = self._places[splice.start], self._places[splice.stop - 1]
            start = first.start if new else self._end_before(splice.start)
            if not new and b"#" in done[start : first.start]:
                start = first.start
            return done[:start] + new + done[last.stop :]
        if not new:
            return done
        end = self._end_before(splice.start)
        return done[:end] + self._separator(splice.start).encode() + new + done[end:]

    def _end_before(self, index: int) -> int:
        """Where the word before this one ends, as far as both stand in the same command or array."""
        before = self._places[index - 1] if index else None
        if index < len(self._places) and self._places[index].in_array and not (before and before.in_array):
            return self._places[index].start
        return before.stop if before else self._head

    def _separator(self, index: int) -> str:
        """What stands between arguments in this script: a space, or a line of its own."""
        in_array = index > 0 and self._places[index - 1].in_array
        for at in range(min(index, len(self._places) - 1), 0, -1):
            one, other = self._places[at - 1], self._places[at]
            if one.in_array != in_array or other.in_array != in_array:
                continue
            gap = self._bytes[one.stop : other.start].decode()
            if "\n" in gap:
                return (" \\\n" if not in_array else "\n") + gap.rpartition("\n")[2]
        return " "

    def _check_gaps(self, arguments: Sequence["Node"]) -> None:
        words = sorted(arguments, key=lambda node: node.start_byte)
        gaps = [self._bytes[one.end_byte : other.start_byte] for one, other in pairwise(words)]
        behind = re.match(rb"[ \t]*(\\[ \t])?", self._bytes[words[-1].end_byte :] if words else b"")
        for gap in [*gaps, behind.group() if behind else b""]:
            if re.search(rb"\\[^\n]", gap):
                raise UnclearScriptError(
                    "a backslash followed by a space in its shell script makes the space part of the next word; "
                    "a script with continued lines must be written with | in YAML, not with >"
                )

    def _choose(self, root: "Node") -> tuple[str, "Node", int]:
        found = []
        for node in _commands(root):
            texts = [self._read(argument).text for argument in _argument_nodes(node)]
            program = find_program(texts)
            if program is not None:
                found.append((program[0], node, program[1]))
        dynamo = [item for item in found if DYNAMO.fullmatch(item[0])]
        named = None if dynamo else guess_module([self.text])
        if named:
            raise UnclearScriptError(f"its shell script names {named}, but no command of it runs that")
        alone = found if len(found) == 1 and found[0][0] not in _BUILTINS else []
        chosen = dynamo or alone or self._python_programs(found)
        if len(chosen) == 1:
            return chosen[0]
        if chosen:
            names = ", ".join(item[0] for item in chosen)
            raise UnclearScriptError(f"its shell script has several commands that may be meant: {names}")
        hidden = {"eval", "source", ".", *("sh", "bash", "dash", "zsh")} & {item[0] for item in found}
        how = f"; what it starts is hidden behind {sorted(hidden)[0]}" if hidden else ""
        raise UnclearScriptError(f"no command of its shell script runs a program of Dynamo{how}")

    def _python_programs(self, found: list[tuple[str, "Node", int]]) -> list[tuple[str, "Node", int]]:
        texts = {id(item): [self._read(node).text for node in _argument_nodes(item[1])] for item in found}
        return [
            item
            for item in found
            if item[0] not in ("pip", "-c")
            and any(PYTHON.fullmatch(basename(word)) for word in texts[id(item)][: item[2]])
        ]

    def _read_argument(self, node: "Node") -> Iterator[_Place]:
        if _text(node) in ('"$@"', '"${@}"'):
            word = Word(None, _text(node), several=True, parts=None if self._shifts else self.positional)
            yield _Place(word, node.start_byte, node.end_byte)
            return
        array = re.fullmatch(r'"?\$\{(\w+)\[[@*]\]\}"?', _text(node))
        assignments = self._assigned.get(array[1], []) if array else []
        if not array or not assignments or array[1] in self._assigned_elsewhere:
            yield _Place(self._read(node), node.start_byte, node.end_byte)
            return
        for assignment in assignments:
            elements = [child for item in assignment.children if item.type == "array" for child in item.children]
            is_certain = assignment.parent is not None and assignment.parent.type == "program"
            for child in elements:
                if child.type in _WORDS:
                    if is_certain:
                        yield _Place(self._read(child), child.start_byte, child.end_byte, in_array=True)
                    else:
                        word = self._read(child)
                        parts = None if word.text is None else (word.text,)
                        yield _Place(Word(None, _text(node), True, parts), node.start_byte, node.end_byte)

    def _read(self, node: "Node") -> Word:
        source = _text(node)
        if _is_reference(source) and (value := self._value(source)) is not None:
            parts = tuple(value.split())  # not quoted: the shell splits it
            return Word(value, source) if (value,) == parts else Word(None, source, True, parts)
        known = ""
        for text, is_quoted in self._pieces(node):
            if text is None:
                is_list = not is_quoted or bool(re.search(r"\$\{?\w*\[?[@*]", source))
                return Word(None, source, is_list and not known, None, known)
            known += text
        return Word(known, source)

    def _pieces(self, node: "Node") -> Iterator[tuple[str | None, bool]]:
        """Texts that a word is made of, None for an unknown one, and whether each is quoted.

        Kubernetes puts its references into a command before the shell sees it.
        """
        source = _text(node)
        if node.type == "word":
            yield _ESCAPED.sub(lambda match: "" if match[1] == "\n" else match[1], expand(source, self.lookup)), False
        elif node.type == "number":
            yield source, False
        elif node.type == "raw_string":
            yield expand(source[1:-1], self.lookup), True
        elif node.type in ("concatenation", "command_name"):
            for child in node.children:
                yield from self._pieces(child)
        elif node.type == "string":
            yield from self._pieces_in_quotes(node)
        elif node.type in ("simple_expansion", "expansion") or _is_reference(source):
            value = self._value(source)
            yield (None if value is None or value.split() != [value] else value), False
        else:
            yield None, node.type == "ansi_c_string"

    def _pieces_in_quotes(self, node: "Node") -> Iterator[tuple[str | None, bool]]:
        at = node.start_byte + 1
        for child in node.children[1:-1]:
            if child.type == "string_content":
                continue
            yield _unquoted(self._bytes[at : child.start_byte].decode()), True
            is_known = child.type in ("simple_expansion", "expansion") or _is_reference(_text(child))
            yield self._value(_text(child)) if is_known else None, True
            at = child.end_byte
        yield _unquoted(self._bytes[at : node.end_byte - 1].decode()), True

    def _value(self, source: str) -> str | None:
        """The value of a shell's variable, or of what Kubernetes has put in before."""
        if reference := _REFERENCE.fullmatch(source):
            return self.lookup(reference[1])
        match = _VARIABLE.fullmatch(source)
        name = (match[1] or match[2]) if match else ""
        if not name or name in self._assigned_elsewhere:
            return None
        assignments = self._assigned.get(name)
        if assignments is None:
            return self.lookup(name)
        node = assignments[0].child_by_field_name("value")
        is_certain = len(assignments) == 1 and assignments[0].parent is not None
        if not is_certain or node is None or node.type not in ("word", "number", "raw_string", "string"):
            return None
        if _within(assignments[0], ("if_statement", "case_statement", "while_statement", "for_statement")):
            return None
        return self._read(node).text if name not in _text(node) else None


def _is_reference(source: str) -> bool:
    return bool(_VARIABLE.fullmatch(source) or _REFERENCE.fullmatch(source))


def _unquoted(text: str) -> str:
    return _ESCAPED_IN_QUOTES.sub(lambda match: "" if match[1] == "\n" else match[1], text)


@cache
def _parser() -> "Parser":
    import tree_sitter_bash
    from tree_sitter import Language, Parser

    return Parser(Language(tree_sitter_bash.language()))


def _text(node: "Node") -> str:
    return (node.text or b"").decode()


def _walk(node: "Node") -> Iterator["Node"]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _commands(node: "Node") -> Iterator["Node"]:
    if node.type in _UNSEEN:
        return
    if node.type == "command":
        yield node
    for child in node.children:
        yield from _commands(child)


def _argument_nodes(command: "Node") -> list["Node"]:
    """Words of a command, its name first, those behind a redirection too."""
    above = command.parent
    redirects = above.children if above is not None and above.type == "redirected_statement" else []
    found = []
    for child in [*command.children, *(node for node in redirects if node.type == "file_redirect")]:
        if child.type == "command_name":
            found += child.children
        elif child.type in _WORDS:
            found.append(child)
        elif child.type == "file_redirect":
            found += child.children_by_field_name("destination")[1:]
    return found


def _within(node: "Node", kinds: Sequence[str]) -> bool:
    above = node.parent
    while above is not None:
        if above.type in kinds:
            return True
        above = above.parent
    return False


def _assignments(root: "Node") -> dict[str, list["Node"]]:
    """Variables that the script sets for itself, not for one command alone."""
    found: dict[str, list[Node]] = {}
    for node in _walk(root):
        if node.type == "variable_assignment" and (node.parent is None or node.parent.type != "command"):
            name = node.child_by_field_name("name")
            found.setdefault(_text(name).partition("[")[0] if name else "", []).append(node)
    return found


def _set_elsewhere(root: "Node") -> Iterator[str]:
    """Variables that get their value from a loop, `read`, `mapfile` or `${X:=…}`."""
    for node in _walk(root):
        if node.type == "for_statement" and (name := node.child_by_field_name("variable")):
            yield _text(name)
        elif node.type == "command" and (words := _argument_nodes(node)):
            if _text(words[0]) in ("read", "mapfile", "readarray", "getopts", "printf"):
                yield from (_text(word) for word in words[1:])
        elif node.type in ("unset_command", "expansion"):
            yield from re.findall(r"\w+", _text(node)) if ":=" in _text(node) or node.type == "unset_command" else ()
