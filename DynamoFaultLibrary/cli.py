"""The command ``dynamo-fault``."""

import json
import os
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

import click

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.errors import LedgerError
from DynamoFaultLibrary.ledger import Entry, LedgerView, State, read_ledger, state_directory
from DynamoFaultLibrary.ledger.recovery import Recovery, ledgers, recover, where_to_undo
from DynamoFaultLibrary.net.namespace import enter_own_namespaces, may_administer_networks

_LAZY = {
    "compare": "compare_cli",
    "graph": "graph_cli",
    "history": "compare_cli",
    "load": "load_cli",
    "report": "load_cli",
}
"""Commands by the module that has them."""


class _Commands(click.Group):
    """Imports some commands when they are asked for: numpy starts threads, and `run` must have one only."""

    def list_commands(self, context: click.Context) -> list[str]:
        return sorted([*super().list_commands(context), *_LAZY])

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in _LAZY:
            return super().get_command(context, name)
        command: click.Command = getattr(import_module(f"DynamoFaultLibrary.{_LAZY[name]}"), f"{name}_command")
        return command


@click.group(cls=_Commands)
@click.version_option(package_name="robotframework-dynamofaultlibrary")
def main() -> None:
    """Fault tolerance tests for NVIDIA Dynamo."""


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--processes", type=click.IntRange(1), default=4, show_default=True, help="Suites that run at a time.")
@click.option("-d", "--outputdir", default="results", show_default=True, help="Where log.html and all results go.")
@click.option("--own-network", is_flag=True, help="In a user and network namespace: network=isolated without root.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(processes: int, outputdir: str, own_network: bool, arguments: tuple[str, ...]) -> None:
    """Run suites with pabot. ARGUMENTS are options of pabot and robot, then the paths of the suites.

    Ends with the exit status of pabot: 0 if all tests passed, else the number of failed ones. INT, TERM and HUP end the
    run cleanly; a suite whose robot was killed is a failed one in log and xUnit.
    """
    if own_network and may_administer_networks():
        click.echo("--own-network is not needed with the rights of root, so this run goes on without it", err=True)
    elif own_network:
        try:
            enter_own_namespaces()
        except OSError as error:
            raise click.ClickException(f"this machine does not allow user namespaces: {error.strerror}") from error
    from DynamoFaultLibrary.launcher import (  # Robot takes 0.2 s to import
        REPORTS,
        Launcher,
        LauncherError,
        output_directory,
    )
    from DynamoFaultLibrary.summary import summary

    directory = output_directory(arguments, outputdir)
    if not arguments:
        raise click.UsageError("name the suites to run, such as suites/")
    try:
        status = Launcher(directory, processes, arguments).launch()
    except LauncherError as error:
        raise click.ClickException(str(error)) from error
    for line in summary(directory / "output.xml"):
        click.echo(line)
    for name in REPORTS:
        path = (directory / name).absolute()
        if path.exists():
            click.echo(f"{name + ':':13}{path}")
    sys.exit(status)


@main.command()
@click.option("--all", "everything", is_flag=True, help="Also those that have come off.")
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def faults(everything: bool, as_json: bool) -> None:
    """List the faults that are in effect on this machine, of all runs."""
    rows = []
    paths = _ledgers()
    if everything:
        paths = [*sorted((state_directory() / "runs" / "done").glob("*.jsonl")), *paths]
    for path in paths:
        view = _read(path)
        for entry in view.entries.values():
            if entry.is_fault and (everything or entry.state.is_open):
                rows.append({"run": path.stem, **entry.to_json(), "owner_is_alive": view.is_alive(entry)})
    if as_json:
        click.echo(json.dumps(rows, indent=1))
        return
    if rows:
        click.echo(fault_table(rows, utc_now()))
    else:
        click.echo(f"no fault {'was ever' if everything else 'is'} active according to {state_directory()}")


@main.command("recover")
@click.option("--run", "run_id", help="The run to recover.")
@click.option("--all", "everything", is_flag=True, help="All runs.")
@click.option("--dry-run", is_flag=True, help="Say what would be undone, and do nothing.")
@click.option(
    "--force",
    is_flag=True,
    help="Also runs that are alive: their graphs end. Root: also runs of other "
    "users. What is on another machine, if that is gone, is closed; nothing is done there.",
)
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def recover_command(run_id: str | None, everything: bool, dry_run: bool, force: bool, as_json: bool) -> None:
    """Take off what runs have left: faults, processes, directories. Exits 0 only when nothing is left."""
    if bool(run_id) == everything:
        raise click.UsageError("name a run with --run, or use --all; not both")
    chosen = _chosen(run_id)
    found = [recover(path, dry_run=dry_run, force=force, foreign=force, sweeping=True) for path in chosen]
    if as_json:
        click.echo(json.dumps([_as_json(recovery) for recovery in found], indent=1))
    else:
        _tell(found, dry_run, force)
    left = any(not recovery.is_clean or (dry_run and (recovery.recovered or recovery.given_up)) for recovery in found)
    sys.exit(1 if left else 0)


@main.command()
@click.option("--json", "as_json", is_flag=True, help="As JSON.")
def doctor(as_json: bool) -> None:
    """Say what this machine can and cannot do, and which keywords will therefore skip or fail."""
    from DynamoFaultLibrary.doctor import examine

    findings = examine()
    if as_json:
        click.echo(json.dumps([vars(finding) for finding in findings], indent=1))
        return
    for finding in findings:
        mark = "yes" if finding.is_there else "no "
        consequence = "" if finding.is_there else f"  -> {finding.consequence}"
        click.echo(f"{mark}  {finding.what}: {finding.detail}{consequence}")


def _ledgers() -> list[Path]:
    """All ledgers. A state directory that cannot be read is an error: what it says of faults is not known."""
    runs = state_directory() / "runs"
    try:
        list(os.scandir(runs))
    except FileNotFoundError:
        return []  # nothing has run yet
    except OSError as error:
        raise click.ClickException(f"cannot read '{runs}', where the ledgers are: {error.strerror}") from error
    return ledgers()


def fault_table(rows: list[dict[str, Any]], now: datetime) -> str:
    """Faults as `Entry.to_json` has them, a line each, in columns under a header."""
    lines = [("FAULT", "TARGET", "STATE", "SINCE", "ENDS", "RUN", "OWNER")]
    for row in rows:
        target = row["target"].get("replica") or row["target"].get("service") or row["target"].get("deployment", "-")
        since = datetime.fromisoformat(row["created_at"]).astimezone(UTC)
        owner = "alive" if row["owner_is_alive"] else "dead"
        times = (f"{since:%Y-%m-%d %H:%M:%S} UTC", _ends(row, now))
        lines.append((row["id"], str(target), row["state"], *times, row["run"], owner))
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)


