"""Modules of this package as processes of their own."""

import os
from pathlib import Path


def module_environment() -> dict[str, str]:
    """An environment in which ``python -m DynamoFaultLibrary…`` works, also where we run from a source tree."""
    root = str(Path(__file__).parents[1])
    path = filter(None, os.environ.get("PYTHONPATH", "").split(os.pathsep))
    return {**os.environ, "PYTHONPATH": os.pathsep.join(dict.fromkeys([*path, root]))}
