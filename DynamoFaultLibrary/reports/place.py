"""Where a run's results go."""

from pathlib import Path


def results_folder(output: Path) -> Path:
    """The output directory itself if it is called ``results``, else one in it."""
    return output if output.name == "results" else output / "results"
