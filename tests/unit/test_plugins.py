"""Platforms by name, and one that another distribution brings along by an entry point."""

import os
import re
import subprocess
import sys
import venv
from datetime import timedelta
from pathlib import Path

import pytest

from DynamoFaultLibrary.errors import FaultLibraryError, RecoveryError
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.keywords.context import Context, Options
from DynamoFaultLibrary.ledger import Ledger, Owner, State, read_ledger
from DynamoFaultLibrary.ledger.recovery import problems, recover, recover_dead_runs, undoer_for
from DynamoFaultLibrary.ledger.store import RUN_VARIABLE
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.plugins import GROUP, known_platform, platform_module, platform_names
from DynamoFaultLibrary.processes import ProcessId

PLATFORM = """
class Moon:
    def __init__(self, ledger):
        self.ledger = ledger

def open_platform(ledger):
    return Moon(ledger)
"""
UNDOERS = """
from DynamoFaultLibrary.ledger.undo import Rank, Reach, Undoer
UNDOERS = {
    "land": Undoer(lambda recipe: f"landed {recipe['ship']}", Rank.PROCESS, Reach.ANYWHERE),
    "calm": Undoer(lambda recipe: "calm", Rank.FAULT, Reach.ANYWHERE),
}

def sweep(run):
    return [f"dust of {run} lies on the moon"]
"""

BROKEN = {
    "bare": "",
    "odd": "UNDOERS = {'calm': print}",
    "quitting": "raise SystemExit('no licence')",
    "afar": "UNDOERS = {}\n\ndef sweep(run):\n    raise ConnectionError('no cluster')\n",
}
"""Undoers of platforms that do not keep to what is asked of them."""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    """What pip would have made of a distribution that brings platform `moon` along, and some that are `BROKEN`."""
    place = tmp_path / "site"
    described = place / "moon_for_dynamo_fault-1.0.dist-info"
    described.mkdir(parents=True)
    (described / "METADATA").write_text("Metadata-Version: 2.1\nName: moon-for-dynamo-fault\nVersion: 1.0\n")
    (described / "entry_points.txt").write_text(f"[{GROUP}]\nmoon = moon_for_tests\ntorn = torn_for_tests\n")
    (described / "entry_points.txt").open("a").writelines(f"{name} = {name}_for_tests\n" for name in BROKEN)
    for package, modules in (
        ("moon_for_tests", {"platform": PLATFORM, "undoers": UNDOERS}),
        ("torn_for_tests", {"platform": "import a_client_that_is_missing"}),
        *((f"{name}_for_tests", {"platform": "", "undoers": text}) for name, text in BROKEN.items()),
    ):
        (place / package).mkdir()
        for module, text in ({"__init__": ""} | modules).items():
            (place / package / f"{module}.py").write_text(text)
    return place


@pytest.fixture
def plugged(site: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(site))
    for name in [name for name in sys.modules if "_for_tests" in name]:
        monkeypatch.delitem(sys.modules, name)


def test_this_package_brings_the_local_platform_along() -> None:
    assert platform_names() == ["local"]
    assert known_platform("Local") == "local"
    ledger = Ledger("r", Owner.current())
    assert isinstance(platform_module("local", "platform").open_platform(ledger), LocalPlatform)


@pytest.mark.parametrize("name", ["moon", "", "local "])
def test_a_platform_that_is_not_installed_is_an_error_with_those_that_are(name: str) -> None:
    for find in (known_platform, lambda each: platform_module(each, "platform")):
        with pytest.raises(FaultLibraryError) as raised:
            find(name)
        assert str(raised.value) == f"there is no platform '{name}'; installed are local"


@pytest.mark.usefixtures("plugged")
def test_a_platform_of_another_distribution_is_found_by_its_name() -> None:
    assert platform_names() == ["local", "moon", "torn", *BROKEN]
    assert known_platform("MOON") == "moon"
    context = Context(Options("moon", 1, timedelta(minutes=1), BlastRadius()))
    assert type(context.platform).__module__ == "moon_for_tests.platform"
    context._platform = None
    context.close()


