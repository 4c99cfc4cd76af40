"""The program that a container ends up running, and its options, wherever they are written.

A container says it by `command` and `args`; the operator puts its own where one is missing or empty. What is edited is
written so that the operator runs exactly what this says.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import SequenceMatcher
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import options
from DynamoFaultLibrary.graph.launchers import DYNAMO, PYTHON, basename, find_program, find_script
from DynamoFaultLibrary.graph.options import Splice, Word
from DynamoFaultLibrary.graph.references import Lookup, escape, expand
from DynamoFaultLibrary.graph.shell import Script, UnclearScriptError

Document = dict[str, Any]

_POSITIONAL = re.compile(r'(?:exec\s+)?"\$@"')


class UnclearError(Exception):
    """What a container runs is not certain; the message is the reason, a clause in the present tense."""


@dataclass(frozen=True)
class Defaults:
    """What the operator runs where a container says nothing."""

    command: tuple[str, ...] = ()
    args: tuple[str, ...] = ()


FRONTEND = Defaults(("python3",), ("-m", "dynamo.frontend"))
"""Each field is replaced by the container's own, when that is not empty."""
SHELL = Defaults(("/bin/sh", "-c"))
"""For all other components but the EPP, whose image has a program of its own."""
NOTHING = Defaults()


def text_of(scalar: object) -> str:
    """What a process would read, where a graph has a number or nothing in place of a string."""
    return "" if scalar is None else str(scalar).lower() if isinstance(scalar, bool) else str(scalar)


class CommandLine:
    """Command and arguments of one container."""

    def __init__(self, container: Document, defaults: Defaults, where: str) -> None:
        self.container = container
        self.defaults = defaults
        self.where = where
        """Whose it is, for messages, such as "service 'Frontend'"."""

    @property
    def words(self) -> list[str]:
        """What the operator runs: `command` and `args`, or its own where the container has none."""
        return [word for _, word in self.placed]

    @property
    def placed(self) -> list[tuple[str, str]]:
        """The same, each word with the field that holds it."""
        command, args = self._field("command"), self._field("args")
        if not command and self.defaults is SHELL and (not args or args[0].startswith("-")):
            return [("args", word) for word in args]  # nothing that its /bin/sh -c could run
        # A frontend's own -m dynamo.frontend is added to a complete command as well, where it means nothing.
        is_complete = len(command) > 1 or bool(command and not PYTHON.fullmatch(basename(command[0])))
        if not args and not is_complete:
            args = list(self.defaults.args)
        return [*(("command", word) for word in command or self.defaults.command), *(("args", word) for word in args)]

    def _field(self, name: str) -> list[str]:
        words = self.container.get(name) or []
        if not isinstance(words, list) or any(isinstance(word, dict | list) for word in words):
            raise GraphError(f"{name} of {self.where} must be a list of words, not {words!r}")
        return [text_of(word) for word in words]

    def write(self, placed: Sequence[tuple[str, str]]) -> None:
        """Put changed words into the container; words that stay keep their YAML types."""
        for name in ("command", "args"):
            old = [word for field, word in self.placed if field == name]
            new = [word for field, word in placed if field == name]
            if new != old:
                typed = list(self.container.get(name) or old)
                changes = SequenceMatcher(None, old, new, autojunk=False).get_opcodes()
                self.container[name] = [
                    word for tag, a, b, c, d in changes for word in (typed[a:b] if tag == "equal" else new[c:d])
                ]


