"""Getters with assertion operators, and checks: what happened in the graph."""

import re
from datetime import timedelta
from enum import StrEnum

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import FaultLibraryError
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Component, Count, Operator, check
from DynamoFaultLibrary.keywords.ends import nothing_comes
from DynamoFaultLibrary.keywords.observation import Migrations, counter_growth, new_text, read_migrations, wait_for
from DynamoFaultLibrary.platforms.log_store import flushed, places
from DynamoFaultLibrary.times import check_time

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
    @on_graph
    def get_migrations(
        self,
        assertion_operator: Operator = None,
        assertion_expected: Count | None = None,
        message: str | None = None,
        *,
        kind: MigrationKind = MigrationKind.COMPLETED,
    ) -> int:
        """Returns how many migrations there were since this test began, or since the graph was deployed if later.

        Dynamo's metric ``dynamo_frontend_model_migration_total`` counts attempts, even when the limit is 0. So it is
        compared with the frontend's log, where attempts and failures are lines: when the two do not agree within
        2 s, the keyword fails. ``completed`` is attempts less failures. ``too_long`` is
        ``dynamo_frontend_model_migration_max_seq_len_exceeded_total``.

        Optionally asserts the value, see `Assertions`.

        Example:
        | `Get Migrations` | ``==`` | 1 |
        | `Get Migrations` | ``==`` | 0 | kind=failed |
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

        if not wait_for(self.context, agree, _AGREEMENT_TIMEOUT):
            raise AssertionError(
                f"the frontend's metric counts {seen.attempted} migrations, its log {seen.recreated}; "
                f"see {self._logs(self.context.deployment.graph.frontend.name)}"
            )
        return seen

    @keyword(tags=["Check", "Log"])
    @on_graph
    def service_log_should_contain(
        self, service: str, pattern: str, timeout: timedelta = timedelta(0), whole: bool = False
    ) -> None:
        """Fails unless a line that a service's replicas logged since this test began matches a regular expression.

        With ``timeout`` the line may still come, unless all replicas have ended and nobody starts them again; with
        ``whole`` the log counts from its beginning. A missing or empty log is an error.

        Example:
        | `Service Log Should Contain` | Frontend | Stream disconnected, recreating stream | timeout=2 s |
        """
        check_time("timeout", timeout, may_be_zero=True)
        regex = _compile(pattern)
        line, why = None, ""

        def is_over() -> bool:
            nonlocal line, why
            line = self._find(service, regex, whole)
            why = nothing_comes(self.context, self.context.deployment, service)
            return line is not None or bool(why)

        wait_for(self.context, is_over, timeout)
        line = line or self._find(service, regex, whole, complete=True)
        if line is None:
            but = f"; {why}" if why else ""
            raise AssertionError(f"no line matches '{pattern}' in the log of {service}: {self._logs(service)}{but}")
        self.info(f"log of {service}: {line}")

    @keyword(tags=["Check", "Log"])
    @on_graph
    def service_log_should_not_contain(self, service: str, pattern: str, whole: bool = False) -> None:
        """Fails when a line that a service's replicas logged since this test began matches a regular expression.

        With ``whole`` the log counts from its beginning. A missing or empty log is an error, never a pass.
        """
        line = self._find(service, _compile(pattern), whole, complete=True)
        if line is not None:
            raise AssertionError(f"a line matches '{pattern}' in the log of {service}: {line} ({self._logs(service)})")

    def _find(self, service: str, regex: re.Pattern[str], whole: bool, complete: bool = False) -> str | None:
        """The first line that matches; where there is none, only a complete look says so."""
        logs = self.context.platform.logs(self.context.deployment, service)
        for log in flushed(logs) if complete else logs:
            for line in new_text(self.context, log, whole).splitlines():
                if regex.search(line):
                    return line
        return None

    def _logs(self, service: str) -> str:
        return places(self.context.platform.logs(self.context.deployment, service))


def _compile(pattern: str) -> re.Pattern[str]:
    try:
        return re.compile(pattern)
    except re.error as error:
        raise FaultLibraryError(f"'{pattern}' is not a regular expression: {error}") from error
