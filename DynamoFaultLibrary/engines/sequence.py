"""What the position engine says, and how to check an answer against it."""

from dataclasses import dataclass

from DynamoFaultLibrary.engines.model import FIRST_WORD, VOCABULARY_SIZE

PERIOD = VOCABULARY_SIZE - FIRST_WORD
"""Number of positions after which the tokens repeat."""


def token_at(position: int) -> int:
    """Return the token id at `position`, counted from the first token of the prompt."""
    return FIRST_WORD + position % PERIOD


@dataclass(frozen=True)
class Break:
    """The first place where an answer leaves the sequence. `index` counts answer tokens from 0."""

    index: int
    expected: str
    seen: str

    def __str__(self) -> str:
        return f"token {self.index} is {self.seen!r}, expected {self.expected!r}"


def first_break(text: str, prompt_tokens: int) -> Break | None:
    """Compare `text`, the answer to a prompt of `prompt_tokens` tokens, with the sequence; None when it is exact."""
    for index, word in enumerate(text.split()):
        expected = str(token_at(prompt_tokens + index))
        if word != expected:
            return Break(index, expected, word)
    return None
