"""What keywords cost beside those of another checkout, in turns. Prints a table and writes JSON.

Usage: python tests/bench/port.py BEFORE_TREE [--rounds N]

Each tree runs in a Python process of its own, with a graph of its own on an isolated network; each keyword is called in
the one and then in the other, every second time the other way round. The two times are a pair. Exits with 1 if a
keyword takes more than 1.10 of its time before: the median of the pairs' ratios, beyond its noise.
"""

import argparse
import json
import math
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from robot.api import TypeInfo

ROOT = Path(__file__).parents[2]
LIMIT = 1.10
DOUBT = 0.05
"""Chance that the noise is larger than what is told."""
AGAIN = 10
LEAST_ROUNDS = 6
"""Fewer pairs have noise that cannot be told."""
WORKER = "PositionWorker"
CONNECTED: list[tuple[str, dict[str, str]]] = [
    ("Stall Process", {"service": WORKER, "replica": "0"}),
    ("Resume Process", {"service": WORKER}),
    ("Partition Network", {"partition_type": "frontend_worker"}),
    ("Heal Network Partition", {}),
]
"""What leaves a graph as it was."""
UP = ("Deploy Graph", {"file": "position-agg.yaml", "network": "isolated"})
DOWN: tuple[str, dict[str, str]] = ("Delete Graph", {})


@dataclass
class Row:
    """A keyword in both trees. `low` and `high` are how far noise may have moved the ratio, a median of pairs."""

    keyword: str
    before_ms: float
    after_ms: float
    spread_ms: float
    """Between the quartiles, after."""
    ratio: float
    low: float
    high: float

    @property
    def verdict(self) -> str:
        """Whether it is slower than the limit, as far as that can be told."""
        if self.low > LIMIT:
            return "SLOWER"
        return "as before" if self.high <= LIMIT else "cannot be told, take more rounds"


class Tree:
    """A checkout and the process in which its library runs."""

    def __init__(self, root: Path, place: Path) -> None:
        place.mkdir()
        environment = {**os.environ, "PYTHONPATH": str(root), "DYNAMO_FAULT_STATE": str(place / "state")}
        command = [sys.executable, __file__, str(root), "--serve"]
        self.process = subprocess.Popen(
            command, cwd=place, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def call(self, keyword: str, arguments: dict[str, str]) -> float:
        """Seconds that a keyword took."""
        assert self.process.stdin
        assert self.process.stdout
        self.process.stdin.write(json.dumps([keyword, arguments]) + "\n")
        self.process.stdin.flush()
        answer = self.process.stdout.readline()
        if not answer:
            sys.exit(f"{keyword} failed, see above")
        return float(answer)

    def close(self) -> None:
        """End of file is what it waits for."""
        self.process.communicate()


def main() -> None:
    """Measure, print, write; exit 1 if a keyword is slower than the limit."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("before", type=Path, help="a checkout of the version to compare with")
    parser.add_argument("--rounds", type=int, default=25, help="of two deployments each (default: %(default)s)")
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.before.resolve())
        return
    if options.rounds < LEAST_ROUNDS:
        parser.error(f"--rounds must be {LEAST_ROUNDS} or more, not {options.rounds}")
    rows = measure(options.before.resolve(), options.rounds)
    print(f"{'keyword':24}{'before':>12}{'after':>12}{'spread':>12}   ratio")
    for row in rows:
        times = "".join(f"{value:9.1f} ms" for value in (row.before_ms, row.after_ms, row.spread_ms))
        print(f"{row.keyword:24}{times}   {row.ratio:.3f} ({row.low:.3f} to {row.high:.3f})  {row.verdict}")
    target = ROOT / "results" / "bench"
    target.mkdir(parents=True, exist_ok=True)
    (target / "port.json").write_text(json.dumps([asdict(row) for row in rows], indent=1))
    sys.exit(any(row.low > LIMIT for row in rows))


def measure(before: Path, rounds: int) -> list[Row]:
    """Pairs of times by keyword, in the order of their first call; what comes after a kill is not counted."""
    pairs: dict[str, list[tuple[float, float]]] = {}
    with tempfile.TemporaryDirectory(prefix="bench-") as place:
        trees = [Tree(before, Path(place) / "before"), Tree(ROOT, Path(place) / "after")]
        try:
            for number, (keyword, arguments, counts) in enumerate(calls(rounds)):
                took = [0.0, 0.0]
                for index in (0, 1) if number % 2 else (1, 0):
                    took[index] = trees[index].call(keyword, arguments)
                if counts:
                    pairs.setdefault(keyword, []).append((took[0], took[1]))
        finally:
            for tree in trees:
                tree.close()
    return [row(keyword, found) for keyword, found in pairs.items()]


def calls(rounds: int) -> Iterator[tuple[str, dict[str, str], bool]]:
    """Keywords with their arguments, and whether they count: the first of each tree has imports to do."""
    yield *UP, False
    yield *DOWN, False
    for _ in range(rounds):
        yield *UP, True
        for _ in range(AGAIN):
            yield from ((*each, True) for each in CONNECTED)
        yield *DOWN, True
        yield *UP, True
        for replica in ("0", "1"):
            yield "Kill Worker", {"service": WORKER, "replica": replica, "respawn": "False"}, True
        yield *DOWN, False


def row(keyword: str, pairs: Sequence[tuple[float, float]]) -> Row:
    """Both medians, the spread, and the median of the pairs' ratios with its noise."""
    before, after = ([each[side] * 1000 for each in pairs] for side in (0, 1))
    ratios = sorted(new / old for old, new in pairs)
    quartiles = statistics.quantiles(after)
    low, high = noise_of_median(ratios)
    medians = (statistics.median(before), statistics.median(after))
    return Row(keyword, *medians, quartiles[2] - quartiles[0], statistics.median(ratios), low, high)


def noise_of_median(ordered: Sequence[float]) -> tuple[float, float]:
    """Between which values the median of all pairs that could be taken is, whatever their distribution.

    Each is above it with chance 1/2, so how many are is binomial.
    """
    count, rank, outside = len(ordered), 0, 0.5 ** len(ordered)
    while rank < count // 2 and 2 * outside <= DOUBT:
        rank += 1
        outside += math.comb(count, rank) * 0.5**count
    rank = max(rank - 1, 0)
    return ordered[rank], ordered[-1 - rank]


def serve(root: Path) -> None:
    """Call keywords as they are asked for, a line each; answers with the seconds that each took."""
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # nothing else is an answer
    from DynamoFaultLibrary import library as module

    assert Path(module.__file__).is_relative_to(root), f"{module.__file__} is not of {root}"
    library = module.DynamoFaultLibrary()
    try:
        for line in sys.stdin:
            keyword, texts = json.loads(line)
            name = keyword.lower().replace(" ", "_")
            arguments = converted(library.get_keyword_types(name), texts)
            began = time.perf_counter()
            library.keywords[name](**arguments)
            print(time.perf_counter() - began, file=answers, flush=True)
    finally:
        library.close()


def converted(types: dict[str, Any], texts: dict[str, str]) -> dict[str, Any]:
    """Arguments as Robot Framework would give them: their types may be other ones in another version."""
    return {
        name: TypeInfo.from_type_hint(types[name]).convert(text) if name in types else text
        for name, text in texts.items()
    }


if __name__ == "__main__":
    main()
