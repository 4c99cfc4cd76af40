"""Mounts are where a container would have them, for one process alone, and nothing of them is on the machine."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from DynamoFaultLibrary.platforms.local.child import ProcessSpec
from DynamoFaultLibrary.platforms.local.mounts import can_mount

pytestmark = pytest.mark.skipif(not can_mount(), reason="this user may not give processes mounts of their own")

SCRIPT = """
import json, subprocess, sys
from DynamoFaultLibrary.platforms.local.mounts import enter_own_mounts
mounts, stage, command = json.loads(sys.argv[1])
enter_own_mounts(mounts, stage)
subprocess.run(command, shell=True, check=True)
"""


def run(tmp_path: Path, mounts: list[tuple[Path, str]], command: str) -> str:

    stage = tmp_path / "stage"
    stage.mkdir(exist_ok=True)
    argument = json.dumps([[(str(source), target) for source, target in mounts], str(stage), command])
    done = subprocess.run([sys.executable, "-c", SCRIPT, argument], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture
def volume(tmp_path: Path) -> Path:
    directory = tmp_path / "volume"
    directory.mkdir()
    (directory / "file").write_text("content\n")
    return directory


@pytest.mark.parametrize("target", ["/no-such-root", "/etc/no-such-directory", "/no-such-root/deep/er", "/srv"])
def test_a_directory_is_where_it_was_asked_for(tmp_path: Path, volume: Path, target: str) -> None:
    was_there = Path(target).exists()
    assert (
        run(tmp_path, [(volume, target)], f"cat {target}/file; touch {target}/made; test -e /etc/passwd") == "content\n"
    )
    assert (volume / "made").exists()
    assert Path(target).exists() is was_there
    assert not (Path(target) / "made").exists()


def test_what_the_machine_has_is_still_there(tmp_path: Path, volume: Path) -> None:
    there = sorted(path.name for path in Path("/").iterdir())
    said = run(tmp_path, [(volume, "/no-such-root")], "ls -A /; cat /proc/self/status > /dev/null; ls /dev/null")
    assert sorted({*said.split()} - {"/dev/null"}) == sorted([*there, "no-such-root"])


def test_several_mounts_lie_in_each_other_and_beside_each_other(tmp_path: Path, volume: Path) -> None:
    inner = tmp_path / "inner"
    inner.mkdir()
    mounts = [
        (volume, "/no-such-a"),
        (inner, "/no-such-a/sub"),
        (volume / "file", "/no-such-b/x.yaml"),
        (inner, "/etc/no-c"),
    ]
    command = "touch /no-such-a/sub/1 /etc/no-c/2; cat /no-such-b/x.yaml; ls /no-such-a"
    assert run(tmp_path, mounts, command) == "content\nfile\nsub\n"
    assert sorted(path.name for path in inner.iterdir()) == ["1", "2"]
    assert not Path("/etc/no-c").exists()


def test_the_machine_sees_no_mount(tmp_path: Path, volume: Path) -> None:
    before = Path("/proc/self/mounts").read_text()
    run(tmp_path, [(volume, "/no-such-root"), (volume, "/etc/no-such")], "true")
    assert Path("/proc/self/mounts").read_text() == before
    assert list((tmp_path / "stage").iterdir()) == []


def test_a_process_that_cannot_have_its_mounts_says_so_in_its_log(tmp_path: Path) -> None:
    (tmp_path / "stage").mkdir()
    log = tmp_path / "log"
    mounts = [[str(tmp_path / "not-there"), "/no-such-root"]]
    spec = ProcessSpec("x", ["true"], {}, "/no-such-root", str(log), mounts=mounts, stage=str(tmp_path / "stage"))
    script = (
        "import json, os, sys\n"
        "from DynamoFaultLibrary.platforms.local.child import Child, ProcessSpec\n"
        "process = Child.start(ProcessSpec(**json.loads(sys.argv[1])))\n"
        "print(os.waitstatus_to_exitcode(os.waitpid(process.pid, 0)[1]))"
    )

    argument = json.dumps(spec.to_json())
    said = subprocess.run([sys.executable, "-c", script, argument], capture_output=True, text=True, check=True).stdout
    assert said == "126\n"
    assert "not-there" in log.read_text()
