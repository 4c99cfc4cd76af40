"""Drives a load: starts its requests when they are due, records them as they end, tells how it goes."""

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.load.alarm import Alarm, full
from DynamoFaultLibrary.load.arrivals import due_times
from DynamoFaultLibrary.load.exchange import exchange, give_up_unsent
from DynamoFaultLibrary.load.http1 import Client
from DynamoFaultLibrary.load.plan import ConnectionReuse, LoadPlan
from DynamoFaultLibrary.load.records import Outcome, Record, RequestSpec
from DynamoFaultLibrary.load.workload import RequestMaker

PROGRESS_INTERVAL = 1.0
_Made = tuple[RequestSpec, Record]
"""A request and its record to be."""


@dataclass
class Tally:
    """How a load goes; warm-up is not counted."""

    started: int = 0
    good: int = 0
    errors: int = 0
    cancelled: int = 0
    unsent: int = 0
    """Requests that were due before the end of an open-loop load, but found all `concurrency` clients busy."""

    def count(self, record: Record) -> None:
        """Count a request that has ended."""
        if record.is_ok:
            self.good += 1
        elif record.outcome is Outcome.CANCELLED:
            self.cancelled += 1
        else:
            self.errors += 1


@dataclass
class _Awaited:
    """Somebody waits for `left` more good requests among those that started at `since_s` or later."""

    key: int
    since_s: float
    left: int


class Lines(Protocol):
    """Where records are written, a line each. What `emit` tells of them comes after them."""

    def write(self, line: bytes, /) -> Any:
        """Take one."""


@dataclass
class _Flight:
    """A request that was started."""

    record: Record
    task: asyncio.Task[None]
    ended: asyncio.Future[Record]
    """Done when it is recorded, however it ended."""
    given_up: asyncio.TimerHandle | None = None
    """When it is cancelled on purpose."""


