"""``dynamo-fault load`` and ``dynamo-fault report``. What they need is imported when they run: it takes a moment."""

import json
import re
import sys
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.errors import FaultLibraryError, LoadError
from DynamoFaultLibrary.load.address import Address
from DynamoFaultLibrary.load.plan import OPTIONS, LoadPlan, Option, is_choice
from DynamoFaultLibrary.load_limits import SECONDS, Limits, limit_options
from DynamoFaultLibrary.platforms.http import get_text

if TYPE_CHECKING:
    from DynamoFaultLibrary.reports.results import LoadReport

_FOREVER = timedelta(days=365)
_INTERRUPTED = 130
"""Exit status after Ctrl-C, as in shells."""


class _Of(click.Choice[Any]):
    """One of an enumeration's values."""

    def __init__(self, members: type[Enum]) -> None:
        super().__init__([member.value for member in members])
        self.members = members

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return self.members(super().convert(value, param, ctx))


class _Seconds(click.ParamType[Any]):
    """A time in seconds."""

    name = "seconds"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            return value if isinstance(value, timedelta) else timedelta(seconds=click.FLOAT.convert(value, param, ctx))
        except (OverflowError, ValueError):
            name = param.name if param is not None else "it"
            raise click.UsageError(f"{_as_typed(name)} must be a time in seconds, not {value}") from None


class _JsonObject(click.ParamType[Any]):
    """A JSON object."""

    name = "json"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        try:
            data = value if isinstance(value, dict) else json.loads(value)
        except ValueError as error:
            raise click.UsageError(f"--extra-body is not valid JSON: {error}") from error
        if not isinstance(data, dict):
            raise click.UsageError(f"--extra-body must be a JSON object, not {value}")
        return data


def _load_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """All options of a load, by their one description."""
    for each in reversed(OPTIONS):
        command = _click_option(each)(command)
    return command


def _click_option(each: Option) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    name = each.name.replace("_", "-")
    if each.kind is bool:
        return click.option(f"--{name}/--{each.flag}", each.name, default=each.default, help=f"{each.text}.")
    kinds: dict[Any, click.ParamType[Any]] = {timedelta: _Seconds(), int: click.INT, float: click.FLOAT}
    kind = _Of(each.kind) if is_choice(each) else kinds.get(each.kind, _JsonObject())
    shown: Any = each.default
    if isinstance(shown, timedelta):
        shown = f"{shown.total_seconds():g}"
    elif isinstance(shown, Enum):
        shown = shown.value
    flags = [f"--{flag}" for flag in (each.flag, name) if flag]
    return click.option(*flags, each.name, type=kind, default=None if shown == {} else shown, help=f"{each.text}.")


@click.command("load", context_settings={"show_default": True})
@click.argument("url")
@click.option("--model", help="Default: the one that is served.")
@click.option("--name", default="load", help="Name of the load.")
@_load_options
@click.option("--engine", type=click.Choice(["native", "aiperf"]), default="native")
@click.option("--tokenizer", help="For aiperf; default: the model.")
@click.option("-d", "--outputdir", type=click.Path(path_type=Path), help="Default: results/load-<time>.")
@click.option("--json", "as_json", is_flag=True, help="Print the figures as JSON.")
@limit_options
def load_command(
    url: str,
    model: str | None,
    name: str,
    engine: str,
    tokenizer: str | None,
    outputdir: Path | None,
    as_json: bool,
    **options: Any,
) -> None:
    """Send a load to an inference server at URL, such as http://127.0.0.1:8000, and tell how it went.

    Ctrl-C ends it; what was measured until then is kept and marked as partial.

    Exits with 0 if the load kept its limits (without --max-errors and --min-success-rate: if no request failed), with 1
    if it did not or could not be sent, with 2 if an option is wrong, with 130 after Ctrl-C.
    """
    limits = Limits.take(options)
    plan = _plan(url, name, engine, tokenizer, options)
    was_interrupted = False
    try:
        directory = outputdir or Path("results") / f"load-{utc_now():%Y%m%d-%H%M%S}"
        if (directory / "load.json").exists():
            raise LoadError(f"'{directory}' holds the results of a load already; choose another --outputdir")
        served = _served_model(url, model)
        was_interrupted = not _drive(replace(plan, model=served), directory, engine, tokenizer or served)
        kept = _tell_load(directory, as_json, limits)
    except FaultLibraryError as error:
        if was_interrupted:
            click.echo(f"Error: {error}", err=True)
            sys.exit(_INTERRUPTED)
        raise click.ClickException(str(error)) from error
    sys.exit(_INTERRUPTED if was_interrupted else 0 if kept else 1)


def _plan(url: str, name: str, engine: str, tokenizer: str | None, options: dict[str, Any]) -> LoadPlan:
    """What is asked for, before anybody is asked; the model is not known yet.

    Raises:
        click.UsageError: the options are wrong; the message names them as they are typed.
    """
    from DynamoFaultLibrary.load.folder import check_name

    try:
        check_name("--name", name)
    except FaultLibraryError as error:
        raise click.UsageError(str(error)) from error
    if tokenizer is not None and engine != "aiperf":
        raise click.UsageError(
            "--tokenizer is for --engine aiperf; the native engine counts tokens by the server's word"
        )
    try:
        Address.parse(url)
    except LoadError as error:
        raise click.UsageError(f"a load {error}") from error
    try:
        plan = LoadPlan.of(name, url.rstrip("/"), "", options)
        if engine == "aiperf":
            from DynamoFaultLibrary.load.aiperf import arguments_of

            arguments_of(plan, "", Path())
    except LoadError as error:
        raise click.UsageError(_as_typed(str(error))) from error
    return plan


