"""The engine's HTTP against servers that say exactly what a test scripts, byte by byte."""

import asyncio
import errno
import os
import socket
import ssl
import struct
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from DynamoFaultLibrary.load import http1
from DynamoFaultLibrary.load.address import Address
from DynamoFaultLibrary.load.http1 import Client, ConnectTimeoutError, ExchangeError

HEAD = b"HTTP/1.1 200 OK\r\n"
WHOLE = HEAD + b"Content-Length: 5\r\n\r\nhello"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3;x=y\r\nllo\r\n0\r\nTrailer: 1\r\n\r\n"
TO_CLOSE = HEAD + b"X-Empty:\r\nConnection: close\r\n\r\nhello"
DEADLINE = 10.0

Serve = Callable[["Peer"], Awaitable[None]]


class Peer:
    """One connection as the server sees it."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, server: "Server") -> None:
        self.reader, self.writer, self.server = reader, writer, server

    async def request(self) -> bytes:
        """A whole request: what was read of it."""
        head = await self.reader.readuntil(b"\r\n\r\n")
        lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
        length = int(lengths[0].split(b":")[1])
        whole = head + await self.reader.readexactly(length)
        self.server.requests.append(whole)
        return whole

    async def say(self, *pieces: bytes) -> None:
        """Send each piece by itself."""
        for piece in pieces:
            self.writer.write(piece)
            await self.writer.drain()
            if len(pieces) > 1:
                await self.server.read_by_client()

    async def hung_up(self) -> None:
        """Wait until the client has closed the connection."""
        try:
            while await self.reader.read(65536):
                pass
        except ConnectionError:
            pass
        self.server.hang_ups += 1

    def reset(self) -> None:
        raw = self.writer.get_extra_info("socket")
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()


class Server:
    """Counts connections, keeps requests; `script` is what it does with each connection."""

    def __init__(self, script: Serve) -> None:
        self.script = script
        self.connections = self.hang_ups = 0
        self.requests: list[bytes] = []
        self.url = ""
        self.closed = asyncio.Semaphore(0)
        """Connections whose close both ends know of."""

    async def read_by_client(self) -> None:
        """Let the client, which runs in the same loop, read what was sent."""
        for _ in range(4):
            await asyncio.sleep(0)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        try:
            await self.script(Peer(reader, writer, self))
        finally:
            writer.close()


@asynccontextmanager
async def serving(script: Serve, tls: ssl.SSLContext | None = None, host: str = "127.0.0.1") -> AsyncIterator[Server]:
    server = Server(script)
    listening = await asyncio.start_server(server.serve, host, 0, ssl=tls)
    port = listening.sockets[0].getsockname()[1]
    server.url = f"{'https' if tls else 'http'}://{f'[{host}]' if ':' in host else host}:{port}"
    try:
        yield server
    finally:
        listening.close()


class Answer:
    """Keeps what arrives."""

    def __init__(self, until: bytes = b"") -> None:
        self.sent = self.is_over = self.ended = False
        self.until = until
        self.code: int | None = None
        self.pieces: list[bytes] = []
        self.began = asyncio.Event()

    def status(self, code: int) -> None:
        self.code = code

    def body(self, data: bytes, at_s: float) -> None:
        self.pieces.append(data)
        self.began.set()
        self.is_over = bool(self.until) and self.until in self.text

    def end(self, at_s: float) -> None:
        self.ended = True

    @property
    def text(self) -> bytes:
        return b"".join(self.pieces)


async def post(client: Client, server: Server, body: bytes = b"{}", until: bytes = b"") -> Answer:
    answer = Answer(until)
    await client.post(Address.parse(server.url + "/v1"), b"x-request-id: r\r\n", body, answer)
    return answer


async def failure(client: Client, server: Server) -> str:
    with pytest.raises(ExchangeError) as raised:
        await post(client, server)
    return str(raised.value).replace(server.url.partition("//")[2], "HOST")


def run(test: Callable[[], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(DEADLINE):
            await test()

    uvloop.run(limited())


def one_shot(answer: bytes, *, pieces: int = 0) -> Serve:
    """Answers each request of a connection, whole or cut in two after so many bytes."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(*([answer[:pieces], answer[pieces:]] if pieces else [answer]))

    return script


