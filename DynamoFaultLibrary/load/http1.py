"""HTTP/1.1 as the load engine needs it: POST requests over TCP and TLS, each judged as its bytes arrive.

Nothing is hidden from whoever measures: no redirect is followed, no proxy of the environment is used, and a request
that was written is never sent again. A server that dies with a request in its hands looks just like one that closed an
idle connection in that moment, so a silent second try could hide a lost request. Instead an idle connection is looked
at right before it is used, and replaced when the server has closed it.
"""

import asyncio
import select
import ssl
from collections import defaultdict
from functools import cached_property
from typing import Protocol, cast

from httptools import HttpParserError, HttpParserUpgrade, HttpResponseParser

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.load.address import Address
from DynamoFaultLibrary.load.stamps import Reader

CONNECT_TIMEOUT = 30.0
"""Seconds that a connection may take, TLS included."""
DRAIN_TIMEOUT = 0.1
"""Seconds that a server has to end an answer of which nothing more is wanted; then its connection is closed."""
MOST_OF_HEAD = 65536
"""Bytes that the status line and headers of an answer may have."""
_HUNG_UP = select.POLLRDHUP | select.POLLHUP | select.POLLERR


class ExchangeError(Exception):
    """There was no connection, it broke before the answer's end, or what came was not HTTP."""


class ConnectTimeoutError(ExchangeError):
    """No connection was made in time."""


class Sink(Protocol):
    """Takes an answer as it arrives."""

    sent: bool
    """Set when there is a connection for the request."""
    is_over: bool
    """Nothing that may still come is wanted."""

    def status(self, code: int) -> None:
        """The final status: the first thing that is told of an answer."""

    def body(self, data: bytes, at_s: float) -> None:
        """A piece of the body came at `at_s`. What it raises ends the request and closes its connection."""

    def end(self, at_s: float) -> None:
        """The answer was whole at `at_s`."""


class Client:
    """Sends requests over connections that it keeps; with `reuse_connections` false each gets its own."""

    def __init__(self, *, reuse_connections: bool = True) -> None:
        self._reuse = reuse_connections
        self._idle: dict[tuple[str, int, bool], list[_Connection]] = defaultdict(list)
        self._persistence = b"" if reuse_connections else b"connection: close\r\n"

    async def __aenter__(self) -> "Client":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.aclose()

    async def post(self, address: Address, headers: bytes, body: bytes, sink: Sink) -> None:
        """Send a request and feed its answer to `sink`; return at the answer's end.

        `headers` are whole lines. Whatever is raised, a cancel too, closes the connection at once, so that the server
        sees that nobody waits any more.

        Raises:
            ExchangeError: there was no connection, it broke before the answer's end, or what came was not HTTP.
        """
        idle = self._idle[address.origin]
        connection = self._take(idle) or await self._connect(address)
        sink.sent = True
        length = b"content-length: %d\r\n\r\n" % len(body)
        try:
            await connection.send(b"".join((address.head, headers, self._persistence, length, body)), sink)
        except BaseException:
            connection.abort()
            raise
        if self._reuse and connection.is_reusable:
            idle.append(connection)
        else:
            connection.abort()

    async def aclose(self) -> None:
        """Close the connections that are idle."""
        for idle in self._idle.values():
            while idle:
                idle.pop().abort()
        await asyncio.sleep(0)  # uvloop closes sockets in the loop's next turn

    @staticmethod
    def _take(idle: list["_Connection"]) -> "_Connection | None":
        while idle:
            connection = idle.pop()
            if connection.is_fresh():
                return connection
            connection.abort()
        return None

    async def _connect(self, address: Address) -> "_Connection":
        loop = asyncio.get_running_loop()
        tls = self._tls if address.is_tls else None
        try:
            async with asyncio.timeout(CONNECT_TIMEOUT):
                _, connection = await loop.create_connection(
                    lambda: _Connection(address), address.host, address.port, ssl=tls
                )
        except TimeoutError as error:
            if error.errno is not None:  # the kernel's own word: it gave up asking
                raise ConnectTimeoutError(f"no connection to {address}: {error.strerror}") from error
            raise ConnectTimeoutError(f"no connection to {address} within {CONNECT_TIMEOUT:g} s") from error
        except ConnectionRefusedError as error:
            raise ExchangeError(f"{address} refused the connection") from error
        except ssl.SSLCertVerificationError as error:
            raise ExchangeError(f"no TLS connection to {address}: {error.verify_message}") from error
        except ssl.SSLError as error:
            raise ExchangeError(f"no TLS connection to {address}: {error.reason or error}") from error
        except ConnectionError as error:
            raise ExchangeError(f"{address} broke the connection while it was made ({_words(error)})") from error
        except (OSError, UnicodeError) as error:  # UnicodeError: a name that cannot be looked up
            raise ExchangeError(f"no connection to {address}: {_words(error)}") from error
        if not address.is_tls:
            try:
                connection.read_stamps()
            except OSError as error:
                connection.abort()
                raise ExchangeError(f"no connection to {address}: {_words(error)}") from error
        return connection

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        context = ssl.create_default_context()  # knows SSL_CERT_FILE and SSL_CERT_DIR
        context.set_alpn_protocols(["http/1.1"])
        return context


