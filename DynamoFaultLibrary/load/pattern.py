"""Reads the text of a stream's event without parsing it: the events of one answer seldom differ in anything else."""

import re
from typing import Any

import orjson

_PLAIN = re.compile(rb"[ !#-\[\]-~]+").fullmatch
"""What stands for itself in a JSON string."""
_START = b"data:"
_MOST_VAIN = 3
"""Patterns in a row that fitted no event, after which an answer is parsed to its end."""


class Pattern:
    """What stands before and behind the text in an event of one answer that was parsed."""

    def __init__(self) -> None:
        self._before = self._behind = b""
        self._has_fitted = True
        self._vain = 0

    def text_in(self, event: bytes) -> str:
        """The text of a whole event that differs in nothing else from the one learned; else nothing: parse it."""
        before, behind = self._before, self._behind
        if before and event.startswith(before) and event.endswith(behind):
            text = event[len(before) : -len(behind)]
            if _PLAIN(text):
                self._has_fitted = True
                return text.decode()
        return ""

    def learn(self, data: bytes, chunk: dict[str, Any]) -> None:
        """Take over what was parsed, `chunk` with a text, if it was all of `data`. The text in `chunk` is changed."""
        self._vain = 0 if self._has_fitted else self._vain + 1
        self._has_fitted = False
        if self._vain < _MOST_VAIN:
            self._before, self._behind = _around_text(data, chunk)


def _around_text(data: bytes, chunk: dict[str, Any]) -> tuple[bytes, bytes]:
    """The two halves, empty when another text in between would not just mean the same chunk with that text."""
    choices = chunk["choices"]
    if not data.startswith(_START) or not data.endswith(b"\n") or len(choices) != 1:
        return b"", b""
    choice = choices[0]
    if chunk.get("usage") or choice.get("finish_reason"):
        return b"", b""
    place, key = (choice, "text") if choice.get("text") else (choice["delta"], "content")
    before, _, behind = data.partition(orjson.dumps(place[key]))
    before, behind = before + b'"', b'"' + behind
    place[key] = "?"
    try:  # it may have been found in the wrong place, or with another event behind it
        is_same = orjson.loads(before[len(_START) :] + b"?" + behind) == chunk
    except orjson.JSONDecodeError:
        is_same = False
    return (before, behind) if is_same else (b"", b"")
