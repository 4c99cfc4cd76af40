"""Options among the arguments of a program, as Python's argparse reads them.

Words come as they are known: a literal one has a text; one that a shell makes of a variable may have none, or may turn
into several. What is edited is told as splices of the word list, so that each notation of a command line can carry
them out in its own way.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

_NEGATIVE = re.compile(r"-\d+|-\d*\.\d+")
_LISTS = r"(?:\w*_)?EXTRA\w*|\w*(?:ARGS|ARGUMENTS|OPTS|OPTIONS|FLAGS)|(?:\w+_)?(?:ARG|OPT|FLAG)"
_MORE = re.compile(rf"""["']?\$[{{(]?(?:[@*]|\w+\[[@*]\]\}}|(?:{_LISTS})(?![\w\[]))""", re.IGNORECASE)
"""Lists, and variables that are called so, carry options, not the value of the option before them."""

_ALIASES = (
    ("--model", "--model-path"),
    ("--tensor-parallel-size", "-tp", "--tp-size", "--tp"),
    ("--pipeline-parallel-size", "-pp", "--pp-size", "--pp"),
    ("--data-parallel-size", "-dp", "--dp-size", "--dp"),
    ("--expert-parallel-size", "--ep-size", "--ep", "-ep"),
    ("--quantization", "-q"),
)
"""Names of one option in the engines' own parsers: vLLM, SGLang, TensorRT-LLM, the mocker."""
_OVERRIDDEN = {"--disaggregation-mode": ("--is-prefill-worker", "--is-decode-worker")}
"""Older flags that an engine does not take beside the option."""
SEVERAL_VALUES = frozenset({"--served-model-name"})


@dataclass(frozen=True)
class Word:
    """One word of a command line."""

    text: str | None
    """What the program sees; None when that is known only where it runs."""
    source: str
    """As it is written."""
    several: bool = False
    """Whether a shell may make several words of it, or none."""
    parts: tuple[str, ...] | None = None
    """Those words, when they are known."""
    prefix: str = ""
    """What a word of unknown text begins with."""

    @property
    def looks_like_option(self) -> bool:
        """Whether argparse would take it for an option; an unknown text is none."""
        text = self.prefix if self.text is None else self.text
        return (
            len(text) > 1 and text[0] == "-" and not _NEGATIVE.fullmatch(text) and (" " not in text.partition("=")[0])
        )

    @property
    def name(self) -> str:
        """The option's name, of ``--name`` and ``--name=value``."""
        return (self.prefix if self.text is None else self.text).partition("=")[0]

    @property
    def is_joined(self) -> bool:
        """Whether a value follows in the word itself."""
        return "=" in (self.prefix if self.text is None else self.text)

    @property
    def may_hold_options(self) -> bool:
        """Whether options may stand in what a shell makes of it, when it does not stand behind an option."""
        return self.several or (self.text is None and not self.prefix)

    @property
    def is_more(self) -> bool:
        """Whether it is a list of further arguments by its looks, such as ``$EXTRA_ARGS`` or ``"$@"``."""
        if self.parts is not None and self.several:
            return not self.parts or literal(self.parts[0]).looks_like_option
        return self.several and bool(_MORE.match(self.source))


@dataclass(frozen=True)
class Splice:
    """Words `start` to `stop` give way to `new` ones."""

    start: int
    stop: int
    new: tuple[str, ...] = ()


def literal(text: str) -> Word:
    """A word that the program sees as it is written."""
    return Word(text, text)


def names_of(option: str) -> tuple[str, ...]:
    """Names of an option that a new value takes the place of: its other names, its negation, older flags."""
    group = aliases_of(option)
    return tuple(dict.fromkeys((*group, *map(_negation, group), *_OVERRIDDEN.get(option, ()))))


def _negation(option: str) -> str:
    return f"--{option[5:]}" if option.startswith("--no-") else f"--no-{option.lstrip('-')}"


def occurrences(words: Sequence[Word], option: str, names: Sequence[str], many: bool) -> Iterator[range]:
    """Where an option stands, its values included, under any of its names.

    `many` tells that the program takes no positional arguments, so that all words behind an option are its values.
    """
    index = 0
    while index < len(words) and words[index].text != "--":
        start, word = index, words[index]
        index += 1
        if not word.looks_like_option:
            continue
        stop = index
        if not word.is_joined:
            while stop < len(words) and _is_value(words[stop], first=stop == index):
                stop += 1
                if not (many or _same(word.name, SEVERAL_VALUES)):
                    break
        if _same(word.name, names):
            is_other_flag = not _same(word.name, aliases_of(option))
            yield range(start, index if is_other_flag else stop)
        index = stop


