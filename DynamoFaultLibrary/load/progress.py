"""How a long load goes, for the console."""

from pathlib import Path
from typing import Any

from DynamoFaultLibrary.load.plan import LoadPlan

PROGRESS_FILE = "progress.log"
"""In a run's results: `dynamo-fault run` shows what is written there, since pabot keeps a robot's console to itself."""

INTERVAL = 10.0
"""Seconds between two lines."""


class Progress:
    """Makes a line each ten seconds, and keeps it in a file as well."""

    def __init__(self, plan: LoadPlan, file: Path | None = None) -> None:
        self.plan = plan
        self.file = file
        self._told_s = 0.0

    def line(self, event: dict[str, Any]) -> str:
        """The line for a sender's event ``progress``; empty while it is too early for one."""
        elapsed, tally = float(event["elapsed_s"]), event["tally"]
        if elapsed < self._told_s + INTERVAL:
            return ""
        self._told_s = elapsed - elapsed % INTERVAL  # one that is late delays none that follow
        line = self.describe(elapsed, tally)
        if self.file is not None:
            with self.file.open("a", encoding="utf-8") as file:
                file.write(line + "\n")
        return line

    def describe(self, elapsed: float, tally: dict[str, int]) -> str:
        """Count, rate, errors, time left."""
        ended = tally["good"] + tally["errors"] + tally["cancelled"]
        total, duration = self.plan.total, self.plan.duration_s
        rate = ended / elapsed if elapsed else 0.0
        left = ""
        if duration is not None:
            left = f", {max(duration - elapsed, 0):.0f} s left"
        elif total is not None and rate:
            left = f", about {(total - ended) / rate:.0f} s left"
        of = f" of {total}" if total is not None else ""
        return (
            f"load '{self.plan.name}': {ended}{of} requests in {elapsed:.0f} s, {rate:.1f}/s, "
            f"{tally['errors']} errors{left}"
        )
