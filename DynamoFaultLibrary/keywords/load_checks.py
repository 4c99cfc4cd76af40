"""Verdicts on a load, by the names that upstream's checks have."""

import re
from contextlib import suppress
from datetime import timedelta

import numpy as np
from robot.api.deco import keyword

from DynamoFaultLibrary.errors import DeploymentError, LoadError
from DynamoFaultLibrary.keywords.component import Component, Share
from DynamoFaultLibrary.keywords.figures import check_part, failed_records, place_of
from DynamoFaultLibrary.keywords.loads import DEFAULT
from DynamoFaultLibrary.keywords.observation import new_text
from DynamoFaultLibrary.load import statistics
from DynamoFaultLibrary.load.folder import LoadState
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.load.windows import Segment
from DynamoFaultLibrary.words import counted

ReplicaName = str | int | None
_REJECTED = (503, 529)
"""Older Dynamo answers 503, 1.4 answers 529 (``Service temporarily overloaded``)."""
_GIVEN_UP = (408, 499, 504)
"""Statuses that upstream's check counts as well."""
_REJECTION = re.compile(r"Service temporarily overloaded|Status code: 503|TrySendError::Full")


class LoadCheckKeywords(Component):
    """Checks of a load that has ended: what still hangs could fail yet."""

    @keyword(tags=["Check", "Load"])
    def load_should_have_zero_errors(
        self,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails when a request of the load, or of a part of it, failed, and shows the first one.

        Short for `Get Error Count` ``== 0`` on a load that has ended.
        """
        self.load_should_have_at_most_errors(0, load, part, fault, replica)

    @keyword(tags=["Check", "Load"])
    def load_should_have_at_most_errors(
        self,
        max_errors: int,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails when more than ``max_errors`` requests of the load, or of a part of it, failed; shows the first one.

        Short for `Get Error Count` ``<= max_errors`` on a load that has ended.
        """
        segment = self._segment(load, part, fault, replica)
        figures = segment.figures
        if figures.failed > max_errors:
            raise AssertionError(
                f"{place_of(load, part, replica)} has {counted(figures.failed, 'failed request')} {figures.errors}, "
                f"at most {max_errors} expected; {self._first_error(load, segment)} "
                f"(all: {self.context.load(load).folder.path})"
            )

    @keyword(tags=["Check", "Load"])
    def load_should_have_at_least_requests(
        self,
        min_count: int,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails when the load has fewer than ``min_count`` good requests so far.

        Short for `Get Good Request Count` ``>= min_count``.
        """
        check_part(self, load, part, fault)
        good = self.context.look(load, part, fault, replica)[1].figures.good
        if good < min_count:
            place = place_of(load, part, replica)
            raise AssertionError(f"{place} has {counted(good, 'good request')}, at least {min_count} expected")

    @keyword(tags=["Check", "Load"])
    def load_should_have_success_rate(
        self,
        min_rate: Share,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails when fewer than ``min_rate`` (0 to 1, or a percentage) of the load's requests were good.

        Short for `Get Success Rate` ``>= min_rate`` on a load that has ended.

        Example:
        | `Load Should Have Success Rate` | 0.9 |
        | `Load Should Have Success Rate` | 99.5% | part=after |
        """
        least = Share.check("min_rate", min_rate)  # type: ignore[arg-type]  # Robot has converted it to a number
        segment = self._segment(load, part, fault, replica)
        rate = segment.figures.success_rate
        if rate is None or rate < least:
            seen = "no request counts" if rate is None else f"only {rate:.4f} of its requests were good"
            raise AssertionError(
                f"{place_of(load, part, replica)}: {seen}, at least {least:g} expected; "
                f"{self._first_error(load, segment)}"
            )

    @keyword(tags=["Check", "Load"])
    def load_should_have_been_stopped(self, load: str = DEFAULT) -> None:
        """Fails unless the load was stopped before its end (upstream's ``WasCancelled``, now ``LoadStopped``)."""
        state = self._ended(load)
        if state is LoadState.COMPLETED:
            raise AssertionError(f"load '{load}' should have been stopped, but came to its end by itself")

    @keyword(tags=["Check", "Load"])
    def load_should_have_completed(self, load: str = DEFAULT) -> None:
        """Fails unless the load came to its end by itself (``WasCancelled(expected=False)``, now ``LoadCompleted``)."""
        state = self._ended(load)
        if state is not LoadState.COMPLETED:
            raise AssertionError(f"load '{load}' should have come to its end by itself, but was {state.words}")

    @keyword(tags=["Check", "Load"])
    def load_should_have_been_applied(
        self,
        min_requests: int = 100,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails when fewer than ``min_requests`` requests ended, good or failed: then nothing was tested."""
        figures = self._segment(load, part, fault, replica).figures
        if figures.good + figures.failed < min_requests:
            raise AssertionError(
                f"{place_of(load, part, replica)} has {figures.good} good and {figures.failed} failed requests, "
                f"at least {min_requests} together expected"
            )

    @keyword(tags=["Check", "Load"])
    def load_should_have_cancelled_requests(
        self, min_count: int = 10, load: str = DEFAULT, part: str | None = None, fault: str | None = None
    ) -> None:
        """Fails when fewer than ``min_count`` requests were cancelled, ran out of time, or got 408, 499 or 504.

        It takes no ``replica``: who would have served a request that has no answer is not known.
        """
        segment = self._segment(load, part, fault)
        figures = segment.figures
        late = figures.errors.get(Outcome.TIMEOUT.value, 0)
        closed = int(np.isin(segment.rows.status, _GIVEN_UP).sum())
        if figures.cancelled + late + closed < min_count:
            raise AssertionError(
                f"{place_of(load, part)} has {figures.cancelled} cancelled requests, {late} that ran out of time and "
                f"{closed} with status {_GIVEN_UP}, at least {min_count} together expected"
            )

    @keyword(tags=["Check", "Load"])
    def load_should_have_been_rejected(
        self, min_count: int = 1, load: str = DEFAULT, part: str | None = None, fault: str | None = None
    ) -> None:
        """Fails when fewer than ``min_count`` requests of the load were answered with status 503 or 529.

        A frontend rejects when all workers are busy; Dynamo 1.4 answers 529, older ones 503. The logs are searched as
        well: what they say of rejections is shown, but only responses count. It takes no ``replica``: the frontend
        rejects, so no replica has served those requests.

        Example:
        | `Load Should Have Been Rejected` | 100 | load=flood | part=overflow |
        """
        segment = self._segment(load, part, fault)
        count = int(np.isin(segment.rows.status, _REJECTED).sum())
        for line in self._log_lines()[:3]:
            self.info(f"rejection in a log: {line}")
        if count < min_count:
            raise AssertionError(
                f"{place_of(load, part)} has {count} responses with status 503 or 529, at least {min_count} expected; "
                f"its outcomes: {segment.figures.errors or 'no errors'}"
            )

    @keyword(tags=["Check", "Load"])
    def throughput_should_have_collapsed(
        self,
        duration: timedelta = timedelta(seconds=30),
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails unless there was no good response for ``duration`` although requests of the load were in flight.

        Short for `Get Longest Outage` ``>= duration`` on a load that has ended.
        """
        segment = self._segment(load, part, fault, replica)
        table, _ = self.context.look(load, replica=replica)
        longest = statistics.longest_outage(table, segment.start_s, segment.end_s)
        if longest < duration.total_seconds():
            raise AssertionError(
                f"{place_of(load, part, replica)} was without a good response for {longest:.2f} s at most while "
                f"requests were in flight, at least {duration.total_seconds():g} s expected"
            )

    @keyword(tags=["Check", "Load"])
    def load_should_meet_sla(
        self,
        *,
        latency: timedelta | None = None,
        time_to_first_token: timedelta | None = None,
        percentile: float = 99,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails when a percentile of latency or time to first token is above its limit.

        Example:
        | `Load Should Meet Sla` | latency=2 s | time_to_first_token=200 ms |
        """
        breaches = self._breaches(latency, time_to_first_token, percentile, load, part, fault, replica)
        if breaches:
            raise AssertionError(f"{place_of(load, part, replica)} breaks its SLA: {'; '.join(breaches)}")

    @keyword(tags=["Check", "Load"])
    def load_should_violate_sla(
        self,
        *,
        latency: timedelta | None = None,
        time_to_first_token: timedelta | None = None,
        percentile: float = 99,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails unless a percentile of latency or time to first token is above its limit: the overload was real."""
        breaches = self._breaches(latency, time_to_first_token, percentile, load, part, fault, replica)
        if not breaches:
            raise AssertionError(f"{place_of(load, part, replica)} should break its SLA, but keeps it")
        self.info("; ".join(breaches))

    @keyword(tags=["Check", "Load"])
    def load_should_have_shape(
        self,
        *,
        min_prompts: int = 1,
        max_prompts: int | None = None,
        min_input_tokens: float = 0,
        max_input_tokens: float | None = None,
        load: str = DEFAULT,
        part: str | None = None,
        fault: str | None = None,
        replica: ReplicaName = None,
    ) -> None:
        """Fails unless the load had so many different prompts, and a mean input length in those limits.

        Example:
        | `Load Should Have Shape` | min_prompts=100 | min_input_tokens=480 | max_input_tokens=544 |
        """
        table = self._segment(load, part, fault, replica).rows
        prompts, tokens = len(np.unique(table.prompt)), float(table.input_tokens.mean())
        most_prompts = prompts if max_prompts is None else max_prompts
        most_tokens = tokens if max_input_tokens is None else max_input_tokens
        if not (min_prompts <= prompts <= most_prompts and min_input_tokens <= tokens <= most_tokens):
            raise AssertionError(
                f"{place_of(load, part, replica)} has {prompts} different prompts of {tokens:.1f} tokens on average; "
                f"expected {min_prompts} to {max_prompts or 'any number of'} prompts, {min_input_tokens:g} to "
                f"{'any number of' if max_input_tokens is None else f'{max_input_tokens:g}'} tokens"
            )

    def _ended(self, load: str) -> LoadState:
        known = self.context.load(load)
        known.check_sender()
        if known.is_running:
            raise LoadError(f"load '{load}' still runs; call 'Wait For Load Completion' or 'Stop Load' first")
        return known.folder.state

    def _segment(
        self, load: str, part: str | None = None, fault: str | None = None, replica: ReplicaName = None
    ) -> Segment:
        self._ended(load)
        check_part(self, load, part, fault)
        _, segment = self.context.look(load, part, fault, replica)
        if not len(segment.rows):
            raise LoadError(
                f"{place_of(load, part, replica)} has no request that ended: there is nothing to judge; "
                f"see {self.context.load(load).folder.path}"
            )
        return segment

    def _first_error(self, load: str, segment: Segment) -> str:
        if not self.context.load(load).sender.records.exists():
            return f"see {self.context.load(load).folder.path}"
        first = next(failed_records(self, load, segment), None)
        return f"the first: {first.id}: {first.summary()}" if first else "none failed"

    def _breaches(
        self,
        latency: timedelta | None,
        first_token: timedelta | None,
        percentile: float,
        load: str,
        part: str | None,
        fault: str | None,
        replica: ReplicaName,
    ) -> list[str]:
        if latency is None and first_token is None:
            raise LoadError("an SLA needs a limit: latency, time_to_first_token or both")
        statistics.check_percentile(percentile)
        rows = self._segment(load, part, fault, replica).rows
        found = []
        for what, limit, values in (
            ("latency", latency, statistics.latencies(rows)),
            ("time to first token", first_token, statistics.first_token_times(rows)),
        ):
            if limit is None:
                continue
            if not len(values):
                raise LoadError(
                    f"{place_of(load, part, replica)} has no good request to compute its {what} from: there is "
                    f"nothing to judge; see {self.context.load(load).folder.path}"
                )
            seen = statistics.percentile(values, percentile)
            if seen > limit.total_seconds():
                found.append(f"p{percentile:g} {what} is {seen:.3f} s, the limit {limit.total_seconds():g} s")
        return found

    def _log_lines(self) -> list[str]:
        deployment = self.context.deployment
        found: list[str] = []
        for log in [log for each in deployment.graph.services for log in self.context.platform.logs(deployment, each)]:
            with suppress(DeploymentError):  # an empty one has nothing to show
                log.flush()
                found += [line for line in new_text(self.context, log).splitlines() if _REJECTION.search(line)]
        return found
