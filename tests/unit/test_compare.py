"""``dynamo-fault compare`` and ``dynamo-fault history``, over results folders made with the noise of real runs."""

import json
import shutil
from datetime import datetime
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import CliRunner, Result
from made_runs import RUN_ID, Version, make_run
from robot.api import TestSuite as Suite

from DynamoFaultLibrary.cli import main
from DynamoFaultLibrary.reports.compare import OVERALL, Comparison, Judgement, Kind, Side, compare
from DynamoFaultLibrary.reports.run import Ruling, Run, Verdict
from DynamoFaultLibrary.runs import find_runs, read_run

PLANTED = 2
"""Number of the load whose slowest answers get slower; it meets no fault."""
SUITE = "Suites.Load.Suite"


def call(*arguments: str | Path) -> Result:
    return CliRunner().invoke(main, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Five runs of an old version, five of a new one with a slower tail, and seven more of the old one."""
    top, rng = tmp_path_factory.mktemp("runs"), np.random.default_rng(11)
    for number in range(5):
        make_run(top / f"old-{number}", Version(name="1.4.2", requests=500), rng, day=1 + number)
        make_run(
            top / f"new-{number}", Version(name="1.6.1", requests=500, slow_tail={PLANTED: 1.2}), rng, day=10 + number
        )
    for number in range(7):
        make_run(top / f"same-{number}", Version(name="1.4.2", requests=500), rng, day=20 + number)
    return top


def repeats(folders: Path, name: str) -> list[Path]:
    return sorted(folders.glob(f"{name}-*"))


def run_of(verdicts: dict[str, Verdict], loads: dict[str, dict[str, float]] | None = None) -> Run:
    tests = {
        name: Ruling(verdict, "why" if verdict is not Verdict.PASSED else "") for name, verdict in verdicts.items()
    }
    return Run(Path("r"), datetime(2026, 1, 1), "", tests, loads or {})


def test_a_planted_regression_of_a_fifth_in_p99_is_found(folders: Path) -> None:
    answer = call("compare", *repeats(folders, "old"), "--vs", *repeats(folders, "new"), "--json")
    assert answer.exit_code == 1, answer.output
    data = json.loads(answer.stdout)
    assert [side["label"] for side in data["sides"]] == ["1.4.2", "1.6.1"]
    (found,) = data["comparisons"]
    worse = {(each["load"], each["figure"]) for each in found["figures"] if each["judgement"] == "worse"}
    assert (f"{SUITE} {PLANTED}.Test {PLANTED}: default", "p99") in worse
    assert {load for load, _ in worse} == {f"{SUITE} {PLANTED}.Test {PLANTED}: default"}
    assert not [each for each in found["figures"] if each["judgement"] == "better"]
    assert data["worse"] == [f"{len(worse)} figures of 1.6.1 are worse beyond noise"]


def test_a_version_beside_itself_raises_no_alarm_in_20_comparisons(folders: Path) -> None:
    runs = [read_run(path) for path in [*repeats(folders, "old"), *repeats(folders, "same")]]
    rng = np.random.default_rng(5)
    for _ in range(20):
        order = [runs[place] for place in rng.permutation(len(runs))]
        (found,) = compare([Side("one", order[:5]), Side("other", order[5:10])])
        assert found.with_judgement(Judgement.ALIKE)
        assert found.with_judgement(Judgement.WORSE, Judgement.BETTER) == []
        assert list(found.tests) == []


def test_a_slower_machine_shows_in_all_loads_together(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    slow, usual = (Version(requests=100, load_noise=0.1, slowness=slowness) for slowness in (1.25, 1.0))
    sides = [
        Side(name, [read_run(make_run(tmp_path / f"{name}-{number}", version, rng)) for number in range(5)])
        for name, version in (("usual", usual), ("slow", slow))
    ]
    (found,) = compare(sides)
    assert (OVERALL, "p50") in {(each.load, each.measure.name) for each in found.with_judgement(Judgement.WORSE)}


def test_single_runs_are_compared_by_verdict_and_no_figure_is_judged(folders: Path, tmp_path: Path) -> None:
    bad = make_run(tmp_path / "bad", Version(failing=frozenset({5})), np.random.default_rng(1))
    answer = call("compare", folders / "old-0", bad)
    assert answer.exit_code == 1
    assert f"{SUITE} 5.Test 5  newly failed" in answer.stdout
    assert f"  {SUITE} 5.Test 5: no good response" in answer.stdout
    assert "1 run and 1 run do not tell how much figures vary by themselves" in answer.stdout
    assert answer.stdout.splitlines()[-1] == "1 test of bad newly failed, or more often."
    good = call("compare", folders / "old-0", folders / "new-0")
    assert good.exit_code == 0
    assert good.stdout.splitlines()[-1] == "Nothing is worse of: failed, figures. No figure was judged."


def test_what_counts_can_be_chosen(folders: Path) -> None:
    sides = [*repeats(folders, "old"), "--vs", *repeats(folders, "new")]
    assert call("compare", *sides).exit_code == 1
    assert call("compare", *sides, "--fail-on", "failed").exit_code == 0
    assert call("compare", *sides, "--figure", "p50").exit_code == 0
    assert call("compare", *sides, "--margin", "50%").exit_code == 0
    assert call("compare", *sides, "--figure", "p99", "--alpha", "0.05").exit_code == 1


@pytest.mark.parametrize(
    ("before", "after", "kind"),
    [
        (["PASSED"], ["FAILED"], Kind.FAILS),
        (["PASSED"] * 5, ["PASSED"] * 4 + ["FAILED"], Kind.FAILS),
        (["DEFECT"], ["FAILED"], Kind.FAILS),
        (["MISSING"], ["FAILED"], Kind.FAILS),
        (["FAILED"] + ["PASSED"] * 4, ["FAILED"] * 5, Kind.FAILS_MORE),
        (["FAILED"] + ["PASSED"] * 4, ["FAILED"] * 2 + ["PASSED"] * 3, None),
        (["FAILED"] * 5, ["FAILED"] + ["PASSED"] * 4, Kind.FAILS_LESS),
        (["FAILED"], ["PASSED"], Kind.FIXED),
        (["FAILED"], ["SKIPPED"], Kind.SKIPPED),
        (["FAILED"], ["DEFECT"], Kind.DEFECT),
        (["PASSED"], ["DEFECT"], Kind.DEFECT),
        (["DEFECT"], ["PASSED"], Kind.DEFECT_GONE),
        (["SKIPPED"], ["PASSED"], Kind.RUNS),
        (["PASSED"], ["MISSING"], Kind.MISSING),
        (["PASSED"] * 2, ["PASSED", "MISSING"], Kind.MISSING),
        (["MISSING"], ["PASSED"], Kind.NEW),
        (["PASSED"], ["PASSED"] * 3, None),
        (["SKIPPED"], ["SKIPPED"], None),
    ],
)
def test_each_change_of_a_verdict_has_its_name(before: list[str], after: list[str], kind: Kind | None) -> None:
    def side(label: str, names: list[str]) -> Side:
        always = {"always": Verdict.PASSED}
        verdicts = [{} if name == "MISSING" else {"it": Verdict[name]} for name in names]
        return Side(label, [run_of({**always, **each}) for each in verdicts])

    (found,) = compare([side("a", before), side("b", after)])
    assert [change.kind for change in found.tests] == ([kind] if kind else [])


def figure(name: str, before: list[float], after: list[float]) -> Comparison:
    def side(label: str, values: list[float]) -> Side:
        return Side(label, [run_of({}, {"x": {name: value}}) for value in values])

    return compare([side("a", before), side("b", after)])[0]


@pytest.mark.parametrize(
    ("name", "before", "after", "judgement"),
    [
        ("recovery", [1.0, 1.1, 0.9, 1.0, 1.0], [float("inf")] * 5, Judgement.WORSE),
        ("recovery", [float("inf")] * 5, [1.0] * 5, Judgement.BETTER),
        ("recovery", [1.0] * 5, [1.0] * 4 + [float("inf")], Judgement.ALIKE),
        ("recovery", [1.0], [float("inf")], Judgement.UNKNOWN),
        ("failed", [0.0] * 5, [40.0, 35.0, 50.0, 42.0, 38.0], Judgement.WORSE),
        ("failed", [0.0] * 5, [0.0, 1.0, 0.0, 0.0, 1.0], Judgement.ALIKE),
        ("throughput", [100.0, 101.0, 99.0, 100.0], [80.0, 81.0, 79.0, 80.0], Judgement.WORSE),
        ("throughput", [80.0, 81.0, 79.0, 80.0], [100.0, 101.0, 99.0, 100.0], Judgement.BETTER),
        ("p99", [0.5, 0.501, 0.499, 0.5], [0.53, 0.531, 0.529, 0.53], Judgement.ALIKE),
        ("outage", [0.0] * 4, [0.0005] * 4, Judgement.ALIKE),
        ("startup", [1.0] * 5, [9.0] * 5, Judgement.UNKNOWN),
    ],
)
def test_figures_are_judged_by_direction_size_and_repeats(
    name: str, before: list[float], after: list[float], judgement: Judgement
) -> None:
    (change,) = figure(name, before, after).figures
    assert change.judgement is judgement


def test_a_folder_of_runs_is_a_side(folders: Path, tmp_path: Path) -> None:
    assert find_runs(folders) == sorted(folders.iterdir())
    shutil.copytree(folders, tmp_path / "copy")
    answer = call("compare", tmp_path / "copy", folders / "old-0", "--json")
    sides = json.loads(answer.stdout)["sides"]
    assert [len(side["runs"]) for side in sides] == [17, 1]


def test_an_output_xml_means_its_folder_and_another_file_verdicts_only(folders: Path, tmp_path: Path) -> None:
    whole = read_run(folders / "old-0" / "output.xml")
    assert (len(whole.tests or {}), len(whole.loads), whole.version) == (20, 8, "1.4.2")
    shutil.copy(folders / "old-0" / "output.xml", tmp_path / "yesterday.xml")
    alone = read_run(tmp_path / "yesterday.xml")
    assert (len(alone.tests or {}), len(alone.loads)) == (20, 0)


def test_loads_of_an_earlier_run_in_the_same_folder_are_left_out(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "old-0", tmp_path / "a")
    (tmp_path / "a" / RUN_ID).rename(tmp_path / "a" / "20250101-000000-999999")
    shutil.copytree(folders / "old-0" / RUN_ID, tmp_path / "a" / RUN_ID)
    run = read_run(tmp_path / "a")
    assert (len(run.loads), run.started.year) == (8, 2026)
    assert not [name for name in run.loads if name.endswith("(2)")]


def test_repeats_of_one_load_are_runs_and_have_no_tests(folders: Path, tmp_path: Path) -> None:
    source = folders / "old-0" / RUN_ID / "load.suite_0" / "load" / "default"
    for side in ("a", "b"):
        for number in range(4):
            shutil.copytree(source, tmp_path / side / f"load-{number}")
            state = tmp_path / side / f"load-{number}" / "load.json"
            state.write_text(state.read_text().replace(f'"test": "{SUITE} 0.Test 0"', '"test": ""'))
    assert len(find_runs(tmp_path / "a")) == 4
    answer = call("compare", tmp_path / "a", tmp_path / "b")
    assert answer.exit_code == 0, answer.output
    assert "1 load in common" in answer.stdout
    assert "0 worse and 0 better beyond noise" in answer.stdout


def test_loads_beside_runs_of_suites_are_runs_too(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "old-0", tmp_path / "suites")
    for name in ("load-1", "load-2"):
        shutil.copytree(folders / "old-0" / RUN_ID / "load.suite_0" / "load" / "default", tmp_path / name)
    shutil.copytree(folders / "old-0" / RUN_ID, tmp_path / "killed" / RUN_ID)
    assert find_runs(tmp_path) == [
        tmp_path / "killed" / RUN_ID,
        tmp_path / "load-1",
        tmp_path / "load-2",
        tmp_path / "suites",
    ]


def test_results_that_cannot_be_read_are_named(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "old-0", tmp_path / "odd")
    timeline = tmp_path / "odd" / RUN_ID / "load.suite_3" / "timeline.jsonl"
    timeline.unlink()
    timeline.mkdir()
    answer = call("compare", folders / "old-1", tmp_path / "odd")
    assert (answer.exit_code, answer.stderr) == (2, f"Error: cannot read '{timeline}': Is a directory\n")


def test_a_load_that_was_cut_off_is_marked(folders: Path, tmp_path: Path) -> None:
    shutil.copytree(folders / "old-0", tmp_path / "cut")
    state = tmp_path / "cut" / RUN_ID / "load.suite_0" / "load" / "default" / "load.json"
    state.write_text(state.read_text().replace('"completed"', '"running"'))
    answer = call("compare", folders / "old-1", tmp_path / "cut")
    assert answer.exit_code == 0
    assert f"PARTIAL: load '{SUITE} 0.Test 0: default'" in answer.stderr


def test_the_reason_of_a_known_defect_is_why_its_test_failed(tmp_path: Path) -> None:
    known = "Known\n    [Tags]    robot:skip-on-failure\n    Fail    it hangs\n"
    text = f"*** Test Cases ***\n{known}Not Here\n    Skip    no GPU\n"
    output = tmp_path / "output.xml"
    Suite.from_string(text).run(output=str(output), stdout=None, stderr=None, log=None)
    assert [(each.verdict, each.message) for each in (read_run(output).tests or {}).values()] == [
        (Verdict.DEFECT, "it hangs"),
        (Verdict.SKIPPED, "no GPU"),
    ]


def _twice(old: Path, _: Path) -> list[str | Path]:
    return [old, old]


def _twice_in_other_words(old: Path, _: Path) -> list[str | Path]:
    return [old, old / "output.xml"]


def _none(old: Path, place: Path) -> list[str | Path]:
    (place / "empty").mkdir()
    return [old, place / "empty"]


def _missing(old: Path, place: Path) -> list[str | Path]:
    return [old, place / "nowhere"]


def _torn(old: Path, place: Path) -> list[str | Path]:
    shutil.copytree(old, place / "torn")
    path = place / "torn" / "output.xml"
    path.write_bytes(path.read_bytes()[:2000])
    return [old, place / "torn"]


def _junit(old: Path, place: Path) -> list[str | Path]:
    (place / "junit.xml").write_text('<testsuites><testsuite name="x"/></testsuites>')
    return [old, place / "junit.xml"]


def _nothing_in_common(old: Path, place: Path) -> list[str | Path]:
    (place / "other").mkdir()
    text = (old / "output.xml").read_text().replace('name="Suites"', 'name="Others"')
    (place / "other" / "output.xml").write_text(text)
    return [old, place / "other"]


def _damaged(old: Path, place: Path) -> list[str | Path]:
    shutil.copytree(old, place / "damaged")
    (place / "damaged" / RUN_ID / "load.suite_3" / "load" / "default" / "requests.jsonl").write_text("{}\n")
    return [old, place / "damaged"]


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (_twice, "is given twice: a run beside itself shows nothing"),
        (_twice_in_other_words, "is the same run as"),
        (_none, "no run in '{place}/empty': expected output.xml of Robot Framework, or loads"),
        (_missing, "'{place}/nowhere' does not exist"),
        (_torn, "'{place}/torn/output.xml' is no output.xml of Robot Framework, or it is cut off"),
        (_junit, "'{place}/junit.xml' is no output.xml of Robot Framework"),
        (_nothing_in_common, "have no test and no load in common: the one has 'Suites.Load.Suite 0.Test 0'"),
        (_damaged, "requests.jsonl' line 1 is no record"),
    ],
)
def test_what_cannot_be_compared_is_said_in_one_sentence(
    folders: Path, tmp_path: Path, make: Any, sentence: str
) -> None:
    answer = call("compare", *make(folders / "old-0", tmp_path))
    assert answer.exit_code == 2
    assert answer.stdout == ""
    assert answer.stderr.startswith("Error: ")
    assert len(answer.stderr.splitlines()) == 1
    assert sentence.format(place=tmp_path) in answer.stderr


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["a"], "name two results folders or more"),
        ([], "name two results folders or more"),
        (["a", "--vs"], "there is no path behind a --vs"),
        (["--vs", "a"], "there is no path before a --vs"),
        (["a", "b", "--figure", "p98"], "--figure 'p98' is not known; known are p50, p99"),
        (["a", "b", "--margin", "much"], "expected a share such as 5% or 0.05, not 'much'"),
        (["a", "b", "--alpha", "nan"], "expected a share such as 5% or 0.05, not 'nan'"),
        (["a", "b", "--fail-on", "all"], "'all' is not one of"),
    ],
)
def test_wrong_options_are_named(arguments: list[str], sentence: str) -> None:
    answer = call("compare", *arguments)
    assert answer.exit_code == 2
    assert sentence in answer.stderr


class _Page(HTMLParser):
    """Collects tags, and what a page would fetch."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.fetched: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.fetched += [value or "" for name, value in attrs if name in ("src", "href")]


def test_the_pages_fetch_nothing_and_show_pictures(folders: Path, tmp_path: Path) -> None:
    page, trends = tmp_path / "page.html", tmp_path / "trends.html"
    call("compare", *repeats(folders, "old"), "--vs", *repeats(folders, "new"), "--html", page)
    seen = _Page(page.read_text())
    assert seen.fetched == []
    assert "svg" in seen.tags
    assert seen.tags.count("details") == 9
    assert "figures of 1.6.1 are worse beyond noise" in page.read_text()
    assert call("history", folders, "--html", trends).exit_code == 0
    seen = _Page(trends.read_text())
    assert seen.fetched == []
    assert seen.tags.count("svg") > 8
    assert "Every test had the same verdict in all runs." in trends.read_text()


def test_history_goes_by_date_and_leaves_out_what_cannot_be_read(folders: Path, tmp_path: Path) -> None:
    for name in ("new-0", "old-1", "old-0"):
        shutil.copytree(folders / name, tmp_path / name)
    (tmp_path / "new-0" / "output.xml").write_text("<robot")
    answer = call("history", tmp_path, "--json")
    assert answer.exit_code == 0
    runs = json.loads(answer.stdout)["runs"]
    assert [run["started"] for run in runs] == ["2026-01-01T12:00:00", "2026-01-02T12:00:00"]
    assert runs[0]["tests"] == {"passed": 20, "defect": 0, "skipped": 0, "failed": 0}
    assert runs[0]["loads"][f"{SUITE} 1.Test 1: default"]["lost"] == 1
    assert answer.stderr.startswith(f"left out: '{tmp_path}/new-0/output.xml' is no output.xml")
    table = call("history", tmp_path).stdout.splitlines()
    assert [line.split()[:3] for line in table[2:]] == [
        ["2026-01-01", "12:00", f"{tmp_path.name}/old-0"],
        ["2026-01-02", "12:00", f"{tmp_path.name}/old-1"],
    ]


def test_history_without_a_run_says_so(tmp_path: Path) -> None:
    answer = call("history", tmp_path)
    assert (answer.exit_code, answer.stdout) == (2, "")
    assert f"no run in '{tmp_path}'" in answer.stderr


def test_a_page_that_cannot_be_written_is_named(folders: Path, tmp_path: Path) -> None:
    answer = call("compare", folders / "old-0", folders / "old-1", "--html", tmp_path / "no" / "page.html")
    assert answer.exit_code == 2
    assert "cannot write" in answer.stderr


def test_the_dashboard_is_an_extra(folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DynamoFaultLibrary.dashboard.find_spec", lambda name: None)
    answer = call("history", folders, "--dashboard", tmp_path / "page.html")
    assert answer.exit_code == 2
    assert "install 'robotframework-dynamofaultlibrary[dashboard]'" in answer.stderr


@pytest.mark.parametrize(
    ("name", "sentence"),
    [("12:00", "takes what follows ':' for tags, so rename"), ("load", "needs an output.xml of Robot Framework")],
)
def test_runs_that_the_dashboard_cannot_read_are_named(
    folders: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str, sentence: str
) -> None:
    monkeypatch.setattr("DynamoFaultLibrary.dashboard.find_spec", lambda name: object())
    shutil.copytree(folders / "old-0", tmp_path / "runs" / name)
    if name == "load":
        (tmp_path / "runs" / name / "output.xml").unlink()
    answer = call("history", tmp_path / "runs", "--dashboard", tmp_path / "page.html")
    assert answer.exit_code == 2
    assert sentence in answer.stderr
