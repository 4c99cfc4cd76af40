"""From the words of a command to the program that it ends up running."""

import re
from collections.abc import Mapping, Sequence

SHELLS = frozenset({"sh", "ash", "bash", "dash", "ksh", "zsh"})
PYTHON = re.compile(r"python(\d+(\.\d+)?)?")
DYNAMO = re.compile(r"(dynamo|DynamoFaultLibrary\.engines)(\.\w+)+|dynamo-[\w-]+")
"""Modules and programs that belong to Dynamo, our own engines among them."""
FRONTEND_MODULE = "dynamo.frontend"

_MODULE = re.compile(
    r"(?<![\w.])-m\s+((?:dynamo|DynamoFaultLibrary\.engines)(?:\.\w+)+)|(?<![\w/-])(dynamo-[\w-]+-sidecar)\b"
)

_WRAPPERS: Mapping[str, tuple[str, int]] = {
    "busybox": ("", 0),
    "command": ("", 0),
    "dumb-init": ("-r --rewrite", 0),
    "env": ("-u --unset -C --chdir", 0),
    "exec": ("-a", 0),
    "ionice": ("-c -n", 0),
    "nice": ("-n --adjustment", 0),
    "nohup": ("", 0),
    "numactl": ("-N -m -C -i -p -P --cpunodebind --membind --physcpubind --interleave --preferred", 0),
    "opentelemetry-instrument": ("", 0),
    "setsid": ("", 0),
    "stdbuf": ("-i -o -e --input --output --error", 0),
    "taskset": ("", 1),
    "time": ("", 0),
    "timeout": ("-k -s --kill-after --signal", 1),
    "tini": ("-p -e", 0),
    "trtllm-llmapi-launch": ("", 0),
}
"""Programs that start what follows them: their options that take a value, and how many words of their own follow."""
_ASSIGNMENT = re.compile(r"[A-Za-z_]\w*=.*", re.DOTALL)
_WITH_VALUE = frozenset({"-X", "-W", "--check-hash-based-pycs"})


def skip_wrappers(words: Sequence[str | None]) -> int:
    """Index of the program that wrappers such as `exec`, `env A=1` and `numactl -N 0` start; a text may be unknown."""
    index = 0
    while index < len(words) and (found := _WRAPPERS.get(basename(words[index]))) is not None:
        with_value, own = found[0].split(), found[1]
        index += 1
        while index < len(words) and (words[index] or "").startswith("-"):
            index += 2 if words[index] in with_value else 1
        index += own
        while index < len(words) and _ASSIGNMENT.fullmatch(words[index] or ""):
            index += 1
    return index


def basename(word: str | None) -> str:
    """Last part of a path."""
    return (word or "").rpartition("/")[2]


def find_program(words: Sequence[str | None]) -> tuple[str, int] | None:
    """The name of the program that these words start, and where its arguments begin.

    The name is a module's, such as ``dynamo.vllm``, or a file's; None when the words start nothing that is known.
    """
    index = skip_wrappers(words)
    if index >= len(words):
        return None
    word = words[index]
    is_unknown = word is None and words[index + 1 : index + 2] == ["-m"]
    if not is_unknown and not PYTHON.fullmatch(basename(word)):
        return (basename(word), index + 1) if word else None
    index += 1
    while index < len(words):
        word = words[index]
        if word in ("-m", "-c"):
            following = words[index + 1] if index + 1 < len(words) else None
            return None if following is None else (following if word == "-m" else "-c", index + 2)
        if not word or (word.startswith("--") and word not in _WITH_VALUE):
            return None  # not an option of Python
        if not word.startswith("-"):
            return basename(word), index + 1
        index += 2 if word in _WITH_VALUE else 1
    return None


def find_script(words: Sequence[str]) -> int | None:
    """Index of the script when the words start a shell with ``-c``; -1 for a shell without one, None for no shell."""
    index = skip_wrappers(words)
    if index >= len(words) or basename(words[index]) not in SHELLS:
        return None
    index += 1
    is_script = False
    while index < len(words) and words[index][:1] in ("-", "+") and words[index] not in ("-", "--"):
        word = words[index]
        is_cluster = not word.startswith("--")
        is_script = is_script or (word[0] == "-" and is_cluster and "c" in word)
        index += 2 if (is_cluster and word[-1] in "oO") or word in ("--rcfile", "--init-file") else 1
    if index < len(words) and words[index] in ("-", "--"):
        index += 1
    return index if is_script and index < len(words) else -1


def guess_module(words: Sequence[str]) -> str | None:
    """The one module of Dynamo that a command line names, where it cannot be read with certainty."""
    found = {match[1] or match[2] for match in _MODULE.finditer(" ".join(words))}
    return found.pop() if len(found) == 1 else None
