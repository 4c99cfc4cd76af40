"""The sending process: reads commands on standard input, writes events on standard output, both as JSON lines.

| command | does |
|---|---|
| ``{"do": "request", "spec": …}`` | sends one request |
| ``{"do": "watch", "id": …, "tokens": n}`` | asks for the event ``tokens`` |
| ``{"do": "cancel", "id": …}`` | closes the connection of a request |
| ``{"do": "load", "plan": …}`` | starts the load |
| ``{"do": "await", "count": n, "key": …}`` | asks for the event ``good`` |
| ``{"do": "stop"}`` | starts no more requests of the load; those in flight end by themselves |

End of file means that whoever started us is gone: everything in flight is cancelled and recorded.

Events of requests: ``tokens`` (a watched number was reached, or with ``reached`` false the request ended first),
``done`` (with the record). Events of a load: ``first`` (its first good response), ``good`` (as many as were awaited),
``progress`` (each second), ``finished`` (with ``error`` when the load itself failed). Records go to the file named on
the command line at the end of the loop's turn in which they end, and always before an event that tells of them.
"""

import asyncio
import gc
import resource
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, BinaryIO

import orjson
import uvloop

from DynamoFaultLibrary.load.driver import Driver
from DynamoFaultLibrary.load.exchange import exchange, give_up_unsent
from DynamoFaultLibrary.load.http1 import Client
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Record, RequestSpec


class Output:
    """Records and events, in the order in which they are meant to be read."""

    def __init__(self, records: BinaryIO, events: BinaryIO) -> None:
        self._records = records
        self._events = events
        self._lines: list[bytes] = []

    def write(self, line: bytes) -> None:
        """Take a record. It is in the file after this turn of the loop, together with the others of the turn."""
        if not self._lines:
            asyncio.get_running_loop().call_soon(self.flush)
        self._lines.append(line)

    def flush(self) -> None:
        """Write the records that were taken. Without them a load would be judged by half of it: a failure ends us."""
        if self._lines:
            try:
                self._records.write(b"".join(self._lines))
                self._records.flush()
            except OSError as error:
                raise SystemExit(f"cannot write records: {error.strerror}") from error
            self._lines.clear()

    def emit(self, **event: Any) -> None:
        """Tell whoever started us."""
        self.flush()
        with suppress(BrokenPipeError):  # whoever listened is gone; end of file on standard input follows
            self._events.write(orjson.dumps(event, option=orjson.OPT_APPEND_NEWLINE))
            self._events.flush()


@dataclass
class _Flight:
    """A single request in flight, and the numbers of tokens that somebody waits for."""

    record: Record
    task: asyncio.Task[None]
    watched: list[int] = field(default_factory=list)


class Sender:
    """Sends single requests and one load, and records them."""

    def __init__(self, output: Output) -> None:
        self.client = Client()
        self.output = output
        self.flights: dict[str, _Flight] = {}
        self.driver: Driver | None = None
        self.ended: dict[str, int] = {}
        """Output tokens of single requests that have ended."""

    async def serve(self, commands: asyncio.StreamReader) -> None:
        """Obey commands until they end."""
        while line := await commands.readline():
            command = orjson.loads(line)
            getattr(self, f"do_{command.pop('do')}")(**command)
        tasks = [flight.task for flight in self.flights.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if self.driver is not None:
            await self.driver.give_up()
        await self.client.aclose()

    def do_request(self, spec: dict[str, Any]) -> None:
        """Send one request."""
        made = RequestSpec.from_json(spec)
        record = Record.of(made)
        task = asyncio.ensure_future(exchange(self.client, made, record, self._on_chunk))
        self.flights[made.id] = _Flight(record, task)
        task.add_done_callback(lambda _: self._note(record))  # also where it was cancelled before its first step

    def do_watch(self, id: str, tokens: int) -> None:  # noqa: A002  # the name on the wire
        """Tell when a request has streamed so many tokens, or has ended before that."""
        flight = self.flights.get(id)
        if flight is None:
            self.output.emit(event="tokens", id=id, tokens=tokens, reached=self.ended.get(id, 0) >= tokens)
        elif flight.record.output_tokens >= tokens:
            self.output.emit(event="tokens", id=id, tokens=tokens, reached=True)
        else:
            flight.watched.append(tokens)

    def do_cancel(self, id: str) -> None:  # noqa: A002  # the name on the wire
        """Close the connection of a request, if it has not ended."""
        if id in self.flights:
            self.flights[id].task.cancel()

    def do_load(self, plan: dict[str, Any]) -> None:
        """Start the load."""
        self.driver = Driver(LoadPlan.from_json(plan), self.output, self.output.emit)
        self.driver.start()

    def do_await(self, count: int, key: int) -> None:
        """Tell when so many requests of the load that start from now on have ended well."""
        if self.driver is not None:
            self.driver.await_good(count, key)

    def do_stop(self) -> None:
        """Start no more requests of the load."""
        if self.driver is not None:
            self.driver.stop()

    def _note(self, record: Record) -> None:
        flight = self.flights.pop(record.id)
        if not record.started_at:
            give_up_unsent(record)
        self.output.write(record.to_line())
        self.ended[record.id] = record.output_tokens
        for tokens in flight.watched:
            self.output.emit(event="tokens", id=record.id, tokens=tokens, reached=False)
        self.output.emit(event="done", record=record)

    def _on_chunk(self, record: Record) -> None:
        watched = self.flights[record.id].watched
        for tokens in [tokens for tokens in watched if tokens <= record.output_tokens]:
            watched.remove(tokens)
            self.output.emit(event="tokens", id=record.id, tokens=tokens, reached=True)


async def _main(records: str) -> None:
    commands = asyncio.StreamReader(limit=sys.maxsize)  # a prompt may be of any length
    gc.freeze()  # what was imported stays: looking through it again and again would cost each request
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))  # a connection has two descriptors
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(commands), sys.stdin)
    with open(records, "ab") as file:
        output = Output(file, sys.stdout.buffer)
        try:
            await Sender(output).serve(commands)
        finally:
            output.flush()


if __name__ == "__main__":
    uvloop.run(_main(sys.argv[1]))
