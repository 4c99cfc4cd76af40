"""``dynamo-fault graph``: a graph seen and edited without deploying it. What it needs is imported when it runs."""

import json
from dataclasses import replace
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from DynamoFaultLibrary.errors import FaultLibraryError

if TYPE_CHECKING:
    from DynamoFaultLibrary.graph import Graph
    from DynamoFaultLibrary.graph.change import Change
    from DynamoFaultLibrary.graph.edits import Edits
    from DynamoFaultLibrary.platforms.base import Plan

_TEXTS = ("model", "image", "router_mode")
_NUMBERS = {"replicas": 1, "migration_limit": 0, "migration_max_seq_len": 0}
"""The least value of each."""
_MAPS = {"replicas": "Service", "env": "NAME", "args": "--option", "frontend_args": "--option"}
"""What follows their dot."""
_OPTIONS = ("args", "frontend_args")


class _Setting(click.ParamType[tuple[str, str, str]]):
    """``NAME=VALUE`` or ``NAME.KEY=VALUE``: name, key and value."""

    name = "name=value"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[str, str, str]:
        if not isinstance(value, str):
            return tuple(value)
        place, equals, given = value.partition("=")
        name, dot, key = place.partition(".")
        self._check(value, name, bool(dot), key)
        if not equals:
            hint = " (with nothing behind '=' it is a flag)" if name in _OPTIONS else ""
            raise click.UsageError(f"--set {value} needs a value: {place}=…{hint}")
        if not given and name not in (*_OPTIONS, "env"):
            raise click.UsageError(f"--set {value} must not be empty")
        return name, key, given

    def _check(self, value: str, name: str, dotted: bool, key: str) -> None:
        names = list(dict.fromkeys([*_TEXTS, *_NUMBERS, *_MAPS]))
        if name not in names:
            near = get_close_matches(name, names)
            hint = f"did you mean {near[0]}?" if near else f"it knows {', '.join(names)}"
            raise click.UsageError(f"--set has no '{name}'; {hint}")
        if dotted and name not in _MAPS:
            raise click.UsageError(f"--set {value}: {name} has no parts; write {name}=…")
        if name in _MAPS and (name not in _NUMBERS or dotted) and not key:
            raise click.UsageError(f"--set {value} must say which: {name}.{_MAPS[name]}=…")
        if name in _OPTIONS and not key.startswith("-"):
            raise click.UsageError(f"--set {value}: an option begins with '-', as in {name}.--{key}=…")


@click.command("graph")
@click.argument("file")
@click.option("--graph", "name", help="The graph to look at, where FILE has several. FILE#NAME says the same.")
@click.option("--set", "settings", type=_Setting(), multiple=True, help="An edit, see above; may be repeated.")
@click.option("--yaml", "as_yaml", is_flag=True, help="Print the edited YAML, all documents of FILE, and nothing else.")
@click.option("-o", "--output", type=click.Path(path_type=Path, dir_okay=False), help="Write the edited YAML there.")
@click.option("--json", "as_json", is_flag=True, help="Print all that the tables show as JSON.")
def graph_command(
    file: str,
    name: str | None,
    settings: tuple[tuple[str, str, str], ...],
    as_yaml: bool,
    output: Path | None,
    as_json: bool,
) -> None:
    """Show a DynamoGraphDeployment, edit it, and say what would run on this machine. Nothing is started.

    FILE is a YAML file, a folder for kubectl kustomize, or a shipped graph. --set takes what Deploy Graph takes:

    \b
      --set replicas=3                     of all workers
      --set replicas.Decode=2              of one service
      --set model=tiny-model
      --set image=registry/dynamo:1
      --set router_mode=kv                 of the frontend; also migration_limit
                                           and migration_max_seq_len
      --set args.--max-num-seqs=7          an option of the workers
      --set args.--enforce-eager=          a flag of the workers
      --set frontend_args.--namespace=x    an option of the frontend
      --set env.DYN_LOG=debug              a variable of all services

    Exits with 0 if FILE and edits are good, whether or not the graph can run here; with 1 if one of them is refused;
    with 2 if an option is wrong.

    Edited on its way to a cluster: dynamo-fault graph graph.yaml --set replicas=3 --yaml | kubectl apply -f -
    """  # noqa: D301  # click keeps the lines of a paragraph that begins with a backspace
    if as_yaml and (as_json or output):
        raise click.UsageError("--yaml prints nothing but the YAML; leave out " + ("--json" if as_json else "--output"))
    edits = _edits(settings)
    from DynamoFaultLibrary.graph.edits import apply_edits
    from DynamoFaultLibrary.graph.opening import open_graph

    try:
        manifest, graph = open_graph(file, name)
        changes = apply_edits(graph, edits)
        text = manifest.to_yaml() if as_yaml or output else ""
        if output:
            _write(output, text)
    except FaultLibraryError as error:
        raise click.ClickException(str(error)) from error
    if as_yaml:
        for change in changes:
            if change.why_not:
                click.echo(f"not reached: {change.service}: {change.what}: {change.place}: {change.why_not}", err=True)
        click.echo(text, nl=False)
        return
    plan, refusal = _plan(graph, edits)
    if as_json:
        click.echo(json.dumps(_to_json(graph, changes, plan, refusal), indent=1))
    else:
        _tell(graph, changes, plan, refusal)


