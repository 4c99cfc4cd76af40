"""What Robot Framework tells of the running test. Outside a run there are harmless answers."""

from pathlib import Path
from typing import Any

from robot.libraries.BuiltIn import BuiltIn, RobotNotRunningError

from DynamoFaultLibrary.reports.run import results_folder


def variable(name: str, default: Any = None) -> Any:
    """Value of a Robot variable."""
    try:
        return BuiltIn().get_variable_value(f"${{{name}}}", default)
    except RobotNotRunningError:
        return default


def suite_name() -> str:
    """Full name of the running suite."""
    return str(variable("SUITE NAME", "suite"))


def suite_directory() -> Path | None:
    """Directory of the running suite's file."""
    source = variable("SUITE SOURCE")
    return Path(source).parent if source else None


def output_root() -> Path:
    """The directory where the final log.html will lie; under pabot it is above the one that robot writes to."""
    output = Path(str(variable("OUTPUT DIR", "results")))
    for parent in (output, *output.parents):
        if parent.name == "pabot_results":
            return parent.parent
    return output


def results_root() -> Path:
    """Where the results of all runs go."""
    return results_folder(output_root())
