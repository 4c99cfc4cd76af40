"""From a graph's service to the command line and environment of one local process."""

import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable
from functools import cache
from importlib.util import find_spec
from pathlib import Path

from DynamoFaultLibrary.engines.model import TINY_MODEL
from DynamoFaultLibrary.errors import DeploymentError, Unsupported
from DynamoFaultLibrary.graph import Graph, Service
from DynamoFaultLibrary.platforms.local.host import Host

INTERPRETER_VARIABLE = "DYNAMO_PYTHON"
GPUS_VARIABLE = "CUDA_VISIBLE_DEVICES"
ENGINES = {
    "dynamo.vllm": "vllm",
    "dynamo.sglang": "sglang",
    "dynamo.trtllm": "tensorrt_llm",
    "DynamoFaultLibrary.engines.torch": "torch",
}
"""Workers that need more than Dynamo, and the package that carries it."""

_PYTHON = re.compile(r"python(3(\.\d+)?)?")
_REFERENCE = re.compile(r"\$\$|\$\(([A-Za-z_][A-Za-z0-9_]*)\)")
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


def check_requirements(graph: Graph, interpreter: str) -> None:
    """See that this machine has what the graph's services need.

    Raises:
        DeploymentError: Dynamo itself is missing.
        Unsupported: an engine or a GPU is missing.
    """
    modules = [module for service in graph.services.values() if (module := _module(service))]
    needed = ["dynamo._core", *(ENGINES[module] for module in modules if module in ENGINES)]
    missing = missing_modules(interpreter, tuple(needed))
    if "dynamo._core" in missing:
        raise DeploymentError(
            f"Dynamo is not installed for '{interpreter}': pip install '.[local]', or let {INTERPRETER_VARIABLE} "
            "name a Python that has ai-dynamo"
        )
    gpus = sum(service.gpus * service.replicas for service in graph.services.values())
    present = len(visible_gpus())
    if gpus > present:
        raise Unsupported(f"graph '{graph.name}' needs {gpus} NVIDIA GPUs, this machine has {present}")
    if missing:
        raise Unsupported(
            f"graph '{graph.name}' needs the Python packages {missing}, '{interpreter}' does not have them"
        )


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


def _module(service: Service) -> str | None:
    command = service.command
    return command[command.index("-m") + 1] if "-m" in command[:-1] else None


def base_environment(work: Path) -> dict[str, str]:
    """What all processes of a deployment share, whatever their service.

    HOME is a directory of the deployment's own, since Dynamo caches model cards below it; Hugging Face's cache stays.
    TMPDIR is too: each of Dynamo's Python processes leaves a file there. Dynamo's own variables are not inherited, so
    that two deployments never meet by accident, and their logs are what `platforms.logs` reads.
    """
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(_DROPPED)}
    temporary = work / "tmp"
    temporary.mkdir(parents=True, exist_ok=True)
    if len(str(temporary)) > _LONGEST_TMPDIR:
        inherited.setdefault("VLLM_RPC_BASE_PATH", tempfile.gettempdir())
    hugging_face = str(Path.home() / ".cache" / "huggingface")
    return {
        "HF_HOME": hugging_face,
        **inherited,
        "PYTHONPATH": os.pathsep.join(filter(None, [_our_package_alone(work), os.environ.get("PYTHONPATH", "")])),
        "HOME": str(work / "home"),
        "TMPDIR": str(temporary),
        "PYTHONUNBUFFERED": "1",
        "DYN_SDK_DISABLE_ANSI_LOGGING": "1",
    }


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


def _our_package_alone(work: Path) -> str:
    """A directory with nothing but this package in it: any Python can run our engines, without our other packages."""
    directory = work / "library"
    directory.mkdir(parents=True, exist_ok=True)
    package = Path(__file__).parents[2]
    link = directory / package.name
    if not link.is_symlink():
        link.symlink_to(package)
    return str(directory)


def service_environment(graph: Graph, service: Service, take_port: Callable[[], int]) -> dict[str, str]:
    """The graph's and the service's own variables for one replica.

    All replicas share this host, so each variable whose name ends in ``_PORT`` gets a free port of the replica's own.
    """
    variables = {**graph.environment, **service.environment}
    for name in variables:
        if name.endswith("_PORT"):
            variables[name] = str(take_port())
    return variables


def uses_tiny_model(graph: Graph) -> bool:
    """Whether a worker names the model that this project makes itself."""
    return any(_names_tiny_model(service) for service in graph.workers)


def place_tiny_model(graph: Graph, directory: Path) -> None:
    """Put the directory of that model in place of its name."""
    for service in filter(_names_tiny_model, graph.workers):
        service.set_argument(service.model_option or "", str(directory))


def _names_tiny_model(service: Service) -> bool:
    option = service.model_option
    return option is not None and service.argument(option) == TINY_MODEL


def runs_python(service: Service) -> bool:
    """Whether the first word of its command is a Python that this platform may choose."""
    return bool(service.command and _PYTHON.fullmatch(service.command[0]))


def command_line(service: Service, interpreter: str, environment: dict[str, str]) -> list[str]:
    """The service's command with interpreter and ``$(VARIABLE)`` references put in.

    References work as in a Kubernetes container: an unknown one stays as it is, ``$$`` stands for a dollar sign.

    Raises:
        DeploymentError: there is no command.
    """
    command = service.command
    if not command:
        raise DeploymentError(f"service '{service.name}' has neither command nor args, so there is nothing to start")
    if command[0].startswith("-"):
        raise DeploymentError(
            f"service '{service.name}' has no command, only args {command}, so nothing can be started"
        )
    if runs_python(service):
        command[0] = interpreter

    def expand(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else environment.get(name, match.group(0))

    return [_REFERENCE.sub(expand, part) for part in command]


def check_program(service: Service, argv: list[str], environment: dict[str, str]) -> None:
    """See that the program of a command line can be started here.

    Raises:
        DeploymentError: it cannot.
    """
    if shutil.which(argv[0], path=environment.get("PATH")) is None:
        raise DeploymentError(
            f"service '{service.name}' starts '{argv[0]}', which does not exist on this machine or cannot be executed"
        )