async def forever(peer: Peer) -> None:
    """Answers all requests that come."""
    try:
        while True:
            await peer.request()
            await peer.say(WHOLE)
    except asyncio.IncompleteReadError:
        peer.server.hang_ups += 1


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, TO_CLOSE], ids=["length", "chunked", "to its close"])
def test_an_answer_split_anywhere_is_put_together(answer: bytes) -> None:
    async def test() -> None:
        for place in range(1, len(answer)):
            async with serving(one_shot(answer, pieces=place)) as server, Client() as client:
                got = await post(client, server)
                assert (got.code, got.text) == (200, b"hello"), answer[:place]

    run(test)


@pytest.mark.parametrize("answer", [WHOLE, CHUNKED, TO_CLOSE], ids=["length", "chunked", "to its close"])
def test_an_answer_that_comes_byte_by_byte_or_with_its_close_is_whole(answer: bytes) -> None:
    async def bytewise(peer: Peer) -> None:
        await peer.request()
        await peer.say(*(answer[index : index + 1] for index in range(len(answer))))

    async def test() -> None:
        for script in (bytewise, one_shot(answer)):
            async with serving(script) as server, Client() as client:
                got = await post(client, server)
                assert (got.code, got.text) == (200, b"hello")

    run(test)


def test_what_goes_ahead_of_an_answer_is_read_over() -> None:
    early = b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\n"

    async def test() -> None:
        for place in range(len(early + WHOLE)):
            async with serving(one_shot(early + WHOLE, pieces=place)) as server, Client() as client:
                got = await post(client, server)
                assert (got.code, got.text) == (200, b"hello")

    run(test)


def test_a_status_other_than_200_comes_with_its_body() -> None:
    async def test() -> None:
        async with (
            serving(one_shot(b"HTTP/1.1 529 Busy\r\nContent-Length: 4\r\n\r\nbusy")) as server,
            Client() as client,
        ):
            got = await post(client, server)
            assert (got.code, got.text) == (529, b"busy")

    run(test)


@pytest.mark.parametrize("status", [301, 307])
def test_no_redirect_is_followed(status: int) -> None:
    async def test() -> None:
        moved = b"HTTP/1.1 %d Moved\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n" % status
        async with serving(one_shot(moved)) as server, Client() as client:
            assert (await post(client, server)).code == status

    run(test)


def test_no_proxy_of_the_environment_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "ALL_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")

    async def test() -> None:
        async with serving(one_shot(WHOLE)) as server, Client() as client:
            assert (await post(client, server)).code == 200

    run(test)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "HOST closed the connection before its answer began"),
        (b"HTTP/1.1 200", "HOST closed the connection in the head of its answer"),
        (WHOLE[:-2], "HOST closed the connection before the end of its answer, after 3 bytes of the body"),
        (CHUNKED[:52], "HOST closed the connection before the end of its answer, after 2 bytes of the body"),
        (b"good morning\r\n\r\n", "HOST answered with something that is not HTTP: "),
        (HEAD + b"Content-Length: five\r\n\r\n", "HOST answered with something that is not HTTP: "),
        (CHUNKED.replace(b"2\r\nhe", b"zz\r\nhe"), "HOST answered with something that is not HTTP: "),
        (b"HTTP/1.1 101 Switch\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", "HOST wants to speak another protocol"),
        (HEAD + b"X: " + b"x" * 70_000, "HOST answered with a head of more than 65536 bytes"),
        (HEAD + b"X: y\r\n" * 20_000, "HOST answered with a head of more than 65536 bytes"),
    ],
    ids=["nothing", "head cut", "body cut", "chunk cut", "no HTTP", "length", "chunk", "upgrade", "header", "headers"],
)
def test_what_went_wrong_is_said(answer: bytes, message: str) -> None:
    async def test() -> None:
        async with serving(one_shot(answer)) as server, Client() as client:
            assert (await failure(client, server)).startswith(message)

    run(test)


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        (b"", "HOST reset the connection before its answer began"),
        (WHOLE[:-2], "HOST reset the connection before the end of its answer, after 3 bytes of the body"),
        (TO_CLOSE, "HOST reset the connection before the end of its answer, after 5 bytes of the body"),
    ],
    ids=["nothing", "part of a body", "a body that only a close may end"],
)
def test_a_reset_is_no_close(answer: bytes, message: str) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer, b"")
        peer.reset()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            assert await failure(client, server) == message

    run(test)


