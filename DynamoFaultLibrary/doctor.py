"""What this machine can and cannot do, and which keywords skip their test or fail because of what is missing."""

import os
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.load.aiperf import find_aiperf
from DynamoFaultLibrary.modules import module_environment
from DynamoFaultLibrary.net.namespace import may_administer_networks
from DynamoFaultLibrary.platforms.local.commands import ENGINES, choose_interpreter, missing_modules, visible_gpus
from DynamoFaultLibrary.platforms.local.cuda import missing_tools
from DynamoFaultLibrary.platforms.local.network import check_isolation
from DynamoFaultLibrary.platforms.local.planes import etcd_binary, nats_binary


@dataclass(frozen=True)
class Finding:
    """One thing looked at. `consequence` says what a missing thing means."""

    what: str
    is_there: bool
    detail: str
    consequence: str = ""


def examine() -> list[Finding]:
    """Look at everything."""
    return [
        *(_package(name) for name in ("robotframework", "robotframework-pabot", "kubernetes")),
        _asked("Dynamo", _dynamo, "Deploy Graph on platform 'local' fails"),
        _asked("etcd", etcd_binary, "Deploy Graph with discovery=etcd fails"),
        _asked("nats-server", nats_binary, "Deploy Graph with request_plane=nats or event_plane=nats fails"),
        _asked("aiperf", find_aiperf, "Start Load with engine=aiperf skips its test"),
        _asked("isolated networks", _isolation, "Deploy Graph with network=isolated skips its tests"),
        *([] if may_administer_networks() else [_own_network()]),
        _gpus(),
        _compiler(),
        *(_engine(module, package) for module, package in ENGINES.items()),
        _state(),
    ]


def _package(name: str) -> Finding:
    try:
        return Finding(name, True, version(name))
    except PackageNotFoundError:
        return Finding(name, False, "not installed", "pip install .")


def _asked(what: str, ask: Callable[[], str], consequence: str) -> Finding:
    try:
        return Finding(what, True, ask())
    except FaultLibraryError as error:
        return Finding(what, False, str(error), consequence)


def _dynamo() -> str:
    interpreter = choose_interpreter(None)
    if missing_modules(interpreter, ("dynamo._core",)):
        raise FaultLibraryError(f"not installed for {interpreter}")
    return f"installed for {interpreter}"


def _isolation() -> str:
    check_isolation()
    return "packet filters work"


def _own_network() -> Finding:
    code = "from DynamoFaultLibrary.net.namespace import enter_own_namespaces; enter_own_namespaces()"
    tried = subprocess.run(
        [sys.executable, "-c", code], check=False, env=module_environment(), capture_output=True, text=True
    )
    detail = "user namespaces are allowed" if tried.returncode == 0 else tried.stderr.strip().rpartition("\n")[2]
    return Finding("--own-network", tried.returncode == 0, detail, "dynamo-fault run --own-network fails")


def _gpus() -> Finding:
    count = len(visible_gpus())
    return Finding("NVIDIA GPUs", count > 0, str(count or "none"), "Deploy Graph skips tests whose graph asks for GPUs")


def _compiler() -> Finding:
    missing = missing_tools()
    detail = f"{' and '.join(missing)} {'are' if len(missing) > 1 else 'is'} missing" if missing else "installed"
    return Finding("gcc and make", not missing, detail, "Set Up Cuda Shim skips its test")


def _engine(module: str, package: str) -> Finding:
    try:
        there = not missing_modules(choose_interpreter(None), (package,))
    except FaultLibraryError:
        there = False
    detail = f"package {package} is {'' if there else 'not '}installed"
    return Finding(module, there, detail, f"Deploy Graph skips tests whose graph runs {module}")


def _state() -> Finding:
    place = state_directory()
    existing = next(path for path in (place, *place.parents) if path.exists())
    writable = os.access(existing, os.W_OK) and existing.is_dir()
    return Finding("state directory", writable, str(place), "faults are refused: their ledger cannot be written")
