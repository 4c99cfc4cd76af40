"""The figures of a load, one row each: what its keyword returns, how reports show it, how it is defined.

Keywords, the tables of log.html and of ``dynamo-fault report``, and the definitions in docs/load.md come from here.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum
from typing import Any, NamedTuple

from DynamoFaultLibrary.load import measures, statistics
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.recovery import HOLD_S, Aftermath
from DynamoFaultLibrary.load.statistics import CONSECUTIVE_GOOD, Distribution, Figures

NONE = "-"


class Unit(Enum):
    """What a figure is measured in."""

    COUNT = "count"
    SHARE = "share"
    """From 0 to 1."""
    RATE = "rate"
    """A second."""
    SECONDS = "seconds"


class Option(NamedTuple):
    """An argument that only this figure's keyword has."""

    type: Any
    default: Any


@dataclass(frozen=True)
class Figure:
    """One figure. `value` gets a way to look at the load, and the options that the keyword was given."""

    keyword: str
    words: str
    """What it is, for messages; may name options: ``p{percentile:g} latency``."""
    unit: Unit
    value: Callable[..., float]
    definition: str
    """What it is, as a phrase: the keyword returns it, and docs/load.md defines it so."""
    more: str = ""
    """The rest of the keyword's documentation."""
    of_fault: bool = False
    """Whether it is asked of a fault and the time after it, not of a part."""
    percentile: bool = False
    """Whether the percentile is the keyword's first argument."""
    options: Mapping[str, Option] = field(default_factory=dict)
    event: str = ""
    """What the timeline says at the moment that this figure finds."""
    title: str = ""
    """Its name in tables."""
    cell: Callable[[Figures], str] | None = None
    """How tables of parts show it."""
    fact: Callable[[Aftermath], str] | None = None
    """How tables of faults show it."""


def seconds(value: float | None) -> str:
    """A time in seconds, as precise as one reads it."""
    return NONE if value is None else f"{value:.3f} s"


def rate(value: float | None) -> str:
    """A rate a second."""
    return NONE if value is None else f"{value:.2f}"


def share(value: float | None) -> str:
    """A share as a percentage."""
    return NONE if value is None else f"{value:.2%}"


def _two(spread: Distribution | None) -> str:
    return NONE if spread is None else f"{seconds(spread.p50)} / {seconds(spread.p99)}"


def _errors(figures: Figures) -> str:
    if not figures.failed:
        return "0"
    return f"{figures.failed} ({', '.join(f'{count} {kind}' for kind, count in figures.errors.items())})"


def _told(value: float | None, after: Aftermath, otherwise: str) -> str:
    if after.began_after:
        return "not known: the load began after the fault"
    if not after.ended:
        return "not known: no request ended after the fault"
    return otherwise if value is None else seconds(value)


