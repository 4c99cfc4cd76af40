"""Folders that `kustomize build` turns into one manifest."""

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph.yaml_reading import NotYaml, read, value

NAMES = ("kustomization.yaml", "kustomization.yml", "Kustomization")
"""The files that kustomize looks for."""
TIMEOUT = 120.0
"""Seconds that a build may take; bases of other repositories are fetched in it."""


def is_kustomization(folder: Path) -> bool:
    """Whether kustomize can build this folder."""
    return any((folder / name).is_file() for name in NAMES)


def build(folder: Path, timeout: float = TIMEOUT) -> str:
    """The manifest of a kustomization, made by `kustomize build` or, where that is missing, `kubectl kustomize`.

    Raises:
        GraphError: the folder has no kustomization, neither program is there, or it fails.
    """
    if not is_kustomization(folder):
        files = sorted(path.name for path in folder.glob("*.y*ml"))
        named = f"; name one of its files: {files}" if files else ", and it has no YAML files"
        raise GraphError(f"'{folder}' is a folder without a kustomization.yaml{named}")
    if any(_field(document, "kind") == "Component" for name in NAMES for document in _documents(folder / name)):
        raise GraphError(
            f"'{folder}' is a kustomize Component, no whole graph; name the folder of an overlay that lists it"
        )
    command = _command(folder)
    program = " ".join(command[:2])
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=timeout, stdin=subprocess.DEVNULL, check=False
        )
    except subprocess.TimeoutExpired:
        raise GraphError(f"'{program}' did not finish within {timeout:g} s for '{folder}'") from None
    except (OSError, UnicodeDecodeError) as error:
        raise GraphError(f"'{program}' cannot build '{folder}': {error}") from None
    if done.returncode:
        said = " ".join(done.stderr.split()) or f"it ended with {done.returncode}"
        raise GraphError(f"'{program}' cannot build '{folder}': {said}")
    return done.stdout


def patched_by(path: Path) -> Path | None:
    """The kustomization beside a file that uses it as a patch."""
    for name in NAMES:
        place = path.parent / name
        if place.is_file() and path.name in _patches(place):
            return place
    return None


def _documents(place: Path) -> list[Any]:
    """Documents of a kustomization; none when it cannot be read, which kustomize says better."""
    try:
        return [value(part.root) for part in read(place.read_text(encoding="utf-8"))]
    except (NotYaml, OSError, UnicodeDecodeError):
        return []


def _patches(place: Path) -> Iterator[str]:
    for document in _documents(place):
        for entry in _listed(document, "patches") + _listed(document, "patchesJson6902"):
            if isinstance(entry, dict):
                yield Path(str(entry.get("path"))).name
        yield from (Path(str(entry)).name for entry in _listed(document, "patchesStrategicMerge"))


def _listed(document: Any, field: str) -> list[Any]:
    found = _field(document, field)
    return found if isinstance(found, list) else []


def _field(document: Any, field: str) -> Any:
    return document.get(field) if isinstance(document, dict) else None


def _command(folder: Path) -> list[str]:
    for program, word in (("kustomize", "build"), ("kubectl", "kustomize")):
        if found := shutil.which(program):
            return [found, word, str(folder)]
    raise GraphError(
        f"'{folder}' is a kustomization: kustomize or kubectl is needed on the PATH to build it; or build it "
        "elsewhere, with 'kustomize build', and name the file with the result"
    )
