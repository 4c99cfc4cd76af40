"""Getters with assertion operators for the figures of a load."""

import itertools
from collections.abc import Callable, Iterator
from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.keywords.component import Component, Count, Duration, Number, Operator, check
from DynamoFaultLibrary.keywords.loads import DEFAULT
from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.records import Outcome, Record, iterate_records
from DynamoFaultLibrary.load.statistics import Targets
from DynamoFaultLibrary.load.table import Floats, Table
from DynamoFaultLibrary.reports.timeline import EventKind

_SHOWN_ERRORS = 25


class FigureKeywords(Component):
    """What a load measured."""

    @keyword(tags=["Getter", "Load"])
    def get_request_count(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> int:
        """Returns the number of good requests of a load so far, or of a part of it, see `Parts of a load`.

        Example:
        | `Get Request Count` | >= | 100 |
        | `Get Request Count` | > | 0 | part=during |
        """
        value = self.context.segment(load, part, fault).figures.good
        return int(check(value, assertion_operator, assertion_expected, _what("Good requests", load, part), message))

    @keyword(tags=["Getter", "Load"])
    def get_error_count(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        error_class: Outcome | None = None,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> int:
        """Returns the number of failed requests of a load so far, of one ``error_class`` or of all.

        A truncated answer (fewer tokens than asked for) is an error; a request that the client gave up on purpose is
        none, see `Get Cancellation Count`.

        Example:
        | `Get Error Count` | ``==`` | 0 | part=after |
        | `Get Error Count` | <= | 3 | error_class=truncated |
        """
        errors = self.context.segment(load, part, fault).figures.errors
        for record in self._first_errors(load, error_class):
            self.info(f"{record.id}: {record.summary()}")
        value = errors.get(error_class.value, 0) if error_class else sum(errors.values())
        what = _what("Failed requests" + (f" ({error_class.value})" if error_class else ""), load, part)
        return int(check(value, assertion_operator, assertion_expected, what, message))

    @keyword(tags=["Getter", "Load"])
    def get_cancellation_count(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> int:
        """Returns how many requests of a load the client gave up on purpose."""
        value = self.context.segment(load, part, fault).figures.cancelled
        return int(
            check(value, assertion_operator, assertion_expected, _what("Cancelled requests", load, part), message)
        )

    @keyword(tags=["Getter", "Load"])
    def get_retry_count(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> int:
        """Returns how many times requests of a load were sent again after a failure."""
        value = self.context.segment(load, part, fault).figures.retries
        return int(check(value, assertion_operator, assertion_expected, _what("Retries", load, part), message))

    @keyword(tags=["Getter", "Load"])
    def get_lost_request_count(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        fault: str | None = None,
    ) -> int:
        """Returns how many requests of a load were in flight when the fault was injected, and failed.

        Example:
        | `Get Lost Request Count` | ``==`` | 0 |
        """
        hit = self.context.fault_window(fault)
        value = statistics.lost_requests(self.context.load(load).table(), hit.injected_s)
        return int(check(value, assertion_operator, assertion_expected, _what("Lost requests", load, None), message))

    @keyword(tags=["Getter", "Load"])
    def get_success_rate(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Number | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> float:
        """Returns the share of good requests, 0 to 1, among those that were not given up on purpose.

        Example:
        | `Get Success Rate` | >= | 0.9 | part=during |
        """
        value = _there(self.context.segment(load, part, fault).figures.success_rate, "ended", load, part)
        return float(check(value, assertion_operator, assertion_expected, _what("Success rate", load, part), message))

    @keyword(tags=["Getter", "Load"])
    def get_goodput(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Number | None = None,
        message: str | None = None,
        *,
        latency: timedelta | None = None,
        time_to_first_token: timedelta | None = None,
        inter_token_latency: timedelta | None = None,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> float:
        """Returns the share of requests, 0 to 1, that were good and kept all the given targets.

        Example:
        | `Get Goodput` | >= | 0.95 | latency=2 s | time_to_first_token=200 ms |
        """
        limits = (latency, time_to_first_token, inter_token_latency)
        targets = Targets(*(limit.total_seconds() if limit is not None else None for limit in limits))
        rows = self.context.segment(load, part, fault).rows
        value = _there(statistics.goodput(rows, targets), "ended", load, part)
        return float(check(value, assertion_operator, assertion_expected, _what("Goodput", load, part), message))

    @keyword(tags=["Getter", "Load"])
    def get_throughput(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Number | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> float:
        """Returns good requests a second: those that ended in the time of the part, divided by that time."""
        value = _there(self.context.segment(load, part, fault).figures.throughput, "ran", load, part)
        return float(check(value, assertion_operator, assertion_expected, _what("Requests/s", load, part), message))

    @keyword(tags=["Getter", "Load"])
    def get_token_throughput(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Number | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> float:
        """Returns output tokens a second, of good requests that ended in the time of the part."""
        value = _there(self.context.segment(load, part, fault).figures.token_throughput, "ran", load, part)
        return float(check(value, assertion_operator, assertion_expected, _what("Tokens/s", load, part), message))

    @keyword(tags=["Getter", "Load"])
    def get_latency(
        self,
        percentile: float,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> timedelta:
        """Returns a percentile of the latencies of a load's good requests.

        Example:
        | `Get Latency` | 99 | < | 2 s |
        | `Get Latency` | 50 | < | 500 ms | part=after |
        """
        values = self._values(statistics.latencies, load, part, fault)
        what = _what(f"p{percentile:g} latency", load, part)
        return _duration(values, percentile, what, assertion_operator, assertion_expected, message)

    @keyword(tags=["Getter", "Load"])
    def get_time_to_first_token(
        self,
        percentile: float,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> timedelta:
        """Returns a percentile of the times to the first token of a load's good streamed requests."""
        values = self._values(statistics.first_token_times, load, part, fault)
        what = _what(f"p{percentile:g} time to first token", load, part)
        return _duration(values, percentile, what, assertion_operator, assertion_expected, message)

    @keyword(tags=["Getter", "Load"])
    def get_inter_token_latency(
        self,
        percentile: float,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> timedelta:
        """Returns a percentile of the mean times from token to token of a load's good streamed requests.

        Each request counts with its mean, as in aiperf; for its pauses see `Get Longest Token Gap`.
        """
        values = self._values(statistics.token_latencies, load, part, fault)
        what = _what(f"p{percentile:g} inter-token latency", load, part)
        return _duration(values, percentile, what, assertion_operator, assertion_expected, message)

    @keyword(tags=["Getter", "Load", "Request"])
    def get_longest_token_gap(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        request: Request | None = None,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> timedelta:
        """Returns the longest pause between two tokens of one streamed request, or of all streams of a load.

        Example:
        | `Get Longest Token Gap` | < | 2 s | request=${request} |
        """
        if request is None:
            gap = self.context.segment(load, part, fault).figures.longest_gap
        elif request.record is None:
            raise LoadError(f"{request} has not ended; call 'Wait For Request' first")
        else:
            gap = request.record.longest_gap_s
        if gap is None:
            raise LoadError("no stream with two tokens, so there is no pause between tokens")
        value = timedelta(seconds=gap)
        check(value, assertion_operator, assertion_expected, "Longest pause between tokens", message)
        return value

    @keyword(tags=["Getter", "Load"])
    def get_longest_outage(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
    ) -> timedelta:
        """Returns the longest time without a good response while requests of the load were in flight.

        Example:
        | `Get Longest Outage` | < | 5 s | part=during |
        """
        segment = self.context.segment(load, part, fault)
        seconds = statistics.longest_outage(self.context.load(load).table(), segment.start_s, segment.end_s)
        value = timedelta(seconds=seconds)
        check(value, assertion_operator, assertion_expected, _what("Longest outage", load, part), message)
        return value

    @keyword(tags=["Getter", "Load"])
    def get_recovery_time(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        fault: str | None = None,
        consecutive: int = statistics.CONSECUTIVE_GOOD,
    ) -> timedelta:
        """Returns the recovery time after the last fault (or the one with the given id), measured on a load.

        That is the time from the moment the fault was proven to the end of the first of ``consecutive`` good
        responses in a row. Fails when the load has no such row.

        Example:
        | `Get Recovery Time` | < | 10 s |
        """
        hit = self.context.fault_window(fault)
        table = self.context.load(load).table()
        seconds = statistics.recovery_time(table, hit.effective_s, consecutive)
        if seconds is None:
            ended = int((table.ended >= hit.effective_s).sum())
            raise AssertionError(
                f"load '{load}' has not recovered from {hit.label}: no {consecutive} good responses in a row among the "
                f"{ended} that ended after it; see {self.context.load(load).folder.path}"
            )
        self.note(EventKind.GOOD, f"first of {consecutive} good responses in a row", hit.effective_s + seconds)
        value = timedelta(seconds=seconds)
        check(value, assertion_operator, assertion_expected, "Recovery time", message)
        return value

    @keyword(tags=["Getter", "Load"])
    def get_time_to_last_error(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        fault: str | None = None,
    ) -> timedelta:
        """Returns how long after the last fault (or the one with the given id) a request of the load still failed.

        That is the time from the fault's proof to the end of the last failed request; 0 when none failed. A load can
        have recovered, as `Get Recovery Time` defines it, and still have an error now and then.

        Example:
        | `Get Time To Last Error` | < | 15 s |
        """
        hit = self.context.fault_window(fault)
        value = timedelta(seconds=statistics.last_error_time(self.context.load(load).table(), hit.effective_s) or 0.0)
        check(value, assertion_operator, assertion_expected, _what("Time to the last error", load, None), message)
        return value

    def _first_errors(self, load: str, error_class: Outcome | None) -> Iterator[Record]:
        """Some requests of a load that failed, by name."""
        path = self.context.load(load).sender.records
        if path.exists():  # aiperf keeps its own
            records = (record for record in iterate_records(path) if record.outcome.is_error)
            yield from itertools.islice((r for r in records if error_class in (None, r.outcome)), _SHOWN_ERRORS)

    def _values(self, figure: Callable[[Table], Floats], load: str, part: str | None, fault: str | None) -> Floats:
        return figure(self.context.segment(load, part, fault).rows)


def _duration(
    values: Floats,
    percentile: float,
    what: str,
    operator: Operator,
    expected: Duration | None,
    message: str | None,
) -> timedelta:
    value = timedelta(seconds=statistics.percentile(values, percentile))
    check(value, operator, expected, what, message)
    return value


def _there(value: float | None, verb: str, load: str, part: str | None) -> float:
    if value is None:
        raise LoadError(f"no request of {_place(load, part)} {verb}, so this figure does not exist")
    return value


def _what(figure: str, load: str, part: str | None) -> str:
    return f"{figure} of {_place(load, part)}"


def _place(load: str, part: str | None) -> str:
    return f"load '{load}'" + (f", part '{part}'" if part else "")