def _words(error: BaseException) -> str:
    return (error.strerror if isinstance(error, OSError) else "") or str(error) or type(error).__name__


class _Connection(asyncio.Protocol):
    """A connection: one request at a time."""

    def __init__(self, address: Address) -> None:
        self.is_reusable = True
        self._address = address
        self._transport: asyncio.Transport
        self._reader: Reader | None = None
        self._at_s = 0.0
        """When the last bytes came."""
        self._parser = HttpResponseParser(self)
        self._poll = select.poll()
        self._sink: Sink | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._drain: asyncio.TimerHandle | None = None
        self._is_closed = False
        self._failure: Exception | None = None
        self._head_bytes = self._body_bytes = 0
        self._head_done = self._complete = self._ends_with_connection = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)  # uvloop's derive from no class of asyncio
        # Under TLS there may be something to read that is no answer (session tickets).
        events = _HUNG_UP if self._address.is_tls else _HUNG_UP | select.POLLIN
        self._poll.register(transport.get_extra_info("socket").fileno(), events)

    def read_stamps(self) -> None:
        """Read the socket ourselves from now on, with the kernel's times. TLS leaves none: records are read whole."""
        if not self._is_closed:
            self._transport.pause_reading()
            number = self._transport.get_extra_info("socket").fileno()
            self._reader = Reader(asyncio.get_running_loop(), number, self)

    def is_fresh(self) -> bool:
        """Whether the server has neither closed it nor said something unasked while it was idle."""
        return not self._is_closed and not self._poll.poll(0)

    def send(self, data: bytes, sink: Sink) -> asyncio.Future[None]:
        """Write a request. The future ends with its answer, which goes to `sink`."""
        self._sink = sink
        self._head_bytes = self._body_bytes = 0
        self._head_done = self._complete = False
        self._waiter = asyncio.get_running_loop().create_future()
        if self._is_closed:
            self._end(ExchangeError(f"{self._address} closed the connection before it was sent anything"))
        else:
            self._transport.write(data)
        return self._waiter

    def abort(self) -> None:
        """Close the socket, whatever is still to be written or read."""
        self._end(None)
        if not self._is_closed:
            self._is_closed = True
            self._stop_reading()
            self._transport.abort()

    # What the event loop calls.

    def data_received(self, data: bytes) -> None:
        """Bytes were read by the event loop."""
        self.take(data, monotonic())

    def connection_lost(self, exc: Exception | None) -> None:
        """The connection is closed: by us, by the server, or by force."""
        self._stop_reading()
        self._is_closed, self.is_reusable = True, False
        self._tell_lost(exc)

    # What the reader calls, and the event loop through the above.

    def lose(self, error: OSError | None) -> None:
        """Nothing more comes."""
        self.connection_lost(error)
        self._transport.abort()

    def take(self, data: bytes, at_s: float) -> None:
        """Bytes came."""
        self._at_s = at_s
        if self._sink is None or self._complete:
            self.abort()  # said unasked: whose answer the next bytes are cannot be known
            return
        if not self._head_done:
            self._head_bytes += len(data)
        try:
            self._parser.feed_data(data)
        except HttpParserUpgrade:
            self._fail(f"{self._address} wants to speak another protocol")
        except HttpParserError as error:
            if not self._complete:
                self._fail(f"{self._address} answered with something that is not HTTP: {error} {data[:80]!r}")
            self.is_reusable = False
        if not self._head_done and self._head_bytes > MOST_OF_HEAD:
            self._fail(f"{self._address} answered with a head of more than {MOST_OF_HEAD} bytes")
        if self._failure is not None:
            self._end(self._failure)
        elif self._complete:
            self._end(None)
        elif self._sink.is_over and self._drain is None:
            self._drain = asyncio.get_running_loop().call_later(DRAIN_TIMEOUT, self._stop_draining)

    def _tell_lost(self, exc: Exception | None) -> None:
        if self._sink is None:
            return
        if self._sink.is_over or (self._head_done and self._ends_with_connection and exc is None):
            self._end(None)
        else:
            how = "closed" if exc is None else f"broke ({_words(exc)})"
            if isinstance(exc, ConnectionResetError):
                how = "reset"
            if not (self._head_bytes or self._head_done):
                when = "before its answer began"
            elif not self._head_done:
                when = "in the head of its answer"
            else:
                when = f"before the end of its answer, after {self._body_bytes} bytes of the body"
            self._end(ExchangeError(f"{self._address} {how} the connection {when}"))

    # What the parser calls.

    def on_message_begin(self) -> None:
        """An answer begins."""
        if self._complete:
            self.is_reusable = False  # more than what was asked for
        self._ends_with_connection = True

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header came."""
        if len(name) == 14 and name.lower() == b"content-length":
            self._ends_with_connection = False
        elif len(name) == 17 and name.lower() == b"transfer-encoding":
            self._ends_with_connection = b"chunked" not in value.lower()

    def on_headers_complete(self) -> None:
        """The head of an answer is whole."""
        status = self._parser.get_status_code()
        if not self._complete and not 100 <= status < 200 and self._sink is not None:
            self._head_done = True
            self._sink.status(status)

    def on_body(self, data: bytes) -> None:
        """A piece of a body."""
        sink = self._sink
        if sink is None or self._complete or sink.is_over or self._failure is not None:
            return
        self._body_bytes += len(data)
        try:
            sink.body(data, self._at_s)
        except Exception as error:  # the parser would wrap it
            self._failure = error

    def on_message_complete(self) -> None:
        """An answer is whole, or a 1xx that goes ahead of it."""
        if self._head_done and not self._complete:
            self._complete = True
            if self._sink is not None:
                self._sink.end(self._at_s)
            self.is_reusable = self._parser.should_keep_alive() and not self._transport.get_write_buffer_size()

    # How a request ends.

    def _fail(self, why: str) -> None:
        self._failure = self._failure or ExchangeError(why)

    def _stop_reading(self) -> None:
        if self._reader is not None:
            self._reader.close()

    def _stop_draining(self) -> None:
        self.is_reusable = False
        self._end(None)

    def _end(self, failure: Exception | None) -> None:
        waiter, self._waiter, self._sink = self._waiter, None, None
        if self._drain is not None:
            self._drain.cancel()
            self._drain = None
        if waiter is not None and not waiter.done():
            if failure is None:
                waiter.set_result(None)
            else:
                waiter.set_exception(failure)
