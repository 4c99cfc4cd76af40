"""Keywords, faults, ledger and reports know no platform, and nothing of the machine that they run on.

import-linter sees their imports too (pyproject.toml); this sees the words that need no import.
"""

import ast
from collections.abc import Iterator
from itertools import chain
from pathlib import Path

import pytest

import DynamoFaultLibrary

PACKAGE = Path(DynamoFaultLibrary.__file__).parent
ROOMS = ("keywords", "faults", "ledger", "reports")
PLATFORMS = {f"DynamoFaultLibrary.platforms.{path.parent.name}" for path in PACKAGE.glob("platforms/*/__init__.py")}
MODULES = {*PLATFORMS, "DynamoFaultLibrary.processes", "DynamoFaultLibrary.net", "psutil", "socket", "fcntl"}
NAMES = {"pid", "getpid", "getppid", "gethostname", "uname"}
ATTRIBUTES = {"process"}
"""Of a replica: what it is here. Its `incarnation` says as much on every platform."""
TEXTS = ("/proc", "127.0.0.1", "localhost")
ALLOWED = {"ledger/store.py: imports fcntl"}
"""Several processes of a run write one ledger file."""


def test_the_rooms_above_the_port_know_nothing_of_this_machine() -> None:
    modules = {room: list((PACKAGE / room).rglob("*.py")) for room in ROOMS}
    assert all(modules.values())
    found = {
        f"{path.relative_to(PACKAGE)}: {what}"
        for path in chain(*modules.values())
        for what in knowledge(path.read_text(encoding="utf-8"))
    }
    assert sorted(found - ALLOWED) == []
    assert found >= ALLOWED, "what is not needed any more must go"


@pytest.mark.parametrize(
    ("source", "what"),
    [
        ("import socket", {"imports socket"}),
        ("import os, psutil._common", {"imports psutil"}),
        ("from DynamoFaultLibrary.net.filter import Rule", {"imports DynamoFaultLibrary.net"}),
        ("from DynamoFaultLibrary.platforms import base, local", {"imports DynamoFaultLibrary.platforms.local"}),
        ("def f():\n    import fcntl", {"imports fcntl"}),
        ("from DynamoFaultLibrary.platforms.base import require", set()),
        ("import socketserver", set()),
        ('path = f"/proc/{number}"', {"says /proc"}),
        ('"""What stands in /proc."""\nx = 1\n"""At 127.0.0.1."""', set()),
        ('def f():\n    """Not /proc."""\n    return "http://127.0.0.1"', {"says 127.0.0.1"}),
        ('load("DynamoFaultLibrary.platforms.local.platform")', {"says DynamoFaultLibrary.platforms.local"}),
        ("# /proc\nx = 1", set()),
        ("print(replica.pid)", {"names pid"}),
        ("def f(pid): return os.uname()", {"names pid", "names uname"}),
        ("stop(pid=4)", {"names pid"}),
        ("print(replica.process)", {"names process"}),
        ("process = 4", set()),
    ],
)
def test_knowledge_is_seen(source: str, what: set[str]) -> None:
    assert set(knowledge(source)) == what


def knowledge(source: str) -> Iterator[str]:
    """What a module knows of a machine or a platform; comments and docstrings may say what they like."""
    tree = ast.parse(source)
    documentation = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
    for node in ast.walk(tree):
        yield from (f"imports {module}" for module in MODULES if any(is_in(name, module) for name in imports(node)))
        yield from (f"names {name}" for name in names(node))
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in documentation:
            yield from (f"says {text}" for text in (*TEXTS, *PLATFORMS) if text in node.value)


def imports(node: ast.AST) -> list[str]:
    match node:
        case ast.Import(names=found):
            return [each.name for each in found]
        case ast.ImportFrom(module=str(module), names=found):
            return [module, *(f"{module}.{each.name}" for each in found)]
    return []


def is_in(name: str, module: str) -> bool:
    return f"{name}.".startswith(f"{module}.")


def names(node: ast.AST) -> set[str]:
    match node:
        case ast.Attribute(attr=name):
            return {name} & (NAMES | ATTRIBUTES)
        case ast.Name(id=name) | ast.arg(arg=name) | ast.keyword(arg=str(name)):
            return {name} & NAMES
    return set()