def _ends(row: dict[str, Any], now: datetime) -> str:
    if not State(row["state"]).is_open:
        return "is over"
    if row["expires_at"] is None:
        return "with its run"
    left = round((datetime.fromisoformat(row["expires_at"]) - now).total_seconds())
    minutes, seconds = divmod(abs(left), 60)
    text = f"{minutes} min {seconds} s" if minutes else f"{seconds} s"
    return f"in {text}" if left >= 0 else f"{text} ago"


def _read(path: Path) -> LedgerView:
    try:
        view = read_ledger(path)
    except LedgerError as error:
        click.echo(str(error), err=True)
        return LedgerView(path)
    for line in view.corrupt:
        click.echo(f"skipped: {line}", err=True)
    return view


def _chosen(run_id: str | None) -> list[Path]:
    paths = _ledgers()
    if run_id is None:
        return paths
    chosen = [path for path in paths if path.stem == run_id]
    ended = (state_directory() / "runs" / "done").glob("*.jsonl")  # as <run>.<time>.jsonl
    if not chosen and not any(run_id in (path.stem, path.stem.rpartition(".")[0]) for path in ended):
        known = [path.stem for path in paths]
        raise click.ClickException(f"no run '{run_id}' in {state_directory() / 'runs'}; known are {known or 'none'}")
    return chosen


def _tell(found: list[Recovery], dry_run: bool, force: bool) -> None:
    for recovery in found:
        run_id = recovery.path.stem
        for line in recovery.corrupt:
            click.echo(f"{run_id}: skipped a corrupt line: {line}", err=True)
        for entry in recovery.recovered:
            click.echo(f"{run_id}: {entry.id} {'would be undone' if dry_run else 'undone: ' + entry.detail}")
        for entry, why in recovery.failed:
            click.echo(f"{run_id}: {entry.id} IS NOT UNDONE: {why}", err=True)
        for line in filter(None, [*recovery.left, recovery.refused]):
            click.echo(f"{run_id}: {line}", err=True)
        for entry in recovery.given_up:
            click.echo(f"{run_id}: {entry.id} {'would be given up' if dry_run else entry.detail}", err=True)
        for line in _left_alone(recovery, force):
            click.echo(f"{run_id}: {line}", err=True)
    if not any(r.recovered or r.given_up or not r.is_clean for r in found):
        click.echo(f"nothing to recover in {state_directory()}")


def _left_alone(recovery: Recovery, force: bool) -> Iterator[str]:
    if recovery.alive:
        hosts = {entry.owner.machine for entry in recovery.alive if not entry.owner.is_here}
        there = (f" on machine '{', '.join(hosts)}'", " there") if hosts else ("", "")
        yield f"{_entries(recovery.alive)} left alone, the run is alive{there[0]}; --force undoes them{there[1]}"
    if recovery.elsewhere:
        why = "; the run is alive there" if force else "; if that machine is gone for good, --force closes them"
        yield f"{_entries(recovery.elsewhere)} left alone: {where_to_undo(recovery.path, recovery.elsewhere)}{why}"


def _entries(entries: list[Entry]) -> str:
    return "1 entry" if len(entries) == 1 else f"{len(entries)} entries"


def _as_json(recovery: Recovery) -> dict[str, Any]:
    return {
        "run": recovery.path.stem,
        "recovered": [entry.id for entry in recovery.recovered],
        "failed": [{"id": entry.id, "why": why} for entry, why in recovery.failed],
        "alive": [entry.id for entry in recovery.alive],
        "elsewhere": [{"id": entry.id, "machine": entry.owner.machine} for entry in recovery.elsewhere],
        "given_up": [entry.id for entry in recovery.given_up],
        "left": recovery.left,
        "corrupt": recovery.corrupt,
        "refused": recovery.refused,
    }


if __name__ == "__main__":
    main()