def test_a_connection_that_cannot_be_read_is_closed_and_said(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a free descriptor it was a "malformed" answer, and the connection stayed open."""

    class NoReader:
        def __init__(self, *_: object) -> None:
            raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    async def script(peer: Peer) -> None:
        await peer.hung_up()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            monkeypatch.setattr(http1, "Reader", NoReader)
            assert await failure(client, server) == "no connection to HOST: Too many open files"
            async with asyncio.timeout(10):
                while not server.hang_ups:
                    await asyncio.sleep(0)

    run(test)


def test_a_refused_connection_is_said() -> None:
    async def test() -> None:
        async with serving(one_shot(WHOLE)) as server, Client() as client:
            pass
        assert await failure(client, server) == "HOST refused the connection"

    run(test)


def test_a_name_that_nobody_knows_is_said() -> None:
    async def test() -> None:
        async with Client() as client:
            with pytest.raises(ExchangeError, match=r"no connection to nobody\.invalid:80: "):
                await client.post(Address.parse("http://nobody.invalid"), b"", b"", Answer())

    run(test)


def test_a_connection_that_takes_too_long_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http1, "CONNECT_TIMEOUT", 0.2)

    async def test() -> None:
        # A full queue of connections that nobody accepts: the kernel drops further ones without an answer.
        with socket.socket() as listener:
            listener.bind(("127.0.0.1", 0))
            listener.listen(0)
            address = listener.getsockname()
            with socket.create_connection(address), socket.socket() as second:
                second.setblocking(False)
                second.connect_ex(address)
                answer = Answer()
                async with Client() as client:
                    with pytest.raises(
                        ConnectTimeoutError, match=f"no connection to 127.0.0.1:{address[1]} within 0.2 s"
                    ):
                        await client.post(Address.parse(f"http://127.0.0.1:{address[1]}"), b"", b"", answer)
                assert not answer.sent

    run(test)


@pytest.mark.parametrize(("reuse", "connections"), [(True, 1), (False, 3)])
@pytest.mark.parametrize("answer", [WHOLE, CHUNKED], ids=["length", "chunked"])
def test_connections_are_kept_or_not(reuse: bool, connections: int, answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        try:
            while request := await peer.request():
                assert (b"connection: close\r\n" in request) is not reuse
                await peer.say(answer)
        except asyncio.IncompleteReadError:
            pass

    async def test() -> None:
        async with serving(script) as server, Client(reuse_connections=reuse) as client:
            for _ in range(3):
                assert (await post(client, server)).text == b"hello"
            assert (server.connections, len(server.requests)) == (connections, 3)

    run(test)


def test_requests_at_once_have_a_connection_each_and_keep_them() -> None:
    async def test() -> None:
        async with serving(forever) as server, Client() as client:
            for _ in range(3):
                await asyncio.gather(*(post(client, server) for _ in range(5)))
            assert (server.connections, len(server.requests)) == (5, 15)

    run(test)


@pytest.mark.parametrize(
    "answer",
    [
        WHOLE.replace(b"200 OK\r\n", b"200 OK\r\nConnection: close\r\n"),
        WHOLE.replace(b"HTTP/1.1", b"HTTP/1.0"),
        WHOLE + b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\njunk",
        WHOLE + b"junk",
    ],
    ids=["close", "HTTP/1.0", "one answer too many", "junk behind it"],
)
def test_a_connection_that_cannot_be_trusted_is_not_used_again(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(answer)
        await peer.hung_up()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            for _ in range(2):
                assert (await post(client, server)).text == b"hello"
            assert server.connections == 2
            while server.hang_ups < 2:
                await asyncio.sleep(0.001)

    run(test)


def test_what_is_said_unasked_is_no_answer_to_the_next_request() -> None:
    said = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(WHOLE)
        if peer.server.connections == 1:
            await peer.server.read_by_client()
            await peer.say(HEAD + b"Content-Length: 5\r\n\r\nwrong")
            said.set()
        await peer.hung_up()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            await post(client, server)
            await said.wait()
            assert (await post(client, server)).text == b"hello"
            assert server.connections == 2

    run(test)


def test_a_connection_that_the_server_closed_while_idle_is_replaced_without_a_failure() -> None:
    async def test() -> None:
        async with serving(one_shot(WHOLE)) as server, Client() as client:
            for count in range(1, 4):
                assert (await post(client, server)).text == b"hello"
                assert server.connections == count

    run(test)


def test_a_close_that_the_loop_has_not_seen_yet_is_seen_before_the_request_is_written() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"http://127.0.0.1:{listener.getsockname()[1]}"

        async def test() -> None:
            server = Server(forever)
            server.url = url
            async with Client() as client:
                first = asyncio.ensure_future(post(client, server))
                await asyncio.sleep(0.01)
                peer, _ = listener.accept()
                peer.recv(65536)
                peer.sendall(WHOLE)
                await first
                peer.close()  # no turn of the loop follows before the next request
                second = asyncio.ensure_future(post(client, server))
                await asyncio.sleep(0.01)
                peer, _ = listener.accept()
                peer.recv(65536)
                peer.sendall(WHOLE)
                assert (await second).text == b"hello"
                peer.close()

        run(test)


def test_a_request_that_was_written_is_never_sent_again() -> None:
    """A server that dies with a request in its hands has lost it, on a connection that was used before as well."""

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(WHOLE)
        await peer.request()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            await post(client, server)
            assert await failure(client, server) == "HOST closed the connection before its answer began"
            assert (server.connections, len(server.requests)) == (1, 2)

    run(test)


def test_a_cancelled_request_hangs_up_at_once() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED[:52])
        await peer.hung_up()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            answer = Answer()
            task = asyncio.ensure_future(client.post(Address.parse(server.url), b"", b"{}", answer))
            await answer.began.wait()
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not server.hang_ups:
                await asyncio.sleep(0.001)
            assert answer.text == b"he"

    run(test)


def test_a_request_that_is_cancelled_while_half_written_hangs_up_too() -> None:
    seen: list[int] = []

    async def script(peer: Peer) -> None:
        seen.append(len(await peer.reader.read(1000)))
        await asyncio.sleep(0.05)
        await peer.hung_up()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            task = asyncio.ensure_future(post(client, server, b"x" * 50_000_000))
            while not seen:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not server.hang_ups:
                await asyncio.sleep(0.001)

    run(test)


def test_an_answer_to_a_half_written_request_counts_but_its_connection_is_not_used_again() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1000)
        await peer.say(b"HTTP/1.1 413 Too Large\r\nContent-Length: 3\r\n\r\nbig")
        await peer.hung_up()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            for _ in range(2):
                answer = await post(client, server, b"x" * 50_000_000)
                assert (answer.code, answer.text) == (413, b"big")
            assert server.connections == 2

    run(test)


def test_a_body_that_its_reader_refuses_ends_the_request() -> None:
    class Refusing(Answer):
        def body(self, data: bytes, at_s: float) -> None:
            raise ValueError("not this")

    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.say(CHUNKED[:52])
        await peer.hung_up()

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            with pytest.raises(ValueError, match="not this"):
                await client.post(Address.parse(server.url), b"", b"{}", Refusing())
            while not server.hang_ups:
                await asyncio.sleep(0.001)

    run(test)


@pytest.mark.parametrize(("ends", "connections"), [(True, 1), (False, 2)])
def test_the_end_of_an_answer_that_is_over_is_waited_for_but_not_long(ends: bool, connections: int) -> None:
    async def script(peer: Peer) -> None:
        for _ in range(2):
            await peer.request()
            await peer.say(CHUNKED[:52])
            if not ends:
                await peer.hung_up()
                break
            await peer.say(CHUNKED[52:])

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            for _ in range(2):
                assert (await post(client, server, until=b"he")).text == b"he"
            assert server.connections == connections

    run(test)


def test_an_ipv6_address_and_a_base_path_are_used() -> None:
    async def test() -> None:
        async with serving(forever, host="::1") as server, Client() as client:
            server.url += "/base"
            await post(client, server)
            lines = server.requests[0].split(b"\r\n")
            assert lines[0] == b"POST /base/v1 HTTP/1.1"
            assert lines[1] == b"host: " + server.url.split("/")[2].encode()
            assert b"x-request-id: r" in lines

    run(test)


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate and key for 127.0.0.1, signed by itself."""
    path = tmp_path_factory.mktemp("tls") / "both.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", "/CN=test", "-addext", "subjectAltName=IP:127.0.0.1", "-keyout", path, "-out", f"{path}.crt"],
        check=True, capture_output=True,
    )  # fmt: skip
    path.write_bytes(path.read_bytes() + Path(f"{path}.crt").read_bytes())
    return path