def _is_value(word: Word, *, first: bool) -> bool:
    if word.text is None:
        return first and not word.prefix.startswith("-") and not word.is_more
    return not word.looks_like_option and word.text != "--" and not (word.several and word.is_more)


def _same(name: str, names: Sequence[str] | frozenset[str]) -> bool:
    return name in names or (name.startswith("--") and name.replace("_", "-") in names)


def value_of(words: Sequence[Word], option: str, many: bool) -> str | None:
    """The value that counts, the last one; None without a value. An unknown one is told as it is written."""
    flat = list(_opened(words))
    found = None
    for place in occurrences(flat, option, aliases_of(option), many):
        word = flat[place.start]
        if word.is_joined:
            whole = word.text if word.text is not None else word.source
            found = whole.partition("=")[2]
        elif place.stop > place.start + 1:
            behind = flat[place.start + 1]
            found = behind.text if behind.text is not None else behind.source
        else:
            found = None
    return found


def is_given(words: Sequence[Word], option: str, many: bool) -> bool:
    """Whether the option stands there, with or without a value."""
    return any(True for _ in occurrences(list(_opened(words)), option, aliases_of(option), many))


def aliases_of(option: str) -> tuple[str, ...]:
    """Names of the same option, its own first."""
    group = next((group for group in _ALIASES if option in group), ())
    return (option, *(name for name in group if name != option))


def _opened(words: Sequence[Word]) -> Iterator[Word]:
    for word in words:
        if word.several and word.parts is not None:
            yield from map(literal, word.parts)
        else:
            yield word


def set_option(words: Sequence[Word], option: str, value: str | None, many: bool) -> list[Splice]:
    """What to change so that the program sees the option with that value, or as a flag, and nothing else of it.

    It stays where it is, in its notation; or goes behind the last word that may hold it, since the last one counts.
    """
    names = names_of(option)
    places = list(occurrences(words, option, names, many))
    end = next((index for index, word in enumerate(words) if word.text == "--"), len(words))
    behind = 1 + max((index for index in range(end) if _may_hold(words, index)), default=-1)
    kept = next((place for place in places if place.start >= behind), None)
    if kept is None:
        new = _written(option, value, joined=any(words[place.start].is_joined for place in places))
        return [*(Splice(place.start, place.stop) for place in places), Splice(end, end, new)]
    splices = [Splice(place.start, place.stop) for place in places if place is not kept]
    return sorted([*splices, *_replaced(words, kept, option, value)], key=lambda splice: splice.start)


def _replaced(words: Sequence[Word], kept: range, option: str, value: str | None) -> list[Splice]:
    now = [words[index].text for index in kept]
    new = _written(option, value, joined=words[kept.start].is_joined and value is not None)
    if now == list(new):
        return []
    if now[0] == new[0] and len(new) == 2:
        return [Splice(kept.start + 1, kept.stop, new[1:])]
    return [Splice(kept.start, kept.stop, new)]


def _written(option: str, value: str | None, *, joined: bool) -> tuple[str, ...]:
    if value is None:
        return (option,)
    # argparse may find a short option in a value such as "-a b" that stands alone.
    if joined or (len(value) > 1 and value[0] == "-" and not _NEGATIVE.fullmatch(value)):
        return (f"{option}={value}",)
    return (option, value)


def hidden_in(words: Sequence[Word], option: str) -> str | None:
    """The word, as it is written, out of which a shell makes the option, among others."""
    for word in words:
        if any(_same(part.partition("=")[0], names_of(option)) for part in (word.parts or ()) if word.several):
            return word.source
    return None


def _may_hold(words: Sequence[Word], index: int) -> bool:
    word = words[index]
    if not word.may_hold_options:
        return False
    if word.parts is not None:
        return False  # see `hidden_in`
    before = words[index - 1] if index else None
    is_value = before is not None and before.looks_like_option and not before.is_joined and _is_value(word, first=True)
    return not is_value


def remove_option(words: Sequence[Word], option: str, many: bool) -> list[Splice]:
    """What to change so that the option is no longer there."""
    return [Splice(place.start, place.stop) for place in occurrences(words, option, aliases_of(option), many)]
