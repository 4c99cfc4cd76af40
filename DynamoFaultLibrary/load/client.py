"""Requests and loads that were started, each with the process that sends it."""

import itertools
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

from DynamoFaultLibrary.clock import monotonic, utc_now, wait_until
from DynamoFaultLibrary.errors import LoadError, NothingComes, Unanswered
from DynamoFaultLibrary.load.aiperf import PATIENCE, arguments_of, find_aiperf
from DynamoFaultLibrary.load.folder import LoadFolder, LoadState
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.process import SenderProcess, Why
from DynamoFaultLibrary.load.records import Outcome, Record, RequestSpec, iterate_records
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.table import Table


@dataclass
class Request:
    """A request that was started. `record` is there once it has ended."""

    spec: RequestSpec
    sender: SenderProcess
    record: Record | None = None
    deployment: str = ""
    """Name of the deployment that it was sent to."""

    def __str__(self) -> str:
        how = "streaming" if self.spec.streaming else "unary"
        return f"request '{self.spec.id}' ({how} {self.spec.endpoint.value}, {self.spec.max_tokens} tokens)"

    @property
    def id(self) -> str:
        """Our id of it, the ``x-request-id`` header."""
        return self.spec.id

    def wait(self, timeout: timedelta) -> Record:
        """Wait for its end.

        Raises:
            LoadError: it has not ended in time.
        """
        if self.record is None:
            event = self.sender.wait_for(
                lambda e: e["event"] == "done" and e["record"]["id"] == self.id, timeout, f"the end of {self}"
            )
            self.record = Record.from_json(event["record"])
        return self.record

    def has_ended_before(self, moment_s: float) -> bool:
        """Whether its end is known and was before `moment_s` on the monotonic clock."""
        event = self.sender.find(lambda e: e["event"] == "done" and e["record"]["id"] == self.id)
        return event is not None and event["record"]["ended_monotonic_s"] < moment_s

    def wait_for_tokens(self, tokens: int, timeout: timedelta) -> None:
        """Wait until it has streamed so many tokens.

        Raises:
            LoadError: it has not in time, or it ended before.
        """
        if self.record is not None:
            if self.record.output_tokens < tokens:
                raise Unanswered(f"{self} has ended before it had {tokens} tokens: {self.record.summary()}")
            return
        self.sender.command("watch", id=self.id, tokens=tokens)
        event = self.sender.wait_for(
            lambda e: e["event"] == "tokens" and e["id"] == self.id and e["tokens"] == tokens,
            timeout,
            f"{tokens} tokens of {self}",
        )
        if not event["reached"]:
            raise Unanswered(f"{self} has ended before it had {tokens} tokens; see {self.sender.records}")


class Engine(StrEnum):
    """Which program sends the requests of a load."""

    NATIVE = "native"
    """This library's own."""
    AIPERF = "aiperf"
    """NVIDIA's aiperf, if it is installed."""


