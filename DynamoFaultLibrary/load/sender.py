"""The sending process: reads commands on standard input, writes events on standard output, both as JSON lines.

Commands: ``{"do": "request", "spec": …}``, ``{"do": "watch", "id": …, "tokens": n}``, ``{"do": "cancel", "ids": […]}``,
``{"do": "load", "plan": …}``, ``{"do": "stop"}`` (no new requests; those in flight end by themselves). End of file
means that whoever started us is gone: everything in flight is cancelled and recorded.

Events: ``tokens`` (a watched number was reached, or with ``reached`` false the request ended first), ``done`` (with the
record); ``first`` (a load's first good response), ``finished`` (its end). Records go to the file named on the command
line, as they end, before their events.
"""

import asyncio
import itertools
import json
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, TextIO

import httpx
from httpx_aiohttp import AiohttpTransport

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.load.exchange import exchange
from DynamoFaultLibrary.load.plan import LoadPlan, prompt_of
from DynamoFaultLibrary.load.records import Record, RequestSpec


@dataclass
class _Flight:
    """A request in flight, and the numbers of tokens that somebody waits for."""

    record: Record
    task: asyncio.Task[None]
    watched: list[int] = field(default_factory=list)


class Sender:
    """Sends requests and records them."""

    def __init__(self, records: TextIO) -> None:
        self.client = httpx.AsyncClient(transport=AiohttpTransport(), trust_env=False)
        self.records = records
        self.flights: dict[str, _Flight] = {}
        self.stopping = asyncio.Event()
        self.load: asyncio.Task[None] | None = None
        self.has_answered = False
        self.ended: dict[str, int] = {}
        """Output tokens of single requests that have ended."""

    async def serve(self, commands: asyncio.StreamReader) -> None:
        """Obey commands until they end."""
        while line := await commands.readline():
            command = json.loads(line)
            getattr(self, f"do_{command.pop('do')}")(**command)
        self.stopping.set()
        tasks = [flight.task for flight in self.flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *([self.load] if self.load else []), return_exceptions=True)
        await self.client.aclose()

    def do_request(self, spec: dict[str, Any]) -> None:
        """Send one request."""
        self.launch(RequestSpec.from_json(spec), None)

    def do_watch(self, id: str, tokens: int) -> None:  # noqa: A002  # the name on the wire
        """Tell when a request has streamed so many tokens, or has ended before that."""
        flight = self.flights.get(id)
        if flight is None:
            _emit(event="tokens", id=id, tokens=tokens, reached=self.ended.get(id, 0) >= tokens)
        elif flight.record.output_tokens >= tokens:
            _emit(event="tokens", id=id, tokens=tokens, reached=True)
        else:
            flight.watched.append(tokens)

    def do_cancel(self, ids: list[str]) -> None:
        """Hang up on requests; those that have ended are left alone."""
        for flight in [self.flights[id] for id in ids if id in self.flights]:  # noqa: A001  # the name on the wire
            flight.task.cancel()

    def do_load(self, plan: dict[str, Any]) -> None:
        """Start the load."""
        self.load = asyncio.ensure_future(self._run_load(LoadPlan.from_json(plan)))

    def do_stop(self) -> None:
        """Start no more requests."""
        self.stopping.set()

    def launch(self, spec: RequestSpec, scheduled: float | None) -> asyncio.Task[None]:
        """Start one request; the task ends when it is recorded."""
        record = Record(
            id=spec.id,
            load=spec.load,
            client=spec.client,
            endpoint=spec.endpoint,
            streaming=spec.streaming,
            requested_tokens=spec.max_tokens,
            started_at="",
            started_monotonic_s=monotonic(),
            scheduled_monotonic_s=scheduled,
        )
        task = asyncio.ensure_future(self._send(spec, record))
        self.flights[spec.id] = _Flight(record, task)
        return task

    async def _send(self, spec: RequestSpec, record: Record) -> None:
        single = not spec.load
        try:
            await exchange(self.client, spec, record, self._on_chunk if single else _ignore)
        finally:
            flight = self.flights.pop(spec.id)
            data = record.to_json()
            if not single:
                data["text"] = ""
            self.records.write(json.dumps(data) + "\n")
            self.records.flush()
            if single:
                self.ended[spec.id] = record.output_tokens
                for tokens in flight.watched:
                    _emit(event="tokens", id=spec.id, tokens=tokens, reached=False)
                _emit(event="done", record=data)
            elif not self.has_answered and record.is_ok:
                self.has_answered = True
                _emit(event="first")

    def _on_chunk(self, record: Record) -> None:
        watched = self.flights[record.id].watched
        for tokens in [tokens for tokens in watched if tokens <= record.output_tokens]:
            watched.remove(tokens)
            _emit(event="tokens", id=record.id, tokens=tokens, reached=True)

    async def _run_load(self, plan: LoadPlan) -> None:
        numbers = itertools.count() if plan.total is None else iter(range(plan.total))
        timer = None
        if plan.duration_s is not None:
            timer = asyncio.get_running_loop().call_later(plan.duration_s, self.stopping.set)
        prompt = prompt_of(plan.input_tokens)

        def next_request(client: int, scheduled: float | None) -> asyncio.Task[None] | None:
            number = None if self.stopping.is_set() else next(numbers, None)
            if number is None:
                return None
            spec = RequestSpec(
                id=f"load-{plan.name}-{number}",
                url=plan.url,
                endpoint=plan.endpoint,
                model=plan.model,
                prompt=prompt,
                max_tokens=plan.output_tokens,
                streaming=plan.streaming,
                timeout_s=plan.timeout_s,
                check_sequence=plan.check_sequence,
                load=plan.name,
                client=client,
            )
            return self.launch(spec, scheduled)

        async def closed_loop(client: int) -> None:
            while task := next_request(client, None):
                await asyncio.gather(task, return_exceptions=True)

        if plan.request_rate:
            await self._open_loop(plan, next_request)
        else:
            await asyncio.gather(*(closed_loop(client) for client in range(plan.concurrency)))
        if timer:
            timer.cancel()
        _emit(event="finished", was_stopped=self.stopping.is_set() and plan.duration_s is None)

    async def _open_loop(self, plan: LoadPlan, next_request: Any) -> None:
        free = asyncio.Semaphore(plan.concurrency)
        running: set[asyncio.Task[None]] = set()
        began = monotonic()
        for number in itertools.count():
            due = began + number / (plan.request_rate or 1)
            with suppress(TimeoutError):
                await asyncio.wait_for(self.stopping.wait(), max(0.0, due - monotonic()))
            await free.acquire()
            task = next_request(number % plan.concurrency, due)
            if task is None:
                break
            running.add(task)
            task.add_done_callback(running.discard)
            task.add_done_callback(lambda _: free.release())
        await asyncio.gather(*running, return_exceptions=True)


def _ignore(record: Record) -> None:
    """Nobody watches the requests of a load."""


def _emit(**event: Any) -> None:
    try:
        sys.stdout.write(json.dumps(event) + "\n")
        sys.stdout.flush()
    except BrokenPipeError:
        pass  # whoever listened is gone; end of file on standard input follows


async def _main(records: str) -> None:
    commands = asyncio.StreamReader(limit=2**24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    with open(records, "a", encoding="utf-8") as file:
        await Sender(file).serve(commands)


if __name__ == "__main__":
    asyncio.run(_main(sys.argv[1]))
