"""The command ``dynamo-fault``."""

import subprocess
import sys
from pathlib import Path

import click

REPORTS = ("log.html", "report.html", "xunit.xml", "output.xml")


@click.group()
@click.version_option(package_name="robotframework-dynamofaultlibrary")
def main() -> None:
    """Fault tolerance tests for NVIDIA Dynamo."""


@main.command(context_settings={"ignore_unknown_options": True, "allow_interspersed_args": False})
@click.option("--processes", default=4, show_default=True, help="Suites that run at a time.")
@click.option("-d", "--outputdir", default="results", show_default=True, help="Where log.html and all results go.")
@click.argument("arguments", nargs=-1, type=click.UNPROCESSED)
def run(processes: int, outputdir: str, arguments: tuple[str, ...]) -> None:
    """Run suites with pabot. ARGUMENTS are options of pabot and robot, then the paths of the suites.

    Ends with the exit status of pabot: 0 if all tests passed, else the number of failed ones.
    """
    command = [sys.executable, "-m", "pabot.pabot", "--command", sys.executable, "-m", "robot", "--end-command"]
    command += ["--processes", str(processes), "--pabotlibport", "0", "--outputdir", outputdir, "--xunit", "xunit.xml"]
    status = subprocess.run([*command, *arguments], check=False).returncode
    for name in REPORTS:
        path = Path(outputdir, name).absolute()
        if path.exists():
            click.echo(f"{name + ':':13}{path}")
    sys.exit(status)


if __name__ == "__main__":
    main()