class Driver:
    """One load, as a set of tasks."""

    def __init__(self, plan: LoadPlan, records: Lines, emit: Callable[..., None]) -> None:
        self.plan = plan
        self.tally = Tally()
        self._records = records
        self._emit = emit
        self._client = Client(reuse_connections=plan.connections is ConnectionReuse.POOLED)
        self._maker = RequestMaker(plan)
        self._stopping = asyncio.Event()
        self._over = asyncio.Event()
        """No request follows: it was stopped, its time is up, or all have started."""
        self._stopped_s = math.inf
        self._was_stopped = False
        self._flights: set[asyncio.Task[None]] = set()
        self._left = plan.total
        self._began = monotonic()
        self._task: asyncio.Task[None] | None = None
        self._awaited: list[_Awaited] = []

    def start(self) -> None:
        """Begin."""
        self._task = asyncio.ensure_future(self._run())

    def await_good(self, count: int, key: int) -> None:
        """Tell when so many requests that start from now on have ended well."""
        self._awaited.append(_Awaited(key, monotonic(), count))

    def stop(self) -> None:
        """Start no more requests; after the load's own end, or once all have started, this changes nothing."""
        self._was_stopped = self._was_stopped or not (self._stopping.is_set() or self._left == 0)
        self._time_is_up()

    def _time_is_up(self) -> None:
        if not self._stopping.is_set():
            self._stopped_s = monotonic()
            self._stopping.set()
            self._over.set()

    async def give_up(self) -> None:
        """Cancel what is in flight and end."""
        self.stop()
        await self._cancel_flights()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _cancel_flights(self) -> None:
        for flight in self._flights:
            flight.cancel()
        await asyncio.gather(*self._flights, return_exceptions=True)

    async def _run(self) -> None:
        failure: dict[str, str] = {}
        try:
            await self._warm_up()
            self._began = monotonic()
            await self._send()
        except Exception as error:  # whoever waits for the end must hear of it
            failure["error"] = f"{type(error).__name__}: {error}"
            self._time_is_up()
            await self._cancel_flights()
        finally:
            await self._client.aclose()
        self._emit(event="finished", was_stopped=self._was_stopped, tally=self.tally, **failure)

    async def _send(self) -> None:
        loop = asyncio.get_running_loop()
        timer = (
            loop.call_later(full(self.plan.duration_s), self._time_is_up) if self.plan.duration_s is not None else None
        )
        teller = asyncio.ensure_future(self._tell_progress())
        try:
            await (self._open_loop() if self.plan.request_rate else self._closed_loop())
        finally:
            teller.cancel()
            if timer is not None:
                timer.cancel()

    async def _warm_up(self) -> None:
        left = self.plan.warmup_requests

        async def client(number: int) -> None:
            nonlocal left
            while left and not self._stopping.is_set():
                left -= 1
                record = await self._launch(self._make(number, warmup=True)).ended
                if left:
                    await self._pause(self._rest_after(record), self._stopping)

        await asyncio.gather(*(client(number) for number in range(self.plan.concurrency)))

    async def _closed_loop(self) -> None:
        async def client(number: int) -> None:
            await self._pause(self.plan.ramp_s * number / self.plan.concurrency, self._over)
            while not self._over.is_set() and (flight := self._next(self._make(number))) is not None:
                record = await flight.ended
                await self._pause(self._rest_after(record), self._over)

        await asyncio.gather(*(client(number) for number in range(self.plan.concurrency)))

    def _rest_after(self, record: Record) -> float:
        """Seconds that a client waits before its next request."""
        refused = record.outcome is Outcome.CONNECTION and record.status is None
        return max(self.plan.think_time_s, self.plan.refused_pause_s if refused else 0.0)

    async def _open_loop(self) -> None:
        plan = self.plan
        free = asyncio.Semaphore(plan.concurrency)
        chance = random.Random(plan.seed)  # noqa: S311  # a repeatable schedule, not secrets
        due = due_times(plan.request_rate or 1.0, plan.arrival, plan.ramp_s, chance)
        with Alarm(self._over) as alarm:
            for number, seconds in enumerate(due):
                made = self._make(
                    number % plan.concurrency, self._began + seconds
                )  # ahead: no time is lost when it is due
                await alarm.wait_until(self._began + seconds)
                if not self._over.is_set():
                    await free.acquire()
                flight = self._next(made)
                if flight is None:
                    self._count_unsent(itertools.chain([seconds], due))
                    break
                flight.task.add_done_callback(lambda _: free.release())
                for _ in range(2):  # turns of the loop: it is prepared, it is written; only then comes the next one
                    await asyncio.sleep(0)
        await asyncio.gather(*self._flights, return_exceptions=True)

    def _count_unsent(self, due: Iterator[float]) -> None:
        if self._left != 0:
            overdue = itertools.takewhile(lambda seconds: self._began + seconds <= self._stopped_s, due)
            self.tally.unsent = sum(1 for _ in itertools.islice(overdue, self._left))

    @staticmethod
    async def _pause(seconds: float, unless: asyncio.Event) -> None:
        """Wait so long, or until nothing is left to wait for."""
        if seconds > 0 and not unless.is_set():
            with suppress(TimeoutError):
                async with asyncio.timeout(full(seconds)):
                    await unless.wait()

    def _make(self, client: int, scheduled: float | None = None, *, warmup: bool = False) -> _Made:
        spec = self._maker.make(client, warmup)
        return spec, Record.of(spec, scheduled)

    def _next(self, made: _Made) -> _Flight | None:
        """Start a request, if there is to be one more."""
        if self._stopping.is_set() or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
            if self._left == 0:
                self._over.set()
        return self._launch(made)

    def _launch(self, made: _Made) -> _Flight:
        spec, record = made
        if not spec.warmup:
            self.tally.started += 1
        task = asyncio.ensure_future(exchange(self._client, spec, record, _ignore))
        flight = _Flight(record, task, asyncio.get_running_loop().create_future())
        self._flights.add(task)
        task.add_done_callback(lambda _: self._note(flight))
        if spec.cancel_after_s is not None:
            flight.given_up = asyncio.get_running_loop().call_later(full(spec.cancel_after_s), task.cancel)
        return flight

    def _note(self, flight: _Flight) -> None:
        record = flight.record
        self._flights.discard(flight.task)
        if flight.given_up is not None:
            flight.given_up.cancel()
        if not record.started_at:
            give_up_unsent(record)
        record.text = ""
        self._records.write(record.to_line())
        flight.ended.set_result(record)
        if record.warmup:
            return
        self.tally.count(record)
        if record.is_ok:
            if self.tally.good == 1:
                self._emit(event="first")
            self._tell_awaited(record)

    def _tell_awaited(self, record: Record) -> None:
        for awaited in [each for each in self._awaited if record.started_monotonic_s >= each.since_s]:
            awaited.left -= 1
            if awaited.left == 0:
                self._awaited.remove(awaited)
                self._emit(event="good", key=awaited.key)

    async def _tell_progress(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(full(max(0.0, self._began + number * PROGRESS_INTERVAL - monotonic())))
            self._emit(event="progress", tally=self.tally, elapsed_s=monotonic() - self._began)


def _ignore(record: Record) -> None:
    """Nobody watches the requests of a load."""
