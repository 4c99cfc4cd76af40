"""Limits of ``dynamo-fault load``: what a load must keep for the command to exit with 0."""

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, fields
from typing import Any

import click

from DynamoFaultLibrary.load.statistics import Distribution, Figures


def _number(expected: str, fits: Callable[[float], bool], *, percent: bool = False) -> Callable[..., float | None]:
    """A number of a limit. `nan` and `inf` are refused: nothing exceeds them."""

    def convert(context: click.Context, option: click.Parameter, value: str | None) -> float | None:
        if value is None:
            return None
        try:
            is_percentage = percent and value.strip().endswith("%")
            number = float(value.strip().removesuffix("%")) / 100 if is_percentage else float(value)
        except ValueError:
            number = math.nan
        if not math.isfinite(number) or not fits(number):
            raise click.BadParameter(f"expected {expected}, not '{value}'")
        return number

    return convert


_SHARE = _number("a share from 0 to 1, or a percentage such as 90%", lambda number: 0 <= number <= 1, percent=True)
SECONDS = _number("seconds above 0", lambda number: number > 0)
_OPTIONS = (
    click.option(
        "--max-errors",
        type=click.IntRange(min=0),
        show_default="0 without --min-success-rate",
        help="Exit with 1 if more requests failed.",
    ),
    click.option(
        "--min-success-rate",
        metavar="SHARE",
        callback=_SHARE,
        help="Exit with 1 if the share of good requests, 0 to 1 or a percentage, is less.",
    ),
    click.option("--max-p99", metavar="SECONDS", callback=SECONDS, help="Exit with 1 if the p99 latency is longer."),
    click.option(
        "--max-ttft-p99",
        metavar="SECONDS",
        callback=SECONDS,
        help="Exit with 1 if the p99 time to first token is longer.",
    ),
)


def limit_options(command: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command the options of `Limits`."""
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


@dataclass(frozen=True)
class Limits:
    """What a load must keep; None: anything. Times in seconds."""

    max_errors: int | None = None
    min_success_rate: float | None = None
    max_p99: float | None = None
    max_ttft_p99: float | None = None

    @classmethod
    def take(cls, options: dict[str, Any]) -> "Limits":
        """Take them out of a command's options. A failed request breaks a limit, unless limits say what may fail."""
        chosen = cls(**{each.name: options.pop(each.name) for each in fields(cls)})
        if chosen.max_errors is None and chosen.min_success_rate is None:
            return cls(0, None, chosen.max_p99, chosen.max_ttft_p99)
        return chosen

    def broken(self, figures: Figures) -> Iterator[str]:
        """A sentence for each limit that `figures` do not keep. Without data none is kept."""
        if self.max_errors is not None and figures.success_rate is None:
            yield f"no request has ended that counts, expected at most {self.max_errors} to fail"
        if self.max_errors is not None and figures.failed > self.max_errors:
            kinds = ", ".join(f"{count} {kind}" for kind, count in figures.errors.items())
            seen = f"{figures.failed} of {figures.requests} requests failed ({kinds})"
            yield f"{seen}, expected at most {self.max_errors}"
        if self.min_success_rate is not None:
            rate = figures.success_rate
            if rate is None:
                yield f"there is no success rate: no request ended, expected at least {self.min_success_rate:g}"
            elif rate < self.min_success_rate:
                yield f"success rate is {rate:.4f}, expected at least {self.min_success_rate:g}"
        yield from _too_long("p99 latency", figures.latency, self.max_p99)
        yield from _too_long("p99 time to first token", figures.time_to_first_token, self.max_ttft_p99)


def _too_long(what: str, spread: Distribution | None, limit_s: float | None) -> Iterator[str]:
    if limit_s is None:
        return
    if spread is None:
        yield f"there is no {what}: no good request delivered it, expected at most {limit_s:g} s"
    elif spread.p99 > limit_s:
        yield f"{what} is {spread.p99:.3f} s, expected at most {limit_s:g} s"