def _edits(settings: tuple[tuple[str, str, str], ...]) -> "Edits":
    """The edits that are asked for.

    Raises:
        click.UsageError: one is no number, or two speak of the same.
    """
    from DynamoFaultLibrary.graph.edits import Edits

    found: dict[str, Any] = {}
    for name, key, text in settings:
        value = _number(name, text) if name in _NUMBERS else text
        if not key:
            if isinstance(found.get(name), dict):
                other = next(iter(found[name]))
                raise click.UsageError(f"--set {name}={text} and --set {name}.{other}=… speak of the same")
            _put(found, name, value, name)
            continue
        if not isinstance(found.setdefault(name, {}), dict):
            raise click.UsageError(f"--set {name}={found[name]} and --set {name}.{key}={text} speak of the same")
        _put(found[name], key, value, f"{name}.{key}")
    return Edits(**found)


def _put(place: dict[str, Any], key: str, value: Any, what: str) -> None:
    if place.setdefault(key, value) != value:
        raise click.UsageError(f"--set {what} is given twice, and not with the same value")
    place[key] = value


def _number(name: str, text: str) -> int:
    least = _NUMBERS[name]
    if not text.isdecimal() or int(text) < least:
        raise click.UsageError(f"--set {name} must be a whole number of {least} or more, not {text}")
    return int(text)


def _write(path: Path, text: str) -> None:
    try:
        path.write_text(text, encoding="utf-8", newline="")
    except OSError as error:
        raise FaultLibraryError(f"cannot write '{path}': {error.strerror}") from error


def _plan(graph: "Graph", edits: "Edits") -> "tuple[Plan, str]":
    """What would run on this machine, or why nothing would: platform `local`, whatever others are installed."""
    from DynamoFaultLibrary.ledger import Ledger, Owner
    from DynamoFaultLibrary.platforms.base import Plan
    from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
    from DynamoFaultLibrary.platforms.settings import DeploySettings

    platform = LocalPlatform(Ledger("graph", Owner.current()))
    settings = DeploySettings(edits=replace(edits, image=None))  # an image is for where the graph is written to
    try:
        return platform.plan(graph, settings), ""
    except FaultLibraryError as error:
        return Plan(), str(error)


def _tell(graph: "Graph", changes: "list[Change]", plan: "Plan", refusal: str) -> None:
    from DynamoFaultLibrary.reports import graph_tables

    source = Path(graph.source)
    shown = source.relative_to(Path.cwd()) if source.is_relative_to(Path.cwd()) else source
    click.echo(f"Graph {graph.name} ({shown})\n\n{graph_tables.services_table(graph).to_text()}")
    tables = graph_tables.edit_tables(changes) | graph_tables.process_tables(plan) | graph_tables.plan_tables(plan)
    for title, grid in tables.items():
        click.echo(f"\n{title}\n\n{grid.to_text()}")
    if refusal:
        click.echo(f"\nWould not run here: {refusal}")


def _to_json(graph: "Graph", changes: "list[Change]", plan: "Plan", refusal: str) -> dict[str, Any]:
    return {
        "graph": graph.name,
        "source": graph.source,
        "services": [
            {
                "name": service.name,
                "role": service.role,
                "replicas": service.replicas,
                "gpus": service.gpus,
                "model": service.model or None,
                "command": service.command,
            }
            for service in graph.services.values()
        ],
        "edits": [vars(change) for change in changes],
        "processes": [vars(process) for process in plan.processes],
        "set_otherwise_here": [vars(remark) for remark in plan.overridden],
        "not_on_this_machine": [vars(remark) for remark in plan.missing],
        "refused_here": refusal or None,
    }