def tls_of(certificate: Path) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate)
    return context


@pytest.mark.parametrize(("reuse", "connections"), [(True, 1), (False, 3)])
def test_tls_trusts_what_ssl_cert_file_names(
    certificate: Path, monkeypatch: pytest.MonkeyPatch, reuse: bool, connections: int
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def test() -> None:
        async with serving(forever, tls_of(certificate)) as server, Client(reuse_connections=reuse) as client:
            for _ in range(3):
                assert (await post(client, server)).text == b"hello"
            assert server.connections == connections

    run(test)


def test_a_certificate_that_nobody_vouches_for_is_refused(certificate: Path) -> None:
    async def test() -> None:
        async with serving(forever, tls_of(certificate)) as server, Client() as client:
            message = await failure(client, server)
            assert message.startswith("no TLS connection to HOST: self")
            assert server.requests == []

    run(test)


def test_tls_that_is_closed_while_idle_is_replaced_and_a_cancel_is_seen(
    certificate: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate))

    async def script(peer: Peer) -> None:
        await peer.request()
        if peer.server.connections <= 2:
            await peer.say(WHOLE)
            peer.writer.close()
            await peer.writer.wait_closed()
            peer.server.closed.release()
        else:
            await peer.hung_up()

    async def test() -> None:
        async with serving(script, tls_of(certificate)) as server, Client() as client:
            for _ in range(2):
                assert (await post(client, server)).text == b"hello"
                await server.closed.acquire()
            assert server.connections == 2
            task = asyncio.ensure_future(post(client, server))
            while len(server.requests) < 3:
                await asyncio.sleep(0.001)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            while not server.hang_ups:
                await asyncio.sleep(0.001)

    run(test)


def test_plain_http_where_tls_is_expected_is_said() -> None:
    async def script(peer: Peer) -> None:
        await peer.reader.read(1)
        await peer.say(WHOLE)

    async def test() -> None:
        async with serving(script) as server, Client() as client:
            server.url = server.url.replace("http:", "https:")
            assert (await failure(client, server)).startswith("no TLS connection to HOST: ")

    run(test)


def test_nothing_is_left_open() -> None:
    async def test() -> None:
        async with serving(forever) as server:
            async with Client() as client:
                await asyncio.gather(*(post(client, server) for _ in range(5)))
            while server.hang_ups < 5:
                await asyncio.sleep(0.001)

    run(test)