@pytest.mark.usefixtures("plugged")
def test_what_a_platform_needs_and_is_not_installed_is_named() -> None:
    with pytest.raises(FaultLibraryError) as raised:
        platform_module("torn", "platform")
    assert str(raised.value) == (
        "platform 'torn' cannot be loaded from package 'torn_for_tests': No module named 'a_client_that_is_missing'"
    )
    with pytest.raises(RecoveryError, match="install the package of its platform: platform 'torn' cannot"):
        undo({"platform": "torn", "action": "calm"})


@pytest.mark.usefixtures("plugged")
def test_recipes_of_another_distribution_are_undone_in_order_also_for_another_machine(tmp_path: Path) -> None:
    ledger = Ledger("run-1", Owner(ProcessId.current(), "host-b"), tmp_path)
    ledger.intend("unknown", {}, {"platform": "torn", "action": "calm"})
    ledger.intend("storm", {}, {"platform": "moon", "action": "calm"})
    ledger.intend("ship", {}, {"platform": "moon", "action": "land", "ship": "Eagle"})
    found = recover(ledger.path)
    assert [entry.detail for entry in found.recovered] == ["calm", "landed Eagle"]
    assert [entry.kind for entry, _ in found.failed] == ["unknown"]


def test_a_command_without_that_package_says_that_it_is_missing_and_with_it_undoes(site: Path, tmp_path: Path) -> None:
    ledger = Ledger("run-1", Owner(ProcessId(2**22, 1)), tmp_path)
    entry = ledger.intend("storm", {}, {"platform": "moon", "action": "calm"})
    root = str(Path(__file__).parents[2])

    def call(*places: str) -> subprocess.CompletedProcess[str]:
        environment = {**os.environ, "PYTHONPATH": os.pathsep.join(places), "DYNAMO_FAULT_STATE": str(tmp_path)}
        command = [sys.executable, "-m", "DynamoFaultLibrary.cli", "recover", "--all"]
        return subprocess.run(command, check=False, env=environment, capture_output=True, text=True)

    without = call(root)
    assert (without.returncode, without.stderr.splitlines()[0]) == (
        1,
        f"run-1: {entry.id} IS NOT UNDONE: install the package of its platform: "
        "there is no platform 'moon'; installed are local",
    )
    assert call(root, str(site)).stdout == f"run-1: {entry.id} undone: calm\n"


def test_a_guard_that_runs_without_site_packages_finds_a_platform_there(site: Path, tmp_path: Path) -> None:
    """It starts so that robot need not wait for it, and undoes faults of all platforms."""
    venv.create(tmp_path / "venv", with_pip=False)
    (packages,) = (tmp_path / "venv" / "lib").glob("python*/site-packages")
    (packages / "moon.pth").write_text(f"{site}\n")  # as `pip install --editable` does
    script = "from DynamoFaultLibrary.ledger.undo import undo; print(undo({'platform': 'moon', 'action': 'calm'}))"
    told = subprocess.run(
        [tmp_path / "venv" / "bin" / "python", "-S", "-c", script],
        check=False,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        capture_output=True,
        text=True,
    )
    assert (told.stdout, told.stderr) == ("calm\n", "")


@pytest.mark.usefixtures("plugged")
def test_a_platform_takes_off_what_bears_the_name_of_a_run_and_says_what_is_left(tmp_path: Path) -> None:
    dead = Ledger("run-1", Owner(ProcessId(2**22, 1)), tmp_path)
    dead.mark(dead.intend("storm", {}, {"platform": "moon", "action": "calm"}), State.RECOVERED)
    assert (recover(dead.path).left, recover(dead.path, sweeping=True, dry_run=True).left) == ([], [])
    found = recover(dead.path, sweeping=True)
    assert (found.is_clean, problems([found])) == (False, ["dust of run-1 lies on the moon"])
    alive = Ledger("run-1", Owner.current(), tmp_path)
    entry = alive.intend("calm", {}, {"platform": "moon", "action": "calm"})
    assert recover(dead.path, sweeping=True).left == [], "the run is alive"
    alive.mark(entry, State.RECOVERED)
    assert recover(dead.path, sweeping=True).left == [], "so it is when nothing of it is open"
    assert recover(dead.path, sweeping=True, force=True).left == ["dust of run-1 lies on the moon"]


