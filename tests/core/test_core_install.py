"""What must work with `pip install .` alone: no Dynamo, no etcd, no NATS, no cluster."""

import subprocess
import sys
from pathlib import Path
from xml.etree import ElementTree

ROOT = Path(__file__).parents[2]
KEYWORDS = {"Deploy Graph", "Start Load", "Kill Worker", "Stall Process", "Get Migrations", "Wait For Request"}


def test_importing_the_library_leaves_slow_packages_alone(tmp_path: Path) -> None:
    """What a dry run needs is imported in a third of a second; each of these takes as long again."""
    script = (
        "import sys; from DynamoFaultLibrary import DynamoFaultLibrary; DynamoFaultLibrary();"
        "slow = ['kubernetes', 'httpx', 'aiohttp', 'pyroute2', 'matplotlib', 'fastapi', 'pabot', 'RequestsLibrary'];"
        "print([name for name in slow if name in sys.modules])"
    )
    answer = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "[]"


def test_a_worker_of_ours_does_not_import_robot_framework(tmp_path: Path) -> None:
    modules = "DynamoFaultLibrary.engines.sequence, DynamoFaultLibrary.load.records"
    script = f"import sys, {modules}; print('robot' in sys.modules)"
    answer = subprocess.run([sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert answer.stdout.strip() == "False"


def test_libdoc_documents_every_keyword_and_argument(tmp_path: Path) -> None:
    spec = tmp_path / "keywords.xml"
    subprocess.run(
        [sys.executable, "-m", "robot.libdoc", "DynamoFaultLibrary", str(spec)], cwd=tmp_path, check=True, timeout=60
    )
    found = {keyword.get("name"): keyword for keyword in ElementTree.parse(spec).getroot().iter("kw")}
    assert set(found) >= KEYWORDS
    assert [name for name, keyword in found.items() if not keyword.findtext("doc")] == []


def test_all_suites_pass_a_dry_run(tmp_path: Path) -> None:
    answer = subprocess.run(
        [sys.executable, "-m", "robot", "--dryrun", "--outputdir", str(tmp_path), str(ROOT / "suites")],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert answer.returncode == 0, answer.stdout
    assert "0 failed" in answer.stdout


def test_without_dynamo_deploying_says_which_extra_is_missing(tmp_path: Path) -> None:
    suite = tmp_path / "one.robot"
    suite.write_text(
        "*** Settings ***\nLibrary    DynamoFaultLibrary\n"
        "*** Test Cases ***\nOne\n    Deploy Graph    position-agg.yaml\n"
    )
    bare = tmp_path / "bare"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(bare)], check=True, timeout=60)
    answer = subprocess.run(
        [sys.executable, "-m", "robot", "--outputdir", str(tmp_path), str(suite)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={"DYNAMO_PYTHON": str(bare / "bin" / "python"), "DYNAMO_FAULT_STATE": str(tmp_path / "state")},
    )
    assert answer.returncode == 1
    assert "Dynamo is not installed" in answer.stdout
    assert "pip install '.[local]'" in answer.stdout