class Load:
    """A load that was started, in a process of its own."""

    _keys = itertools.count()

    def __init__(
        self, plan: LoadPlan, directory: Path, engine: Engine = Engine.NATIVE, test: str = "", deployment: str = ""
    ) -> None:
        self.plan = plan
        if engine is Engine.AIPERF:
            find_aiperf()
            arguments_of(plan, "", directory)
        self.sender = SenderProcess(directory, _MODULES[engine])
        offset = utc_now().timestamp() - monotonic()
        state = LoadState.RUNNING
        self.folder = LoadFolder(directory, plan.name, plan, state, engine.value, {}, test, offset, deployment)
        self.folder.save()
        self.served: Served | None = None
        """Which replicas served its requests, once it has ended and they were found."""
        self._first_good_s = monotonic()
        self._given_up_s = 0.0
        self._lost = ""
        """What became of its process, if that was gone before its end."""

    @property
    def scope(self) -> str:
        """Full name of the test that it belongs to; empty: to its suite."""
        return self.folder.test

    @property
    def deployment(self) -> str:
        """Name of the deployment that it is sent to."""
        return self.folder.deployment

    @property
    def is_running(self) -> bool:
        """Whether it has not come to an end yet."""
        return self.folder.state is LoadState.RUNNING

    @property
    def now_s(self) -> float | None:
        """The present, if more may follow than is recorded; None when its last request has ended."""
        has_ended = not self.is_running or self.sender.find(lambda event: event["event"] == "finished") is not None
        return None if has_ended else monotonic()

    def start(self, tokenizer: str, timeout: timedelta, nothing_comes: Why = lambda: "") -> None:
        """Start it and wait for its first good response.

        Raises:
            LoadError: there was none in time, or it ended without one.
        """
        what = f"a good response to load '{self.plan.name}'"
        try:
            extra = {"tokenizer": tokenizer} if self.folder.engine == Engine.AIPERF else {}
            self.sender.command("load", plan=self.plan.to_json(), **extra)
            try:
                event = self.sender.wait_for(
                    lambda event: event["event"] in ("first", "finished"), timeout, what, nothing_comes=nothing_comes
                )
            except NothingComes:
                raise
            except Unanswered as late:
                self.give_up()
                waited = f"waited {timeout.total_seconds():g} s for {what}"
                raise Unanswered(f"{waited}; {self._what_came()}; see {self.folder.path}") from late
            if event["event"] == "finished":
                raise Unanswered(
                    f"load '{self.plan.name}' has ended without a good response; {self._first_failure(event)}"
                )
            self._first_good_s = monotonic()
        except BaseException:
            self.give_up()
            raise

    def _first_failure(self, finished: dict[str, Any]) -> str:
        if self.folder.engine == Engine.AIPERF:
            return finished["error"] or f"see {self.folder.path}"
        if "error" in finished:
            return f"it failed: {finished['error']}"
        first = next(iterate_records(self.sender.records), None)
        return f"its first: {first.summary()}" if first else "it sent no request"

    def _what_came(self) -> str:
        """How its requests have ended, and the first that failed."""
        if not self.sender.records.exists():
            return "no request has ended"
        counts: Counter[Outcome] = Counter()
        first: Record | None = None
        for record in iterate_records(self.sender.records):
            counts[record.outcome] += 1
            first = first or (record if record.outcome.is_error else None)
        hung = counts.pop(Outcome.CANCELLED, 0)
        came = ", ".join(f"{count} {outcome.value}" for outcome, count in counts.items())
        words = [
            f"instead came {came}" if came else "no request has ended",
            f"the first failure: {first.summary()}" if first else "",
            f"{hung} had no answer" if hung else "",
        ]
        return "; ".join(filter(None, words))

    def wait_for_good(self, count: int, timeout: timedelta, nothing_comes: Why = lambda: "") -> None:
        """Wait until so many requests that start from now on have ended well.

        Raises:
            LoadError: they have not in time, the load ends before, or its engine cannot tell.
        """
        if self.folder.engine == Engine.AIPERF:
            raise LoadError(f"load '{self.plan.name}' is sent by aiperf, which tells nothing while it runs")
        self.check_sender()
        if not self.is_running:
            raise LoadError(f"load '{self.plan.name}' has ended ({self.folder.state.words}), so no more requests come")
        key = next(self._keys)
        self.sender.command("await", count=count, key=key)
        what = f"{count} good requests of load '{self.plan.name}'"
        event = self.sender.wait_for(
            lambda e: e["event"] == "finished" or e.get("key") == key, timeout, what, nothing_comes=nothing_comes
        )
        if event["event"] == "finished":
            raise Unanswered(f"load '{self.plan.name}' has ended before it had {count} more good requests")

    def wait_until_run(self, duration: timedelta) -> None:
        """Wait until so much time has passed since its first good response.

        Raises:
            LoadError: it ends before.
        """
        most = self.plan.duration_s
        if most is not None and duration.total_seconds() > most:
            raise LoadError(
                f"load '{self.plan.name}' lasts {most:g} s, so it never has run for {duration.total_seconds():g} s"
            )
        due = self._first_good_s + duration.total_seconds()

        def end() -> float | None:
            event = self.sender.find(lambda e: e["event"] == "finished")
            return event["arrived_s"] if event is not None else None

        wait_until(lambda: end() is not None, due - monotonic(), 0.02)
        ended = end() if self.folder.state is not LoadState.GIVEN_UP else self._given_up_s
        if ended is not None and ended < due:
            raise Unanswered(f"load '{self.plan.name}' has ended before it had run for {duration.total_seconds():g} s")

    def stop(self) -> None:
        """Start no more requests.

        Raises:
            LoadError: its process is gone.
        """
        self.check_sender()
        self.sender.command("stop")

    def check_sender(self) -> None:
        """See that its process lives as long as it should; a load that has lost it is given up.

        Raises:
            LoadError: it is gone before its end.
        """
        if self.is_running and not self.sender.is_running and self.now_s is not None:
            self._lost = (
                f"load '{self.plan.name}' was aborted: its sending process {self.sender.pid} was gone before its end "
                f"({self.sender.how_it_ended}), so what it recorded is partial; see {self.sender.log}"
            )
            self.give_up()
        if self._lost:
            raise LoadError(self._lost)

    def wait(self, timeout: timedelta, on_progress: Callable[[dict[str, Any]], None] | None = None) -> None:
        """Wait until its last request has ended, end its process and write its exports.

        `on_progress` gets the sender's last word on how it goes, now and then.

        Raises:
            LoadError: it has not ended in time.
        """
        if not self.is_running:
            return
        try:
            event = self.sender.wait_for(
                lambda e: e["event"] == "finished", timeout, f"the end of load '{self.plan.name}'", on_progress
            )
        except Unanswered:
            raise
        except LoadError:
            self.sender.join()
            self.check_sender()
            raise
        self._end(LoadState.STOPPED if event["was_stopped"] else LoadState.COMPLETED, event["tally"])
        if event.get("error"):
            raise LoadError(f"load '{self.plan.name}' failed: {event['error']}")

    def give_up(self) -> None:
        """Cancel what is in flight and end its process, if it runs."""
        if self.is_running:
            self._given_up_s = monotonic()
            self._end(LoadState.GIVEN_UP, {})

    def table(self) -> Table:
        """Its records so far, those for warm-up left out.

        Raises:
            LoadError: there are none.
        """
        table = LoadFolder.read(self.folder.path).table if self.is_running else self.folder.table
        if not len(table):
            raise LoadError(f"load '{self.plan.name}' has no finished request yet ({self.folder.path})")
        return table

    def _end(self, state: LoadState, tally: dict[str, int]) -> None:
        self.sender.close(_PATIENCE[Engine(self.folder.engine)])
        self.folder.state, self.folder.tally = state, tally
        self.folder.save()
        with suppress(LoadError):  # without a record there is nothing to export
            self.folder.export()


_MODULES = {
    Engine.NATIVE: "DynamoFaultLibrary.load.sender",
    Engine.AIPERF: "DynamoFaultLibrary.load.aiperf",
}
_PATIENCE = {Engine.NATIVE: 5.0, Engine.AIPERF: 2 * PATIENCE + 5.0}
"""Seconds that a sending process has to end; aiperf's waits for aiperf."""
