"""``dynamo-fault compare`` and ``dynamo-fault history``. What they need is imported when they run: it takes a while."""

import glob
import itertools
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from DynamoFaultLibrary.errors import FaultLibraryError

if TYPE_CHECKING:
    from DynamoFaultLibrary.reports.compare import Comparison, Side
    from DynamoFaultLibrary.reports.run import Run

_FIGURES = "figures"
_KINDS = {
    "failed": (("FAILS", "FAILS_MORE"), "newly failed, or more often"),
    "defect": (("DEFECT",), "newly with a known defect"),
    "skipped": (("SKIPPED",), "newly skipped"),
    "missing": (("MISSING",), "missing"),
}
"""What may count, the changes of verdicts that it means, and the words for them."""
_VS, _MARK = "--vs", "\0"
"""As typed, and as a positional argument, so that click keeps its place among the paths."""


class _Unusable(click.ClickException):
    """Nothing can be compared: exit status 2, since 1 means that something is worse."""

    exit_code = 2


class _Share(click.ParamType[Any]):
    """A share, such as ``0.05`` or ``5%``."""

    name = "share"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        text = str(value).strip()
        try:
            number = float(text.removesuffix("%")) / (100 if text.endswith("%") else 1)
        except ValueError:
            number = -1.0
        if not 0 <= number < 1:
            self.fail(f"expected a share such as 5% or 0.05, not '{value}'", param, ctx)
        return number