def _as_typed(sentence: str) -> str:
    """A sentence with the keyword's arguments as the command's options."""
    for each in OPTIONS:
        typed = "--" + (each.name if each.kind is bool else each.flag or each.name).replace("_", "-")
        sentence = re.sub(rf"(?<!['\w-]){each.name}\b(?!')", typed, sentence)
    return sentence


def _served_model(url: str, wanted: str | None) -> str:
    """The model to ask for: `wanted` if it is served, else the only one that is.

    Raises:
        LoadError: nobody answers there, or the model is not served.
    """
    address = Address.parse(url)
    headers = {"Authorization": address.authorization} if address.authorization else {}
    try:
        served = [str(model["id"]) for model in json.loads(get_text(f"{address.url}/v1/models", 5.0, headers))["data"]]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise LoadError(f"no list of models from {address.url}/v1/models: {error}") from error
    if wanted in served:
        return str(wanted)
    if wanted is not None or len(served) != 1:
        asked = f"model '{wanted}' is not" if wanted else "name one with --model: not exactly one is"
        raise LoadError(f"{asked} served at {address.url}; served are {served or 'none'}")
    return served[0]


def _drive(plan: LoadPlan, directory: Path, engine: str, tokenizer: str) -> bool:
    """Send the load; False when Ctrl-C has ended it."""
    from DynamoFaultLibrary.load.client import Engine, Load
    from DynamoFaultLibrary.load.progress import Progress

    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LoadError(f"cannot write results to '{directory}': {error.strerror}") from error
    load = Load(plan, directory, Engine(engine))
    click.echo(f"{plan.describe()}, results in {directory.absolute()}", err=True)
    progress = Progress(plan)

    def tell(event: dict[str, Any]) -> None:
        line = progress.line(event)
        if line:
            click.echo(line, err=True)

    try:
        load.start(tokenizer, _FOREVER)
        load.wait(_FOREVER, tell)
    except KeyboardInterrupt:
        click.echo("stopped: what is in flight is given up", err=True)
        return False
    finally:
        load.give_up()
    return True


def _tell_load(directory: Path, as_json: bool, limits: Limits) -> bool:
    """Tell how it went, and whether it kept its limits."""
    from DynamoFaultLibrary.reports.results import read_results

    report = read_results(directory)[0]
    if not len(report.folder.table):
        raise LoadError(f"no request has ended; see {directory}")
    _tell([report], [report], as_json, None, None)
    broken = list(limits.broken(report.whole.figures))
    for sentence in broken:
        click.echo(f"Error: {sentence}", err=True)
    return not broken


@click.command("report")
@click.argument("directories", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
@click.option("--html", "html", type=click.Path(path_type=Path), help="Write a page with tables and pictures there.")
@click.option(
    "--sla",
    "sla_s",
    metavar="SECONDS",
    callback=SECONDS,
    help="Seconds that a request may take: count those that took longer.",
)
def report_command(directories: tuple[Path, ...], as_json: bool, html: Path | None, sla_s: float | None) -> None:
    """Tell how the loads in results folders went, side by side. Reads aiperf's results as well."""
    from DynamoFaultLibrary.reports.results import read_results

    try:
        found = [report for directory in directories for report in read_results(directory)]
        rows = [report for report in found if len(report.folder.table)]
        if not rows:
            raise LoadError(f"no load in {', '.join(map(str, directories))} has a finished request")
        _tell(found, rows, as_json, html, sla_s)
    except LoadError as error:
        raise click.ClickException(str(error)) from error


def _tell(
    found: list["LoadReport"], rows: list["LoadReport"], as_json: bool, html: Path | None, sla_s: float | None
) -> None:
    from DynamoFaultLibrary.reports.page import page
    from DynamoFaultLibrary.reports.results import metrics_table
    from DynamoFaultLibrary.reports.tables import scenario_table

    if html is not None:
        try:
            html.write_text(page(rows, sla_s), encoding="utf-8")
        except OSError as error:
            raise LoadError(f"cannot write '{html}': {error.strerror}") from error
        click.echo(f"written: {html.absolute()}", err=True)
    if as_json:
        click.echo(json.dumps([report.to_json(sla_s) for report in rows], indent=1))
    else:
        names = [str(number) for number in range(1, len(rows) + 1)]
        for name, report in zip(names, rows, strict=True):
            click.echo(f"{name}: {report.title}")
        click.echo("\n" + scenario_table([report.scenario(sla_s) for report in rows]).to_text())
        click.echo("\n" + metrics_table(rows, names, sla_s).to_text())
    for report in found:
        if not report.folder.is_complete:
            click.echo(f"PARTIAL ({report.folder.state.value}): {report.title}", err=True)
