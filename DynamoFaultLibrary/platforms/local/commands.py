"""What runs a graph's commands on this machine: an interpreter, packages, GPUs, an environment, a command line."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from DynamoFaultLibrary.engines.model import TINY_MODEL
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unsupported
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.graph.references import expand
from DynamoFaultLibrary.platforms.local.host import Host

INTERPRETER_VARIABLE = "DYNAMO_PYTHON"
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
ENGINES = {
    "dynamo.vllm": "vllm",
    "dynamo.sglang": "sglang",
    "dynamo.trtllm": "tensorrt_llm",
    "dynamo.planner": "sklearn",
    "dynamo.global_planner": "sklearn",
    "DynamoFaultLibrary.engines.torch": "torch",
}
"""Modules that need more than Dynamo, and the package that carries it."""

MOCKER = "dynamo.mocker"
_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_PYTHON_WORD = re.compile(r"(?:^|[\s;&|(])python(3(\.\d+)?)?(?=$|\s)")
_MODULE = re.compile(r"(?:^|\s)-m\s+([A-Za-z_][\w.]*)")
_TINY_OPTION = re.compile(rf"""(--model(?:-path)?(?:=|\s+)["']?){re.escape(TINY_MODEL)}(?![\w./-])""")
_OTHER_NAMES = ("python3", *(f"python3.{minor}" for minor in range(9, 15)))
_DROPPED = ("DYN_", "ETCD_", "NATS_")
_LONGEST_TMPDIR = 70
"""Characters: vLLM adds 37 to it for a Unix socket, whose path may have 107."""


def choose_interpreter(wanted: str | None) -> str:
    """The Python that runs Dynamo: `wanted`, else ``$DYNAMO_PYTHON``, else the one that runs robot.

    Raises:
        DeploymentError: it does not exist.
    """
    chosen = wanted or os.environ.get(INTERPRETER_VARIABLE) or sys.executable
    found = shutil.which(chosen)
    if found is None:
        raise DeploymentError(f"interpreter '{chosen}' for Dynamo does not exist or cannot be executed")
    return found


def requirement_problems(
    graph: Graph, services: Sequence[Service], interpreter: str
) -> Iterator[tuple[str, FaultLibraryError]]:
    """What this machine lacks for the services of a graph: Dynamo itself (an error), hosts, GPUs and packages.

    Raises:
        DeploymentError: the interpreter does not work.
    """
    if missing_modules(interpreter, ("dynamo._core",)):
        message = (
            f"Dynamo is not installed for '{interpreter}': pip install '.[local]', or let {INTERPRETER_VARIABLE} "
            "name a Python that has ai-dynamo"
        )
        yield "Dynamo", DeploymentError(message)
    real = [service for service in services if not is_mocker(service)]  # the simulated engine needs no hardware
    for service in real:
        if service.nodes > 1 and service.replicas:
            message = f"a replica of service '{service.name}' runs on {service.nodes} hosts, and this machine is one"
            yield f"nodes of {service.name}", Unsupported(message)
    gpus = sum(service.gpus * service.replicas for service in real)
    present = len(visible_gpus())
    if gpus > present:
        yield "GPUs", Unsupported(f"graph '{graph.name}' needs {gpus} NVIDIA GPUs, this machine has {present}")
    needs = [
        f"service '{service.name}' needs the Python package {package}"
        for service in services
        for package in lacking_packages(service.command, interpreter)
    ]
    if needs:
        does = "it" if len({need.rpartition(" ")[2] for need in needs}) == 1 else "them"
        yield "packages", Unsupported(f"{', '.join(needs)}; '{interpreter}' does not have {does}")


def modules_of(command: Sequence[str]) -> list[str]:
    """The modules that a command line, or the script in it, runs with ``python -m``."""
    return _MODULE.findall(" ".join(command))


def is_mocker(service: Service) -> bool:
    """Whether a service runs Dynamo's simulated engine."""
    return MOCKER in modules_of(service.command)


def lacking_packages(command: Sequence[str], interpreter: str) -> list[str]:
    """Packages that the modules of a command line need and an interpreter does not have."""
    needed = [
        package
        for module in modules_of(command)
        for prefix, package in ENGINES.items()
        if module == prefix or module.startswith(f"{prefix}.")
    ]
    return missing_modules(interpreter, tuple(needed)) if needed else []


def visible_gpus() -> list[str]:
    """NVIDIA GPUs to use: those of an inherited ``CUDA_VISIBLE_DEVICES``, else all that the driver knows, by index."""
    chosen = os.environ.get(GPUS_VARIABLE)
    if chosen is not None:
        return [gpu for gpu in chosen.split(",") if gpu]
    return [str(index) for index, _ in enumerate(Path("/proc/driver/nvidia/gpus").glob("*"))]


@cache
def missing_modules(interpreter: str, modules: tuple[str, ...]) -> list[str]:
    """Which of these modules an interpreter cannot find.

    Raises:
        DeploymentError: the interpreter does not work.
    """
    if interpreter == sys.executable:
        return [module for module in modules if not _is_there(module)]
    script = (
        "import importlib.util as u, sys\n"
        "def there(m):\n"
        "    try: return u.find_spec(m) is not None\n"
        "    except ImportError: return False\n"
        "print(*[m for m in sys.argv[1:] if not there(m)])"
    )
    answer = subprocess.run(
        [interpreter, "-c", script, *modules], capture_output=True, text=True, check=False, timeout=60
    )
    if answer.returncode != 0:
        raise DeploymentError(f"interpreter '{interpreter}' does not work: {answer.stderr.strip()[-300:]}")
    return answer.stdout.split()


def _is_there(module: str) -> bool:
    try:
        return find_spec(module) is not None
    except ImportError:
        return False


def base_environment(work: Path, interpreter: str) -> dict[str, str]:
    """What all processes of a deployment share, whatever their service; `prepare_work` makes what it names.

    HOME is a directory of the deployment's own, since Dynamo caches model cards below it; Hugging Face's cache stays.
    TMPDIR is too: each of Dynamo's Python processes leaves a file there. Dynamo's own variables are not inherited, so
    that two deployments never meet by accident, and their logs are what `platforms.logs` reads. The interpreter is what
    shell scripts find as python and python3.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    temporary = str(work / "tmp")
    if len(temporary) > _LONGEST_TMPDIR:
        inherited.setdefault("VLLM_RPC_BASE_PATH", tempfile.gettempdir())
    hugging_face = str(Path.home() / ".cache" / "huggingface")
    return {
        "HF_HOME": hugging_face,
        **inherited,
        "PATH": os.pathsep.join([*_programs(work, interpreter), os.environ.get("PATH", os.defpath)]),
        "PYTHONPATH": os.pathsep.join(filter(None, [str(_library(work)), os.environ.get("PYTHONPATH", "")])),
        "HOME": str(work / "home"),
        "TMPDIR": temporary,
        "PYTHONUNBUFFERED": "1",
        "DYN_SDK_DISABLE_ANSI_LOGGING": "1",
    }


def prepare_work(work: Path, interpreter: str) -> None:
    """Make what each deployment has in its work directory.

    Our package lies alone in a directory: any Python can run our engines, without our other packages. The profile is
    for login shells, which forget the PATH that they are given.
    """
    programs, library, home = work / "bin", _library(work), work / "home"
    for directory in (programs, library, home, work / "tmp", work / "stage"):
        directory.mkdir(parents=True, exist_ok=True)
    package = Path(__file__).parents[2]
    (library / package.name).symlink_to(package)
    wrapper = programs / "python"
    wrapper.write_text(f'#!/bin/sh\nexec {shlex.quote(interpreter)} "$@"\n', encoding="utf-8")
    wrapper.chmod(0o755)
    for name in _OTHER_NAMES:
        (programs / name).symlink_to(wrapper.name)
    path = os.pathsep.join(map(shlex.quote, _programs(work, interpreter)))
    (home / ".profile").write_text(f'PATH={path}:"$PATH"\nexport PATH\n', encoding="utf-8")


def merged(platforms: Mapping[str, str], own: Mapping[str, str]) -> dict[str, str]:
    """The platform's variables and a container's own; of paths that both have, both are searched."""
    found = {**platforms, **own}
    for name in ("PATH", "PYTHONPATH"):
        if name in own:
            found[name] = os.pathsep.join(filter(None, [own[name], platforms.get(name, "")]))
    if "PATH" in own:
        first = platforms["PATH"].split(os.pathsep)[:2]
        found["PATH"] = os.pathsep.join([*first, found["PATH"]])
    return found


def _programs(work: Path, interpreter: str) -> list[str]:
    return [str(work / "bin"), str(Path(interpreter).parent)]


def _library(work: Path) -> Path:
    return work / "library"


def host_environment(host: Host) -> dict[str, str]:
    """Where a Dynamo process listens, and what it tells the others of that.

    The mocker's prefill worker would else advertise whatever the machine's own name resolves to.
    """
    return {
        "DYN_HTTP_HOST": host.address,
        "DYN_HTTP_RPC_HOST": host.address,
        "DYN_SYSTEM_HOST": host.address,
        "DYN_TCP_RPC_HOST": host.address,
        "DYN_TCP_RESPONSE_STREAM_HOST": host.interface,
    }


def uses_tiny_model(graph: Graph) -> bool:
    """Whether a worker names the model that this project makes itself."""
    return any(service.model == TINY_MODEL for service in graph.workers)


def place_tiny_model(graph: Graph, directory: Path) -> None:
    """Put the directory of that model in place of its name."""
    for service in graph.workers:
        if service.model == TINY_MODEL:
            service.set_argument(service.model_option or "", str(directory))


def with_tiny_model(text: str, directory: Path) -> str:
    """A script whose program is not known, with that directory where an option names the model."""
    return _TINY_OPTION.sub(lambda match: f"{match[1]}{directory}", text)


def runs_python(service: Service) -> bool:
    """Whether its command, or the script in it, starts a Python that this platform may choose."""
    command = service.command
    return bool(command) and (_is_python(command[0]) or any(map(_PYTHON_WORD.search, command)))


def _is_python(program: str) -> bool:
    """Whether a program is a Python by its bare name, or by a path that does not exist here."""
    is_there = "/" in program and Path(program).exists()
    return not is_there and _PYTHON.fullmatch(program.rpartition("/")[2]) is not None


def command_line(whose: str, words: Sequence[str], interpreter: str, environment: Mapping[str, str]) -> list[str]:
    """A container's command with interpreter and ``$(VARIABLE)`` references put in; `whose` it is, for messages.

    Raises:
        DeploymentError: there is no command.
    """
    command = list(words)
    if not command:
        raise DeploymentError(f"{whose} has neither command nor args, so there is nothing to start")
    if command[0].startswith("-"):
        raise DeploymentError(f"{whose} has no command, only args {command}, so nothing can be started")
    if _is_python(command[0]):
        command[0] = interpreter
    return [expand(part, environment.get) for part in command]


def check_program(whose: str, program: str, environment: Mapping[str, str], words: Sequence[str]) -> None:
    """See that the program of a command line can be started here; `words` are that line, for the message.

    Raises:
        DeploymentError: it cannot.
    """
    if shutil.which(program, path=environment.get("PATH")) is None:
        where = "" if "/" in program else ", nor can it be found on the PATH"
        raise DeploymentError(
            f"{whose} starts '{program}', which does not exist on this machine or cannot be executed{where}; "
            f"its command is: {shlex.join(words)[:200]}"
        )


def check_texts(whose: str, argv: Sequence[str], environment: Mapping[str, str]) -> None:
    """See that an operating system can take a command line and an environment.

    Raises:
        DeploymentError: it cannot; values are not shown, since they may be secret.
    """
    for name, value in environment.items():
        if not name or "=" in name or "\0" in name:
            raise DeploymentError(f"{whose} has a variable called {name!r}, which no process can have")
        if "\0" in value:
            raise DeploymentError(f"variable '{name}' of {whose} has a NUL character in it, which no process can have")
    if any("\0" in word for word in argv):
        raise DeploymentError(f"the command of {whose} has a NUL character in it, which no process can have")