class _Sides(click.Command):
    """Keeps the places of ``--vs`` among the paths."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        return super().parse_args(ctx, [_MARK if argument == _VS else argument for argument in args])


_HTML = click.option("--html", type=click.Path(path_type=Path), help="Write a page with tables and pictures there.")
_JSON = click.option("--json", "as_json", is_flag=True, help="As JSON.")


@click.command("compare", cls=_Sides, context_settings={"show_default": True})
@click.argument("paths", nargs=-1, metavar=f"PATH... [{_VS} PATH...]...")
@click.option(
    "--fail-on",
    "counts",
    multiple=True,
    type=click.Choice([*_KINDS, _FIGURES]),
    default=("failed", _FIGURES),
    help="What makes the exit status 1; may be given several times.",
)
@click.option(
    "--figure",
    "figures",
    multiple=True,
    metavar="NAME",
    help="Judge this figure, such as p99, in place of the usual ones; several.",
)
@click.option("--margin", type=_Share(), default="10%", help="A figure must differ by this to be worse or better.")
@click.option("--alpha", type=_Share(), default="1%", help="Chance of a false alarm, of all figures together.")
@click.option("--all", "everything", is_flag=True, help="Show the figures within noise, too.")
@_JSON
@_HTML
def compare_command(
    paths: tuple[str, ...],
    counts: tuple[str, ...],
    figures: tuple[str, ...],
    margin: float,
    alpha: float,
    everything: bool,
    as_json: bool,
    html: Path | None,
) -> None:
    """Compare runs: tests with another verdict, and figures that are worse or better beyond noise.

    A PATH is a results folder, a folder of several, or an output.xml. Each is a side of its own; with --vs, all paths
    up to it are repeats of one side, and those behind it of the next one. The others are compared to the first side.

    Exits with 0 if nothing is worse, with 1 if something is, with 2 if nothing can be compared.
    """
    groups = _groups(paths)
    from DynamoFaultLibrary.reports.compare import compare
    from DynamoFaultLibrary.reports.compare_page import page
    from DynamoFaultLibrary.reports.compare_tables import to_json, to_text
    from DynamoFaultLibrary.reports.measures import BY_NAME, JUDGED

    unknown = [name for name in figures if name not in BY_NAME]
    if unknown:
        raise click.UsageError(f"--figure '{unknown[0]}' is not known; known are {', '.join(BY_NAME)}")
    try:
        sides = _sides(groups)
        found = compare(sides, figures or JUDGED, alpha, margin)
    except FaultLibraryError as error:
        raise _Unusable(str(error)) from error
    worse = _worse(found, counts)
    if html is not None:
        _write(html, page(sides, found, _conclusion(found, counts, worse), bool(worse)))
    if as_json:
        click.echo(json.dumps({**to_json(sides, found), "worse": worse}, indent=1))
    else:
        click.echo(to_text(sides, found, everything))
        click.echo(f"\n{_conclusion(found, counts, worse)}")
    for run in (run for side in sides for run in side.runs):
        _tell_partial(run)
    sys.exit(1 if worse else 0)


@click.command("history")
@click.argument("directory", type=click.Path(path_type=Path))
@_JSON
@_HTML
@click.option(
    "--dashboard",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Write the page of robotframework-dashboard there, and its database beside it; needs the extra 'dashboard'.",
)
def history_command(directory: Path, as_json: bool, html: Path | None, dashboard: Path | None) -> None:
    """Tell how verdicts and figures of all runs below DIRECTORY went on from run to run.

    Runs that cannot be read are left out, and named. Exits with 0, or with 2 if there is no run.
    """
    from DynamoFaultLibrary.reports.history import history_table, page, to_json
    from DynamoFaultLibrary.runs import find_runs

    try:
        runs = _readable(find_runs(directory))
        if not runs:
            raise FaultLibraryError(f"no run below '{directory}' can be read")
        if dashboard is not None:
            from DynamoFaultLibrary.dashboard import feed

            feed(runs, dashboard)
            click.echo(f"written: {dashboard.absolute()}", err=True)
    except FaultLibraryError as error:
        raise _Unusable(str(error)) from error
    if html is not None:
        _write(html, page(runs, str(directory.resolve())))
    click.echo(json.dumps(to_json(runs), indent=1) if as_json else history_table(runs).to_text())


def _groups(paths: Sequence[str]) -> list[list[Path]]:
    """The paths of each side."""
    sides: list[list[str]] = [[]]
    for path in paths:
        if path == _MARK:
            sides.append([])
        else:
            sides[-1].append(path)
    if len(sides) == 1:
        sides = [[path] for path in sides[0]]
    elif not all(sides):
        raise click.UsageError(f"there is no path {'before' if not sides[0] else 'behind'} a {_VS}")
    if len(sides) < 2:
        raise click.UsageError(f"name two results folders or more, or the repeats of two sides with {_VS} between them")
    return [[Path(found) for path in side for found in _expanded(path)] for side in sides]


def _expanded(path: str) -> list[str]:
    """A pattern that the shell has left alone, such as a quoted one."""
    return (not os.path.exists(path) and sorted(glob.glob(path))) or [path]


def _sides(groups: Sequence[Sequence[Path]]) -> list["Side"]:
    from DynamoFaultLibrary.reports.compare import Side
    from DynamoFaultLibrary.runs import check_unlike, find_runs, read_run

    places = [[run for path in paths for run in find_runs(path)] for paths in groups]
    check_unlike([run for side in places for run in side])
    runs = [[read_run(place) for place in side] for side in places]
    return [Side(label, side) for label, side in zip(_labels(groups, runs), runs, strict=True)]


def _labels(groups: Sequence[Sequence[Path]], runs: Sequence[Sequence["Run"]]) -> list[str]:
    """What tells the sides apart: their versions of Dynamo, else the names of their folders, else their paths."""
    versions = [" + ".join(sorted({run.version for run in side})) for side in runs]
    known = all(run.version for side in runs for run in side)
    names = [_common([path.name or str(path) for path in side]) for side in groups]
    paths = [_common([str(path) for path in side]) for side in groups]
    numbered = [f"{name} ({number})" for number, name in enumerate(paths, 1)]
    candidates = [*([versions] if known else []), names, paths, numbered]
    return next(labels for labels in candidates if all(labels) and len(set(labels)) == len(labels))


def _common(names: Sequence[str]) -> str:
    """The name of a side of several folders is what their names begin with."""
    if len(names) == 1:
        return names[0]
    alike = itertools.takewhile(lambda letters: len(set(letters)) == 1, zip(*names, strict=False))
    return "".join(letters[0] for letters in alike).rstrip("-_. ") or names[0]


def _worse(found: Sequence["Comparison"], counts: Sequence[str]) -> list[str]:
    """What is worse of that which counts, as sentences without a full stop."""
    from DynamoFaultLibrary.reports.compare import Judgement
    from DynamoFaultLibrary.words import counted

    told = []
    for each in found:
        for what in counts:
            if what == _FIGURES:
                noun, number = "figure", len(each.with_judgement(Judgement.WORSE))
                how = f"{'is' if number == 1 else 'are'} worse beyond noise"
            else:
                kinds, how = _KINDS[what]
                noun, number = "test", sum(change.kind.name in kinds for change in each.tests)
            if number:
                told.append(f"{counted(number, noun)} of {each.other.label} {how}")
    return told


def _conclusion(found: Sequence["Comparison"], counts: Sequence[str], worse: Sequence[str]) -> str:
    """What came of it, in one line."""
    if worse:
        return f"{'; '.join(worse)}."
    unknown = _FIGURES in counts and not any(each.is_judged for each in found)
    return f"Nothing is worse of: {', '.join(counts)}.{' No figure was judged.' if unknown else ''}"


def _readable(places: Sequence[Path]) -> list["Run"]:
    """Runs in the order of their start."""
    from DynamoFaultLibrary.runs import read_run

    found = []
    for place in places:
        try:
            found.append(read_run(place))
        except FaultLibraryError as error:
            click.echo(f"left out: {error}", err=True)
    for run in found:
        _tell_partial(run)
    return sorted(found, key=lambda run: run.started)


def _tell_partial(run: "Run") -> None:
    for load in run.partial:
        click.echo(f"PARTIAL: load '{load}' of {run.path} did not come to its end", err=True)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise _Unusable(f"cannot write '{path}': {error.strerror}") from error
    click.echo(f"written: {path.absolute()}", err=True)
