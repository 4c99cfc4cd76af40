"""Drives a load: starts its requests when they are due, records them as they end, tells how it goes."""

import asyncio
import itertools
import math
import random
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from typing import BinaryIO

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.load.arrivals import due_times
from DynamoFaultLibrary.load.exchange import exchange, http_client
from DynamoFaultLibrary.load.plan import ConnectionReuse, LoadPlan
from DynamoFaultLibrary.load.records import Outcome, Record
from DynamoFaultLibrary.load.workload import RequestMaker

PROGRESS_INTERVAL = 1.0


@dataclass
class Tally:
    """How a load goes; warm-up is not counted."""

    started: int = 0
    good: int = 0
    errors: int = 0
    cancelled: int = 0
    unsent: int = 0
    """Requests that were due before the end of an open-loop load, but found all `concurrency` clients busy."""

    @property
    def ended(self) -> int:
        """Requests that have ended in whatever way."""
        return self.good + self.errors + self.cancelled

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


class Driver:
    """One load, as a set of tasks."""

    def __init__(self, plan: LoadPlan, records: BinaryIO, emit: Callable[..., None]) -> None:
        self.plan = plan
        self.tally = Tally()
        self._records = records
        self._emit = emit
        self._client = http_client(reuse_connections=plan.connections is ConnectionReuse.POOLED)
        self._maker = RequestMaker(plan)
        self._stopping = asyncio.Event()
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

    async def give_up(self) -> None:
        """Cancel what is in flight and end."""
        self.stop()
        for flight in self._flights:
            flight.cancel()
        if self._task is not None:
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        await self._warm_up()
        self._began = monotonic()
        loop = asyncio.get_running_loop()
        timer = loop.call_later(self.plan.duration_s, self._time_is_up) if self.plan.duration_s is not None else None
        teller = asyncio.ensure_future(self._tell_progress())
        try:
            await (self._open_loop() if self.plan.request_rate else self._closed_loop())
        finally:
            teller.cancel()
            if timer is not None:
                timer.cancel()
            await self._client.aclose()
        self._emit(event="finished", was_stopped=self._was_stopped, tally=self.tally)

    async def _warm_up(self) -> None:
        numbers = iter(range(self.plan.warmup_requests))

        async def client(number: int) -> None:
            while not self._stopping.is_set() and next(numbers, None) is not None:
                await self._ended(self._launch(number, warmup=True))

        await asyncio.gather(*(client(number) for number in range(self.plan.concurrency)))

    async def _closed_loop(self) -> None:
        async def client(number: int) -> None:
            await self._pause(self.plan.ramp_s * number / self.plan.concurrency)
            while (task := self._next(number)) is not None:
                await self._ended(task)

        await asyncio.gather(*(client(number) for number in range(self.plan.concurrency)))

    async def _open_loop(self) -> None:
        plan = self.plan
        free = asyncio.Semaphore(plan.concurrency)
        chance = random.Random(plan.seed)  # noqa: S311  # a repeatable schedule, not secrets
        due = due_times(plan.request_rate or 1.0, plan.arrival, plan.ramp_s, chance)
        for number, seconds in enumerate(due):
            await self._pause(self._began + seconds - monotonic())
            await free.acquire()
            task = self._next(number % plan.concurrency, self._began + seconds)
            if task is None:
                self._count_unsent(itertools.chain([seconds], due))
                break
            task.add_done_callback(lambda _: free.release())
        await asyncio.gather(*self._flights, return_exceptions=True)

    def _count_unsent(self, due: Iterator[float]) -> None:
        if self._left != 0:
            overdue = itertools.takewhile(lambda seconds: self._began + seconds <= self._stopped_s, due)
            self.tally.unsent = sum(1 for _ in itertools.islice(overdue, self._left))

    async def _pause(self, seconds: float) -> None:
        """Wait so long, or until the load is stopped."""
        if seconds > 0:
            with suppress(TimeoutError):
                async with asyncio.timeout(seconds):
                    await self._stopping.wait()

    def _next(self, client: int, scheduled: float | None = None) -> asyncio.Task[None] | None:
        """Start the next request, if there is to be one more."""
        if self._stopping.is_set() or self._left == 0:
            return None
        if self._left is not None:
            self._left -= 1
        return self._launch(client, scheduled)

    def _launch(self, client: int, scheduled: float | None = None, *, warmup: bool = False) -> asyncio.Task[None]:
        spec = self._maker.make(client, warmup)
        record = Record.of(spec, scheduled)
        if not warmup:
            self.tally.started += 1
        task = asyncio.ensure_future(exchange(self._client, spec, record, _ignore))
        self._flights.add(task)
        task.add_done_callback(lambda ended: self._note(ended, record))
        if spec.cancel_after_s is not None:
            asyncio.get_running_loop().call_later(spec.cancel_after_s, task.cancel)
        return task

    @staticmethod
    async def _ended(task: asyncio.Task[None]) -> None:
        await asyncio.wait([task])

    def _note(self, task: asyncio.Task[None], record: Record) -> None:
        self._flights.discard(task)
        if not record.started_at:
            return  # given up before it began
        record.text = ""
        self._records.write(record.to_line())
        self._records.flush()
        if record.warmup:
            return
        self.tally.count(record)
        if not record.is_ok:
            return
        if self.tally.good == 1:
            self._emit(event="first")
        for awaited in self._awaited:
            if record.started_monotonic_s >= awaited.since_s:
                awaited.left -= 1
                if awaited.left == 0:
                    self._emit(event="good", key=awaited.key)

    async def _tell_progress(self) -> None:
        for number in itertools.count(1):
            await asyncio.sleep(max(0.0, self._began + number * PROGRESS_INTERVAL - monotonic()))
            self._emit(event="progress", tally=self.tally, elapsed_s=monotonic() - self._began)


def _ignore(record: Record) -> None:
    """Nobody watches the requests of a load."""