@pytest.mark.usefixtures("plugged")
def test_a_platform_that_is_gone_leaves_unknown_what_it_has_of_a_run(tmp_path: Path) -> None:
    dead = Ledger("run-1", Owner(ProcessId(2**22, 1)), tmp_path)
    dead.mark(dead.intend("storm", {}, {"platform": "sun", "action": "calm"}), State.RECOVERED)
    assert recover(dead.path, sweeping=True).left == [
        "nobody knows what is left on platform 'sun': install the package of its platform: there is no platform 'sun'; "
        "installed are local, moon, torn, bare, odd, quitting, afar"
    ]


@pytest.mark.usefixtures("plugged")
@pytest.mark.parametrize(
    ("platform", "why"),
    [
        ("bare", "cannot be loaded from package 'bare_for_tests': module .* has no attribute 'UNDOERS'"),
        ("odd", "platform 'odd' has no undo action 'calm'"),
        ("quitting", "platform 'quitting' cannot be loaded from package 'quitting_for_tests': no licence"),
        ("afar", "platform 'afar' has no undo action 'calm'"),
    ],
)
def test_a_platform_that_is_broken_keeps_nobody_from_recovering_the_rest(
    platform: str, why: str, ledger: Ledger, tmp_path: Path
) -> None:
    """It ended `recover --all`, each new graph on the machine, and the guard before it had ended its processes."""
    dead = Ledger("dead", Owner(ProcessId(2**22, 1)), tmp_path / "state")
    storm = dead.intend("storm", {}, {"platform": platform, "action": "calm"})
    dead.intend("calm", {}, {"platform": "moon", "action": "calm"})
    assert not undoer_for(storm).goes_with_deployment, "the guard asks at the end of a run"
    recover_dead_runs(ledger.path)
    assert [entry.kind for entry in read_ledger(dead.path).open_entries] == ["storm"]
    found = recover(dead.path, sweeping=True)
    assert re.search(why, problems([found])[0])


@pytest.mark.usefixtures("plugged")
def test_a_sweep_that_fails_is_told(tmp_path: Path) -> None:
    """It ended `recover --all` with a Python error."""
    dead = Ledger("run-1", Owner(ProcessId(2**22, 1)), tmp_path)
    dead.mark(dead.intend("storm", {}, {"platform": "afar", "action": "calm"}), State.RECOVERED)
    assert recover(dead.path, sweeping=True).left == ["nobody knows what is left on platform 'afar': no cluster"]


@pytest.mark.usefixtures("plugged")
def test_a_platform_that_does_not_close_keeps_no_run(monkeypatch: pytest.MonkeyPatch) -> None:
    """The next import in this process would have had a run, and results, of its own."""
    monkeypatch.setenv(RUN_VARIABLE, "the-run")
    context = Context(Options("moon", 1, timedelta(minutes=1), BlastRadius()))
    assert (context.platform is not None, context.ledger.run) == (True, "the-run")
    with pytest.raises(AttributeError, match="'Moon' object has no attribute 'close'"):
        context.close()
    context.close()
    again = Context(context.options)
    assert again.ledger.run == "the-run"
    again.close()


@pytest.mark.usefixtures("plugged")
def test_a_platform_that_cannot_be_opened_says_what_it_lacks() -> None:
    context = Context(Options("bare", 1, timedelta(minutes=1), BlastRadius()))
    with pytest.raises(FaultLibraryError, match="platform 'bare' cannot be loaded from package 'bare_for_tests': "):
        _ = context.platform
