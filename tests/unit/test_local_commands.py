import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.engines.model import TINY_MODEL
from DynamoFaultLibrary.errors import DeploymentError, FaultLibraryError, Unsupported
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.platforms.local.commands import (
    base_environment,
    check_program,
    choose_interpreter,
    command_line,
    host_environment,
    merged,
    modules_of,
    place_tiny_model,
    prepare_work,
    requirement_problems,
    runs_python,
    uses_tiny_model,
)
from DynamoFaultLibrary.platforms.local.host import LOOPBACK, Host

PYTHON = "/opt/venv/bin/python"


def graph_of(command: list[str], args: list[str], *, gpus: int = 0, **service: Any) -> Graph:
    worker = {
        "componentType": "worker",
        "resources": {"limits": {"gpu": str(gpus)}},
        "extraPodSpec": {"mainContainer": {"command": command, "args": args}},
        **service,
    }
    frontend = {"componentType": "frontend"}
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg"},
        "spec": {"envs": [{"name": "SHARED", "value": "graph"}], "services": {"Frontend": frontend, "Worker": worker}},
    }
    return Graph(document, "graph.yaml")


def line(command: list[str], args: list[str], **environment: str) -> list[str]:
    return command_line("service 'Worker'", [*command, *args], "/opt/python", environment)


def problems(graph: Graph, interpreter: str) -> list[FaultLibraryError]:
    return [error for _, error in requirement_problems(graph, list(graph.services.values()), interpreter)]