class Program:
    """The program of a command line, found behind wrappers and inside a shell script.

    Raises:
        UnclearError: there is none, or it is not certain which it is.
    """

    def __init__(self, line: CommandLine, lookup: Lookup) -> None:
        self.line = line
        self.reload(lookup)

    def reload(self, lookup: Lookup) -> None:
        """Read the command line anew, after it or a variable has changed."""
        self.lookup = lookup
        self._placed = self.line.placed
        self._script: Script | None = None
        words = [expand(word, self.lookup) for _, word in self._placed]
        self._start, self.name = self._find(words)
        own = self._placed[self._start :]
        self.words = self._script.words if self._script else [Word(expand(word, lookup), word) for _, word in own]
        """The program's arguments."""

    def _find(self, words: list[str]) -> tuple[int, str]:
        index = find_script(words)
        if index is None:
            return self._find_directly(words, 0)
        if index == -1:
            raise UnclearError(f"it runs a script file with {_shell_of(words)}")
        if _POSITIONAL.fullmatch(words[index].strip()):
            return self._find_directly(words, index + 2)
        try:
            self._script = Script(self._placed[index][1], self.lookup, tuple(words[index + 2 :]))
        except UnclearScriptError as error:
            raise UnclearError(str(error)) from error
        return index, self._script.program

    def _find_directly(self, words: list[str], start: int) -> tuple[int, str]:
        if not words[start:]:
            raise UnclearError("it has neither command nor args")
        if words[0].startswith("-"):
            raise UnclearError("it has args but no command, so the operator gives them to /bin/sh -c")
        found = find_program(words[start:])
        if found is None or found[0].startswith("-") or " " in found[0]:
            raise UnclearError(f"its command {words[start:]} runs no program that is known")
        return start + found[1], found[0]

    @property
    def is_dynamo(self) -> bool:
        """Whether it is a module or program of Dynamo; those take no positional arguments."""
        return bool(DYNAMO.fullmatch(self.name))

    @property
    def place(self) -> str:
        """Where its options are, such as ``args`` or ``shell script in args[0]``."""
        if self._script is None:
            return "args"
        field = self._placed[self._start][0]
        index = [at for at, (name, _) in enumerate(self._placed) if name == field].index(self._start)
        return f"shell script in {field}[{index}]"

    def value(self, option: str) -> str | None:
        """The option's value; None when it is absent or a flag."""
        return options.value_of(self.words, option, self.is_dynamo)

    def values(self, option: str) -> list[str]:
        """All known values of the option, those of its repetitions too."""
        found = []
        for head, *behind in self._given(option):
            joined = [head.text.partition("=")[2]] if head.text and head.is_joined else []
            found += [text for text in (*joined, *(word.text for word in behind)) if text]
        return found

    def written(self, option: str) -> str | None:
        """The name under which the option is given."""
        return next((head.name for head, *_ in self._given(option)), None)

    def _given(self, option: str) -> list[Sequence[Word]]:
        """The option wherever it is given: its name and its values."""
        places = options.occurrences(self.words, option, options.aliases_of(option), self.is_dynamo)
        return [self.words[place.start : place.stop] for place in places]

    def has(self, option: str) -> bool:
        """Whether the option is given."""
        return options.is_given(self.words, option, self.is_dynamo)

    def set(self, option: str, value: str | None) -> str:
        """Give the option a value, or make it a flag; returns the place in words."""
        self._check_seen(option)
        return self.apply(options.set_option(self.words, option, value, self.is_dynamo))

    def remove(self, option: str) -> bool:
        """Take the option away; returns whether it was there."""
        self._check_seen(option)
        splices = options.remove_option(self.words, option, self.is_dynamo)
        self.apply(splices)
        return bool(splices)

    def _check_seen(self, option: str) -> None:
        hidden = options.hidden_in(self.words, option)
        if hidden:
            raise UnclearError(f"{option} also stands in {hidden}, which the shell turns into several words")

    def variables(self, option: str) -> list[str]:
        """Variables of the container that the option's value consists of alone."""
        return [found for _, *behind in self._given(option) for word in behind for found in self._variables_of(word)]

    def _variables_of(self, word: Word) -> list[str]:
        match = re.fullmatch(r"""['"]?\$\(([A-Za-z_]\w*)\)['"]?""", word.source)
        if match:
            return [match[1]]
        return self._script.variables(word) if self._script else []

    def apply(self, splices: Sequence[Splice]) -> str:
        """Carry out splices of `words`; returns the place in words."""
        place = self.place
        if not splices:
            return place
        if self._script is None:
            place = self._apply_to_list(splices)
        else:
            try:
                text = self._script.edited(splices)
            except UnclearScriptError as error:
                raise UnclearError(str(error)) from error
            field = self._placed[self._start][0]
            self.line.write([*self._placed[: self._start], (field, text), *self._placed[self._start + 1 :]])
        self.reload(self.lookup)
        return place

    def _apply_to_list(self, splices: Sequence[Splice]) -> str:
        head, own = self._placed[: self._start], self._placed[self._start :]
        fields = set()
        for splice in sorted(splices, key=lambda item: item.start, reverse=True):
            field = own[splice.start][0] if splice.stop > splice.start else _field_at(own, splice.start)
            own[splice.start : splice.stop] = [(field, escape(text)) for text in splice.new]
            fields.add(field)
        if self.line.defaults is FRONTEND and not any(field == "args" for field, _ in [*head, *own]):
            own = [("args", word) for _, word in own]  # else the operator would add its own
            fields = {"args"}
        self.line.write([*head, *own])
        return " and ".join(sorted(fields))


def _field_at(own: Sequence[tuple[str, str]], index: int) -> str:
    following = own[index : index + 1]
    return following[0][0] if following else "args"


def _shell_of(words: Sequence[str]) -> str:
    return next((word for word in words if find_script([word]) is not None), "a shell")
