"""Getters with assertion operators, and checks: what happened to requests, loads and the graph."""

import re
from collections.abc import Callable, Sequence
from datetime import timedelta
from enum import StrEnum

from robot.api.deco import keyword

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import FaultLibraryError, LoadError
from DynamoFaultLibrary.keywords.component import Component, Count, Duration, Operator, check
from DynamoFaultLibrary.keywords.loads import DEFAULT
from DynamoFaultLibrary.keywords.observation import Migrations, counter_growth, new_text, read_migrations
from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.records import Outcome, Record
from DynamoFaultLibrary.reports.timeline import EventKind

_AGREEMENT_TIMEOUT = timedelta(seconds=2)


class MigrationKind(StrEnum):
    """Which migrations are counted."""

    COMPLETED = "completed"
    """The stream went on with another worker."""
    ATTEMPTED = "attempted"
    """The frontend noticed a broken stream, whatever came of it."""
    FAILED = "failed"
    """The frontend could not go on: the limit was used up, or nobody took the request."""
    TOO_LONG = "too_long"
    """Migration was switched off for a request, since it exceeded ``--migration-max-seq-len``."""


class CheckKeywords(Component):
    """Figures and verdicts."""

    @keyword(tags=["Getter", "Migration"])
    def get_migrations(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        kind: MigrationKind = MigrationKind.COMPLETED,
    ) -> int:
        """Returns how many migrations there were since this test's first request, load or fault.

        Dynamo's metric ``dynamo_frontend_model_migration_total`` counts attempts, even when the limit is 0. So it is
        compared with the frontend's log, where attempts and failures are lines: when the two do not agree within
        2 s, the keyword fails. ``completed`` is attempts less failures. ``too_long`` is
        ``dynamo_frontend_model_migration_max_seq_len_exceeded_total``.

        Optionally asserts the value, see `Assertions`.

        Example:
        | `Get Migrations` | == | 1 |
        | `Get Migrations` | == | 0 | kind=failed |
        """
        if kind is MigrationKind.TOO_LONG:
            value = counter_growth(self.context, "dynamo_frontend_model_migration_max_seq_len_exceeded_total")
            return int(check(value, assertion_operator, assertion_expected, "Migrations refused as too long", message))
        seen = self._agreed_migrations()
        value = {
            MigrationKind.COMPLETED: seen.completed,
            MigrationKind.ATTEMPTED: seen.attempted,
            MigrationKind.FAILED: seen.failed,
        }[kind]
        self.info(f"migrations: {seen.attempted} attempted (metric and log), {seen.failed} failed (log)")
        return int(check(value, assertion_operator, assertion_expected, f"Migrations {kind.value}", message))

    def _agreed_migrations(self) -> Migrations:
        seen = read_migrations(self.context)

        def agree() -> bool:
            nonlocal seen
            seen = read_migrations(self.context)
            return seen.agree

        if not wait_until(agree, _AGREEMENT_TIMEOUT, 0.02):
            raise AssertionError(
                f"the frontend's metric counts {seen.attempted} migrations, its log {seen.recreated}; "
                f"see {self._logs(self.context.deployment.graph.frontend.name)}"
            )
        return seen

    @keyword(tags=["Getter", "Load"])
    def get_request_count(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
    ) -> int:
        """Returns the number of good requests of a load so far. Optionally asserts it, see `Assertions`."""
        value = sum(record.is_ok for record in self._records(load))
        return int(check(value, assertion_operator, assertion_expected, f"Good requests of load '{load}'", message))

    @keyword(tags=["Getter", "Load"])
    def get_error_count(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        error_class: Outcome | None = None,
    ) -> int:
        """Returns the number of failed requests of a load so far, of one ``error_class`` or of all.

        A truncated answer (fewer tokens than asked for) is an error. Optionally asserts the value, see `Assertions`.

        Example:
        | `Get Error Count` | == | 0 |
        | `Get Error Count` | <= | 3 | error_class=truncated |
        """
        failed = statistics.errors(self._records(load), error_class)
        for record in failed[:10]:
            self.info(f"{record.id}: {record.summary()}")
        what = f"Failed requests of load '{load}'" + (f" of class {error_class.value}" if error_class else "")
        return int(check(len(failed), assertion_operator, assertion_expected, what, message))

    @keyword(tags=["Getter", "Load"])
    def get_latency(
        self,
        percentile: float,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
    ) -> timedelta:
        """Returns a percentile of the latencies of a load's good requests. Optionally asserts it, see `Assertions`.

        Example:
        | `Get Latency` | 99 | < | 2 s |
        """
        values = statistics.latencies(self._records(load))
        return self._duration(values, percentile, "latency", assertion_operator, assertion_expected, message)

    @keyword(tags=["Getter", "Load"])
    def get_time_to_first_token(
        self,
        percentile: float,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
    ) -> timedelta:
        """Returns a percentile of the times to the first token of a load's good streamed requests.

        Optionally asserts it, see `Assertions`.
        """
        values = statistics.first_token_times(self._records(load))
        return self._duration(
            values, percentile, "time to first token", assertion_operator, assertion_expected, message
        )

    @keyword(tags=["Getter", "Load"])
    def get_inter_token_latency(
        self,
        percentile: float,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
    ) -> timedelta:
        """Returns a percentile of the pauses between two tokens of a load's streams.

        Optionally asserts it, see `Assertions`.
        """
        values = statistics.token_gaps(self._records(load))
        return self._duration(
            values, percentile, "inter-token latency", assertion_operator, assertion_expected, message
        )

    def _duration(
        self,
        values: Sequence[float],
        percentile: float,
        what: str,
        operator: Operator,
        expected: Duration | None,
        message: str | None,
    ) -> timedelta:
        value = timedelta(seconds=statistics.percentile(values, percentile))
        check(value, operator, expected, f"p{percentile:g} {what}", message)
        return value

    @keyword(tags=["Getter", "Load", "Request"])
    def get_longest_token_gap(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        request: Request | None = None,
        load: str = DEFAULT,
    ) -> timedelta:
        """Returns the longest pause between two tokens of one streamed request, or of all streams of a load.

        Optionally asserts it, see `Assertions`.

        Example:
        | `Get Longest Token Gap` | < | 2 s | request=${request} |
        """
        records = [self._ended(request)] if request else self._records(load)
        gaps = statistics.token_gaps(records)
        if not gaps:
            raise LoadError("no stream with two tokens, so there is no pause between tokens")
        value = timedelta(seconds=max(gaps))
        check(value, assertion_operator, assertion_expected, "Longest pause between tokens", message)
        return value

    @keyword(tags=["Getter", "Load"])
    def get_recovery_time(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Duration | None = None,
        message: str | None = None,
        *,
        load: str = DEFAULT,
        consecutive: int = statistics.CONSECUTIVE_GOOD,
    ) -> timedelta:
        """Returns the recovery time after the last fault, measured on a load.

        That is the time from the moment the fault was proven to the end of the first of ``consecutive`` good
        responses in a row. Fails when the load has no such row. Optionally asserts the value, see `Assertions`.

        Example:
        | `Get Recovery Time` | < | 10 s |
        """
        fault = self.context.last_fault
        records = self._records(load)
        seconds = statistics.recovery_time(records, fault.active_s, consecutive)
        if seconds is None:
            ended = sum(record.ended_monotonic_s >= fault.active_s for record in records)
            raise AssertionError(
                f"load '{load}' has not recovered from {fault}: no {consecutive} good responses in a row among the "
                f"{ended} that ended after it; see {self.context.load(load).sender.records}"
            )
        self.note(EventKind.GOOD, f"first of {consecutive} good responses in a row", fault.active_s + seconds)
        value = timedelta(seconds=seconds)
        check(value, assertion_operator, assertion_expected, "Recovery time", message)
        return value

    @keyword(tags=["Check", "Load"])
    def load_should_have_zero_errors(self, load: str = DEFAULT) -> None:
        """Fails when a request of the load failed, and shows the first ones. The load must have ended."""
        self.load_should_have_at_most_errors(0, load)

    @keyword(tags=["Check", "Load"])
    def load_should_have_at_most_errors(self, max_errors: int, load: str = DEFAULT) -> None:
        """Fails when more than ``max_errors`` requests of the load failed, and shows the first ones.

        The load must have ended: what still hangs could fail yet.
        """
        failed = statistics.errors(self._final_records(load))
        if len(failed) > max_errors:
            first = "; ".join(f"{record.id}: {record.summary()}" for record in failed[:3])
            raise AssertionError(
                f"load '{load}' has {len(failed)} failed requests, at most {max_errors} expected; the first: {first} "
                f"(all: {self.context.load(load).sender.records})"
            )

    @keyword(tags=["Check", "Load"])
    def load_should_have_at_least_requests(self, min_count: int, load: str = DEFAULT) -> None:
        """Fails when the load has fewer than ``min_count`` good requests."""
        good = sum(record.is_ok for record in self._records(load))
        if good < min_count:
            raise AssertionError(f"load '{load}' has {good} good requests, at least {min_count} expected")

    @keyword(tags=["Check", "Log"])
    def service_log_should_contain(
        self, service: str, pattern: str, timeout: timedelta = timedelta(0), whole: bool = False
    ) -> None:
        """Fails unless a line that a service's replicas logged since this test began matches a regular expression.

        With ``timeout`` the line may still come; with ``whole`` the log counts from its beginning. A missing or empty
        log is an error.

        Example:
        | `Service Log Should Contain` | Frontend | Stream disconnected, recreating stream | timeout=2 s |
        """
        search = self._searcher(service, pattern, whole)
        if not wait_until(lambda: search() is not None, timeout, 0.02):
            raise AssertionError(f"no line matches '{pattern}' in the log of {service}: {self._logs(service)}")
        self.info(f"log of {service}: {search()}")

    @keyword(tags=["Check", "Log"])
    def service_log_should_not_contain(self, service: str, pattern: str, whole: bool = False) -> None:
        """Fails when a line that a service's replicas logged since this test began matches a regular expression.

        With ``whole`` the log counts from its beginning. A missing or empty log is an error, never a pass.
        """
        line = self._searcher(service, pattern, whole)()
        if line is not None:
            raise AssertionError(f"a line matches '{pattern}' in the log of {service}: {line} ({self._logs(service)})")

    def _searcher(self, service: str, pattern: str, whole: bool) -> Callable[[], str | None]:
        try:
            regex = re.compile(pattern)
        except re.error as error:
            raise FaultLibraryError(f"'{pattern}' is no regular expression: {error}") from error

        def search() -> str | None:
            for log in self.context.platform.logs(self.context.deployment, service):
                start = 0 if whole else self.context.log_starts.get(log, 0)
                for line in new_text(log, start).splitlines():
                    if regex.search(line):
                        return line
            return None

        return search

    def _logs(self, service: str) -> str:
        return ", ".join(str(log) for log in self.context.platform.logs(self.context.deployment, service))

    def _records(self, load: str) -> list[Record]:
        return self.context.load(load).records()

    def _final_records(self, load: str) -> list[Record]:
        if self.context.load(load).was_stopped is None:
            raise LoadError(f"load '{load}' still runs; call 'Wait For Load Completion' or 'Stop Load' first")
        return self._records(load)

    @staticmethod
    def _ended(request: Request) -> Record:
        if request.record is None:
            raise LoadError(f"{request} has not ended; call 'Wait For Request' first")
        return request.record