def script(path: Path, text: str) -> str:
    path.write_text(text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("name", ["python", "python3", "python3.12"])
def test_python_is_replaced_by_the_interpreter(name: str) -> None:
    assert line([name, "-m", "dynamo.frontend"], ["--x"]) == ["/opt/python", "-m", "dynamo.frontend", "--x"]


@pytest.mark.parametrize("name", ["/opt/dynamo/venv/bin/python", "/no/such/python3.12"])
def test_a_python_of_the_image_is_replaced_by_the_interpreter(name: str) -> None:
    assert line([name, "-m"], ["dynamo.mocker"]) == ["/opt/python", "-m", "dynamo.mocker"]


@pytest.mark.parametrize("name", [sys.executable, "python2", "python3-dbg", "sh"])
def test_another_program_stays_as_it_is(name: str) -> None:
    assert line([name, "-c"], ["python3"]) == [name, "-c", "python3"]


@pytest.mark.parametrize(
    ("text", "expanded"),
    [
        ("$(PORT)", "5600"),
        ("--port=$(PORT)", "--port=5600"),
        ("$(HOST):$(PORT)", "here:5600"),
        ("$$(PORT)", "$(PORT)"),
        ("$$$(PORT)", "$5600"),
        ("$$$$(PORT)", "$$(PORT)"),
        ("a$$b", "a$b"),
        ("$(UNKNOWN)", "$(UNKNOWN)"),
        ("$PORT", "$PORT"),
        ("${PORT}", "${PORT}"),
        ("$(PORT", "$(PORT"),
        ("$()", "$()"),
        ("$(EMPTY)", ""),
        ("$(NESTED)", "$(PORT)"),
    ],
)
def test_references_are_put_in_as_kubernetes_does(text: str, expanded: str) -> None:
    environment = {"PORT": "5600", "HOST": "here", "EMPTY": "", "NESTED": "$(PORT)"}
    assert line(["serve"], [text], **environment) == ["serve", expanded]


def test_references_in_the_command_are_put_in_too() -> None:
    assert line(["$(HOME)/bin/serve"], [], HOME="/home/x") == ["/home/x/bin/serve"]


def test_a_service_without_a_command_cannot_be_started() -> None:
    with pytest.raises(DeploymentError) as raised:
        line([], [])
    assert str(raised.value) == "service 'Worker' has neither command nor args, so there is nothing to start"


def test_options_without_a_command_are_not_started_as_one() -> None:
    """It was told as `[Errno 2] … '--migration-limit'`."""
    with pytest.raises(DeploymentError) as raised:
        line([], ["--migration-limit", "3"])
    assert str(raised.value) == (
        "service 'Worker' has no command, only args ['--migration-limit', '3'], so nothing can be started"
    )


def test_a_program_that_is_not_there_is_named_with_its_service_and_command() -> None:
    with pytest.raises(DeploymentError) as raised:
        check_program("service 'Worker'", "no-such-engine", {"PATH": os.environ["PATH"]}, ["no-such-engine", "--x"])
    assert str(raised.value) == (
        "service 'Worker' starts 'no-such-engine', which does not exist on this machine or cannot be executed, nor can "
        "it be found on the PATH; its command is: no-such-engine --x"
    )


def test_temporary_files_belong_to_the_deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Each of Dynamo's processes left a file in the machine's own directory (row 33)."""
    environment = base_environment(tmp_path, PYTHON)
    assert environment["TMPDIR"] == str(tmp_path / "tmp")
    prepare_work(tmp_path, PYTHON)
    assert (tmp_path / "tmp").is_dir()


def test_an_environment_leaves_nothing_in_the_work_directory(tmp_path: Path) -> None:
    base_environment(tmp_path / "work", PYTHON)
    assert list(tmp_path.iterdir()) == []


def test_sockets_of_vllm_lie_where_their_paths_are_short_enough(tmp_path: Path) -> None:
    deep = tmp_path / ("d" * 70)
    assert base_environment(deep, PYTHON)["VLLM_RPC_BASE_PATH"] == tempfile.gettempdir()
    assert len(str(deep / "tmp")) > 70


def test_a_script_finds_the_interpreter_in_a_login_shell_too(tmp_path: Path) -> None:
    """`bash -lc` forgets the PATH that it is given."""
    prepare_work(tmp_path, script(tmp_path / "chosen", "#!/bin/sh\necho chosen $*\n"))
    environment = base_environment(tmp_path, PYTHON)
    for shell in ("sh -c", "sh -lc", "bash -c", "bash -lc"):
        for name in ("python", "python3", "python3.12"):
            command = [*shell.split(), f"{name} -m dynamo.frontend"]
            said = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            assert said == "chosen -m dynamo.frontend\n"


def test_paths_of_a_graph_come_before_those_of_the_machine_and_after_the_interpreter() -> None:
    platforms = {"PATH": "/work/bin:/opt/venv/bin:/usr/bin", "PYTHONPATH": "/work/library", "A": "1"}
    own = {"PATH": "/opt/tools", "PYTHONPATH": "/workspace/src", "A": "2"}
    assert merged(platforms, own) == {
        "PATH": "/work/bin:/opt/venv/bin:/opt/tools:/work/bin:/opt/venv/bin:/usr/bin",
        "PYTHONPATH": "/workspace/src:/work/library",
        "A": "2",
    }


def test_dynamo_variables_are_not_inherited(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Not even its log settings: what the library reads in logs is there whatever the shell has set (row 19)."""
    for name in ("DYN_NAMESPACE", "DYN_HTTP_PORT", "ETCD_ENDPOINTS", "NATS_SERVER", "DYN_LOG", "DYN_LOGGING_JSONL"):
        monkeypatch.setenv(name, "inherited")
    monkeypatch.setenv("OTHER", "inherited")
    environment = base_environment(tmp_path, PYTHON)
    assert [name for name, value in environment.items() if value == "inherited"] == ["OTHER"]


def test_the_environment_belongs_to_its_deployment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", "/home/somebody")
    monkeypatch.delenv("HF_HOME", raising=False)
    environment = base_environment(tmp_path, PYTHON)
    assert environment["HOME"] == str(tmp_path / "home")
    assert environment["HF_HOME"] == "/home/somebody/.cache/huggingface"
    assert environment["PATH"] == f"{tmp_path}/bin:/opt/venv/bin:{os.environ['PATH']}"


@pytest.mark.parametrize("host", [LOOPBACK, Host("10.201.7.11", "eth0")])
def test_all_that_listens_does_so_on_its_host(host: Host) -> None:
    environment = host_environment(host)
    hosts = {environment[name] for name in ("DYN_HTTP_HOST", "DYN_SYSTEM_HOST", "DYN_TCP_RPC_HOST")}
    assert hosts == {host.address}
    assert environment["DYN_TCP_RESPONSE_STREAM_HOST"] == host.interface


def test_a_given_hugging_face_cache_stays(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HF_HOME", "/data/hf")
    assert base_environment(tmp_path, PYTHON)["HF_HOME"] == "/data/hf"


def test_any_python_finds_our_package_and_no_other_of_ours(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PYTHONPATH", "/mine")
    library = tmp_path / "library"
    assert base_environment(tmp_path, PYTHON)["PYTHONPATH"] == f"{library}{os.pathsep}/mine"
    prepare_work(tmp_path, PYTHON)
    assert [path.name for path in library.iterdir()] == ["DynamoFaultLibrary"]
    assert (library / "DynamoFaultLibrary" / "engines" / "position.py").is_file()
    monkeypatch.delenv("PYTHONPATH")
    assert base_environment(tmp_path, PYTHON)["PYTHONPATH"] == str(library)


def test_the_interpreter_is_the_wanted_one_else_that_of_the_variable_else_our_own(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("DYNAMO_PYTHON", "/bin/sh")
    assert choose_interpreter(sys.executable) == sys.executable
    assert choose_interpreter(None) == "/bin/sh"
    monkeypatch.delenv("DYNAMO_PYTHON")
    assert choose_interpreter(None) == sys.executable


def test_an_interpreter_is_found_on_the_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = script(tmp_path / "python-of-dynamo", "#!/bin/sh\n")
    monkeypatch.setenv("PATH", str(tmp_path))
    assert choose_interpreter("python-of-dynamo") == program


def test_an_interpreter_that_is_not_there_is_an_error_with_its_name(tmp_path: Path) -> None:
    with pytest.raises(DeploymentError) as raised:
        choose_interpreter(f"{tmp_path}/python")
    assert str(raised.value) == f"interpreter '{tmp_path}/python' for Dynamo does not exist or cannot be executed"


def test_an_interpreter_that_cannot_be_executed_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "python").touch(mode=0o644)
    with pytest.raises(DeploymentError, match="does not exist or cannot be executed"):
        choose_interpreter(f"{tmp_path}/python")


def bare_python(directory: Path, *modules: str) -> str:
    """An interpreter that has only `modules` beside the standard library."""
    for module in modules:
        path = directory.joinpath("lib", *module.split("."))
        path.mkdir(parents=True)
        for package in [path, *path.parents]:
            if package == directory / "lib":
                break
            (package / "__init__.py").touch()
    directory.mkdir(exist_ok=True)
    return script(directory / "python", f'#!/bin/sh\nPYTHONPATH={directory}/lib exec {sys.executable} -S "$@"\n')


POSITION = ["python3", "-m", "DynamoFaultLibrary.engines.position"]


def test_a_machine_with_all_that_is_needed_is_fine(tmp_path: Path) -> None:
    assert problems(graph_of(POSITION, []), bare_python(tmp_path, "dynamo._core")) == []
    python = bare_python(tmp_path / "engine", "dynamo._core", "vllm")
    assert problems(graph_of(["python3", "-m", "dynamo.vllm"], []), python) == []


def test_missing_dynamo_is_an_error_that_says_what_to_do(tmp_path: Path) -> None:
    python = bare_python(tmp_path)
    (error,) = problems(graph_of(POSITION, []), python)
    assert isinstance(error, DeploymentError)
    assert str(error) == (
        f"Dynamo is not installed for '{python}': pip install '.[local]', or let DYNAMO_PYTHON "
        "name a Python that has ai-dynamo"
    )


@pytest.mark.parametrize(
    ("command", "package"),
    [
        (["python3", "-m", "dynamo.vllm"], "vllm"),
        (["python3", "-m", "dynamo.sglang"], "sglang"),
        (["trtllm-llmapi-launch", "python3", "-m", "dynamo.trtllm"], "tensorrt_llm"),
        (["/bin/sh", "-c", "cd x && exec python3 -m dynamo.vllm.multimodal --model $MODEL"], "vllm"),
    ],
)
def test_each_service_whose_engine_is_missing_is_named(command: list[str], package: str, tmp_path: Path) -> None:
    python = bare_python(tmp_path, "dynamo._core")
    (error,) = problems(graph_of(command, []), python)
    assert isinstance(error, Unsupported)
    assert str(error) == f"service 'Worker' needs the Python package {package}; '{python}' does not have it"


def test_too_few_gpus_are_unsupported_here(tmp_path: Path) -> None:
    present = len(list(Path("/proc/driver/nvidia/gpus").glob("*")))
    (error,) = problems(graph_of(POSITION, [], gpus=500, replicas=2), bare_python(tmp_path, "dynamo._core"))
    assert isinstance(error, Unsupported)
    assert str(error) == f"graph 'agg' needs 1000 NVIDIA GPUs, this machine has {present}"


def test_a_replica_on_several_hosts_is_unsupported_here(tmp_path: Path) -> None:
    (error,) = problems(graph_of(POSITION, [], multinode={"nodeCount": 2}), bare_python(tmp_path, "dynamo._core"))
    assert isinstance(error, Unsupported)
    assert str(error) == "a replica of service 'Worker' runs on 2 hosts, and this machine is one"


def test_modules_are_found_in_words_and_in_scripts() -> None:
    assert modules_of(["python3", "-m", "dynamo.frontend", "--x"]) == ["dynamo.frontend"]
    assert modules_of(["sh", "-c", "python3 -m a.b & exec python -m c.d"]) == ["a.b", "c.d"]
    assert modules_of(["serve", "-model", "x"]) == []


@pytest.mark.parametrize(
    ("command", "runs"),
    [
        (["python3", "x.py"], True),
        (["sh", "-c", "exec python3 -m dynamo.frontend"], True),
        (["sh", "-c", "cd /x && python -m dynamo.frontend"], True),
        (["/opt/venv-of-the-image/bin/python3", "-m", "x"], True),
        (["serve", "--python3.11-like"], False),
        ([sys.executable, "-m", "x"], False),
    ],
)
def test_a_service_runs_a_python_that_may_be_chosen(command: list[str], runs: bool) -> None:
    assert runs_python(graph_of(command, []).service("Worker")) is runs


def test_an_interpreter_that_does_not_work_is_an_error_with_what_it_said(tmp_path: Path) -> None:
    broken = script(tmp_path / "python", "#!/bin/sh\necho no such library >&2\nexit 127\n")
    with pytest.raises(DeploymentError) as raised:
        problems(graph_of(POSITION, []), broken)
    assert str(raised.value) == f"interpreter '{broken}' does not work: no such library"


@pytest.mark.parametrize(
    ("args", "uses"),
    [
        (["--model-path", TINY_MODEL], True),
        ([f"--model={TINY_MODEL}"], True),
        (["--model-path", "Qwen/Qwen3-0.6B"], False),
        (["--model-name", TINY_MODEL], False),
        ([], False),
    ],
)
def test_a_graph_uses_the_tiny_model_where_a_worker_names_it(args: list[str], uses: bool) -> None:
    assert uses_tiny_model(graph_of(POSITION, args)) is uses


def test_the_tiny_model_is_replaced_by_its_directory_and_keeps_its_name() -> None:
    graph = graph_of(POSITION, ["--model-path", TINY_MODEL, "--model-name", TINY_MODEL])
    place_tiny_model(graph, Path("/state/models/tiny-model"))
    assert graph.service("Worker").args == ["--model-path", "/state/models/tiny-model", "--model-name", TINY_MODEL]
    assert not uses_tiny_model(graph)


def test_another_model_is_left_alone() -> None:
    graph = graph_of(POSITION, ["--model", "Qwen/Qwen3-0.6B"])
    place_tiny_model(graph, Path("/state/models/tiny-model"))
    assert graph.service("Worker").args == ["--model", "Qwen/Qwen3-0.6B"]