FIGURES = (
    Figure(
        "Get Request Count",
        "Requests",
        Unit.COUNT,
        lambda look: look().segment.figures.requests,
        "the number of requests that have ended, whatever came of them",
        "Those that succeeded are counted by `Get Good Request Count`.\n\n"
        "Example:\n| `Get Request Count` | >= | 100 |\n| `Get Request Count` | > | 0 | part=during |",
        title="Requests",
        cell=lambda f: str(f.requests),
    ),
    Figure(
        "Get Good Request Count",
        "Good requests",
        Unit.COUNT,
        lambda look: look().judged().figures.good,
        "the number of requests that brought all that was asked for",
        "Example:\n| `Get Good Request Count` | >= | 100 |\n| `Get Good Request Count` | > | 0 | part=during |",
        title="Good",
        cell=lambda f: str(f.good),
    ),
    Figure(
        "Get Error Count",
        "Failed requests",
        Unit.COUNT,
        measures.error_count,
        "the number of requests that failed",
        "Counts those of one ``error_class``, or all. A truncated answer (fewer tokens than asked for) is an error; a "
        "request that the client gave up on purpose is not, see `Get Cancellation Count`. The first 25 are logged.\n\n"
        "Example:\n| `Get Error Count` | ``==`` | 0 | part=after |\n"
        "| `Get Error Count` | <= | 3 | error_class=truncated |",
        options={"error_class": Option(Outcome | None, None)},
        title="Failed",
        cell=_errors,
    ),
    Figure(
        "Get Cancellation Count",
        "Cancelled requests",
        Unit.COUNT,
        lambda look: look().judged().figures.cancelled,
        "the number of requests that the client gave up on purpose",
        title="Cancelled",
        cell=lambda f: str(f.cancelled),
    ),
    Figure(
        "Get Retry Count",
        "Retries",
        Unit.COUNT,
        lambda look: look().judged().figures.retries,
        "how many times requests were sent again after a failure",
        title="Retries",
        cell=lambda f: str(f.retries),
    ),
    Figure(
        "Get Success Rate",
        "Success rate",
        Unit.SHARE,
        measures.success_rate,
        "the share of good requests, 0 to 1, among those that were not given up on purpose",
        "What it is compared with may be written as a percentage.\n\n"
        "Example:\n| `Get Success Rate` | >= | 0.9 | part=during |\n| `Get Success Rate` | >= | 99.9% | part=after |",
        title="Success rate",
        cell=lambda f: share(f.success_rate),
    ),
    Figure(
        "Get Goodput",
        "Goodput",
        Unit.SHARE,
        measures.goodput,
        "the share of requests, 0 to 1, that were good and kept all the given targets",
        "Example:\n| `Get Goodput` | >= | 0.95 | latency=2 s | time_to_first_token=200 ms |",
        options={
            name: Option(timedelta | None, None) for name in ("latency", "time_to_first_token", "inter_token_latency")
        },
    ),
    Figure(
        "Get Throughput",
        "Requests/s",
        Unit.RATE,
        measures.throughput,
        "good requests a second: those that ended in the time looked at, divided by that time",
        title="Requests/s",
        cell=lambda f: rate(f.throughput),
    ),
    Figure(
        "Get Token Throughput",
        "Tokens/s",
        Unit.RATE,
        measures.token_throughput,
        "output tokens a second, of good requests that ended in the time looked at",
        title="Tokens/s",
        cell=lambda f: rate(f.token_throughput),
    ),
    Figure(
        "Get Latency",
        "p{percentile:g} latency",
        Unit.SECONDS,
        measures.percentile_of(statistics.latencies),
        "a percentile of the latencies of good requests: from the scheduled time, else the start, to the end",
        "``percentile`` is from 1 to 100; it is a latency that was seen (nearest rank).\n\n"
        "Example:\n| `Get Latency` | 99 | < | 2 s |\n| `Get Latency` | 50 | < | 500 ms | part=after |\n"
        "| `Get Latency` | 95 | < | 500 ms | part=after | replica=VllmWorker-1 |",
        percentile=True,
        title="Latency p50 / p99",
        cell=lambda f: _two(f.latency),
    ),
    Figure(
        "Get Time To First Token",
        "p{percentile:g} time to first token",
        Unit.SECONDS,
        measures.percentile_of(statistics.first_token_times),
        "a percentile of the times from start to first token of good streamed requests",
        percentile=True,
        title="Time to first token p50 / p99",
        cell=lambda f: _two(f.time_to_first_token),
    ),
    Figure(
        "Get Inter Token Latency",
        "p{percentile:g} inter-token latency",
        Unit.SECONDS,
        measures.percentile_of(statistics.token_latencies),
        "a percentile of the mean times from token to token, after the first one, of good streamed requests",
        "Each request counts with its mean, as in aiperf; for its pauses see `Get Longest Token Gap`.",
        percentile=True,
        title="Inter-token latency p50 / p99",
        cell=lambda f: _two(f.inter_token_latency),
    ),
    Figure(
        "Get Longest Token Gap",
        "Longest pause between tokens",
        Unit.SECONDS,
        measures.longest_gap,
        "the longest pause between two tokens of a stream",
        "Of one streamed request, if ``request`` is given, else of all streams of the load.\n\n"
        "Example:\n| `Get Longest Token Gap` | < | 2 s | request=${request} |",
        options={"request": Option(Request | None, None)},
        title="Longest pause in a stream",
        cell=lambda f: seconds(f.longest_gap),
    ),
    Figure(
        "Get Recovery Time",
        "Recovery time",
        Unit.SECONDS,
        measures.recovery_time,
        "the time from the moment a fault took effect to the end of the first of 5 good responses in a row",
        "``consecutive`` says how many in a row it takes. Fails when there is no such row. The row may have begun "
        "before an outage and go on behind it, and a load that recovered in this sense may still have errors now and "
        "then, or half of its throughput: look at `Get Longest Outage`, `Get Time To Last Error` and "
        "`Get Full Recovery Time` as well.\n\nExample:\n| `Get Recovery Time` | < | 10 s |",
        of_fault=True,
        options={"consecutive": Option(int, CONSECUTIVE_GOOD)},
        event="first of {consecutive} good responses in a row",
        title="Recovery time",
        fact=lambda a: _told(a.recovery_s, a, "not recovered"),
    ),
    Figure(
        "Get Full Recovery Time",
        "Full recovery time",
        Unit.SECONDS,
        measures.full_recovery_time,
        "the time from the moment a fault took effect until the service level is back to what it was before: to the "
        "end of the records, the throughput of good answers is 90 % of that or more, their p95 latency 1.25 times that "
        "or less, and the share of failed requests at most 1 percentage point above that, in each stretch of 5 s and "
        "20 answers",
        "``hold`` is the length of a stretch; stretches are longer where answers are few or their latencies vary. "
        "Fails with the reason when the service level does not come back, when too little was recorded after the "
        "fault to tell, and when there is no baseline: fewer than 20 good answers before the fault.\n\n"
        "Example:\n| `Get Full Recovery Time` | < | 30 s |",
        of_fault=True,
        options={"hold": Option(timedelta, timedelta(seconds=HOLD_S))},
        event="the service level is back to what it was before the fault",
        title="Full recovery",
        fact=lambda a: str(a.full),
    ),
    Figure(
        "Get Time To Last Error",
        "Time to the last error",
        Unit.SECONDS,
        measures.last_error_time,
        "the time from the moment a fault took effect to the last failure after it, of a request or of an attempt that "
        "was followed by a retry; 0 when nothing failed",
        "Example:\n| `Get Time To Last Error` | < | 15 s |",
        of_fault=True,
        title="Last error or retry",
        fact=lambda a: _told(a.last_error_s, a, "none"),
    ),
    Figure(
        "Get Longest Outage",
        "Longest outage",
        Unit.SECONDS,
        measures.longest_outage,
        "the longest time without a good response while requests were in flight",
        "Example:\n| `Get Longest Outage` | < | 5 s | part=during |",
        title="Longest outage",
        fact=lambda a: _told(a.longest_outage_s, a, NONE),
    ),
    Figure(
        "Get Lost Request Count",
        "Lost requests",
        Unit.COUNT,
        measures.lost,
        "the number of requests that were in flight when a fault was injected, and failed",
        "The load must have ended: what is in flight may be lost yet.\n\n"
        "Example:\n| `Get Lost Request Count` | ``==`` | 0 |",
        of_fault=True,
        title="Lost requests",
        fact=lambda a: str(a.lost) if a.ended and not a.began_after else NONE,
    ),
)


def definitions() -> str:
    """The lines of the table of figures in docs/load.md."""
    rows = [f"| `{figure.keyword}` | {figure.definition} |" for figure in FIGURES]
    return "\n".join(["| keyword | returns |", "|---|---|", *rows])


if __name__ == "__main__":
    print(definitions())
