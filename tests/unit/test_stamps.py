"""When bytes came, whenever they were read."""

import asyncio
import atexit
import ctypes
import select
import socket
import struct
import time
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import uvloop

from DynamoFaultLibrary.clock import monotonic, wait_until
from DynamoFaultLibrary.load import stamps
from DynamoFaultLibrary.load.stamps import Reader

LATE = 0.05
"""Seconds that a busy process is late."""
DEADLINE = 10.0


class Kept:
    """Keeps what it is given."""

    def __init__(self) -> None:
        self.taken: list[tuple[bytes, float]] = []
        self.lost: list[OSError | None] = []
        self.something = asyncio.Event()

    def take(self, data: bytes, at_s: float) -> None:
        self.taken.append((data, at_s))
        self.something.set()

    def lose(self, error: OSError | None) -> None:
        self.lost.append(error)
        self.reader.close()
        self.something.set()

    reader: Reader

    async def more(self) -> None:
        await self.something.wait()
        self.something.clear()


class Line:
    """A connection over loopback: the far end, and what reads the near one."""

    def __init__(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as listener:
            self.near = socket.create_connection(listener.getsockname())
            self.far, _ = listener.accept()
        self.near.setblocking(False)
        self.kept = Kept()
        self.kept.reader = Reader(asyncio.get_running_loop(), self.near.fileno(), self.kept)

    async def send(self, data: bytes, late: float = 0.0) -> tuple[float, float]:
        """Send, read so much later; between which moments it was sent."""
        before = monotonic()
        self.far.sendall(data)
        after = monotonic()
        time.sleep(late)  # the process does not run: nothing else in the loop does
        await self.kept.more()
        return before, after

    def close(self) -> None:
        self.kept.reader.close()
        self.near.close()
        self.far.close()


def run(test: Callable[[Line], Awaitable[None]]) -> None:
    async def limited() -> None:
        line = Line()
        try:
            async with asyncio.timeout(DEADLINE):
                await test(line)
        finally:
            line.close()

    uvloop.run(limited())


_STAMPED = socket.socket()
"""Keeps the kernel stamping: it begins a moment after the first socket asks for it, and ends with the last one."""
_STAMPED.setsockopt(socket.SOL_SOCKET, stamps._SO_TIMESTAMPNS, 1)
atexit.register(_STAMPED.close)


def stamps_work() -> bool:
    """Whether this machine's kernel stamps packets."""
    with (
        socket.create_server(("127.0.0.1", 0)) as listener,
        socket.create_connection(listener.getsockname()) as near,
        listener.accept()[0] as far,
    ):
        near.setsockopt(socket.SOL_SOCKET, stamps._SO_TIMESTAMPNS, 1)

        def is_stamped() -> bool:
            far.sendall(b"x")
            return bool(near.recvmsg(1, stamps._ROOM)[1])

        return wait_until(is_stamped, 1.0)


needs_stamps = pytest.mark.skipif(not stamps_work(), reason="this kernel does not stamp packets")


@needs_stamps
def test_what_is_read_late_came_when_it_was_sent() -> None:
    async def test(line: Line) -> None:
        for word in (b"one", b"two", b"three"):
            before, after = await line.send(word, LATE)
            data, at = line.kept.taken[-1]
            assert data == word
            assert before <= at + stamps._AT_ONCE
            assert at < after + LATE  # it was not read before

    run(test)


@needs_stamps
def test_a_clock_that_is_set_before_the_bytes_are_read_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time

    async def test(line: Line) -> None:
        for seconds in (3600.0, -3600.0, 0.01):
            monkeypatch.setattr(stamps.time, "time", lambda by=seconds: real() + by)
            before, _ = await line.send(b"x", LATE)
            assert before + LATE <= line.kept.taken[-1][1] <= monotonic()  # when it was read
            monkeypatch.setattr(stamps.time, "time", real)
            await line.send(b"y")  # it was set again

    run(test)


@needs_stamps
def test_two_clocks_that_were_not_read_at_once_do_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    real = time.time

    def interrupted() -> float:
        now = real()
        time.sleep(0.001)
        return now

    async def test(line: Line) -> None:
        monkeypatch.setattr(stamps.time, "time", interrupted)
        before, _ = await line.send(b"x", LATE)
        assert before + LATE <= line.kept.taken[-1][1] <= monotonic()

    run(test)


@needs_stamps
@pytest.mark.parametrize("counts", [[0, 1], [None]], ids=["one more", "a kernel that does not count"])
def test_a_stamp_does_not_count_where_packets_may_have_waited_for_a_lost_one(
    counts: list[int | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    class Told(socket.socket):
        def getsockopt(self, *what: Any) -> Any:
            assert what[:2] == (socket.IPPROTO_TCP, socket.TCP_INFO)
            count = left.pop(0) if left else counts[-1]
            return bytes(100) if count is None else bytes(stamps._COUNT_AT) + struct.pack("@I", count)

    left = list(counts)
    monkeypatch.setattr(stamps.socket, "socket", Told)

    async def test(line: Line) -> None:
        for count in counts:
            before, after = await line.send(b"x", LATE)
            at = line.kept.taken[-1][1]
            assert (at < after + LATE) == (count == 0)
            assert before <= at + stamps._AT_ONCE
        await line.send(b"x", LATE)

    run(test)


@needs_stamps
def test_what_waited_for_a_lost_packet_came_with_that_one() -> None:
    async def test(line: Line) -> None:
        drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 0x06, 0, 0, 0))
        program = struct.pack("HxxxxxxQ", 1, ctypes.addressof(drop_all))
        line.near.setsockopt(socket.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER
        line.far.sendall(b"one")
        line.near.setsockopt(socket.SOL_SOCKET, 27, 0)  # SO_DETACH_FILTER
        line.far.sendall(b"two")
        nothing_s = 0.0
        while nothing_s == 0.0 or not select.select([line.near], [], [], 0)[0]:
            nothing_s = monotonic()
        time.sleep(LATE)
        while sum(len(data) for data, _ in line.kept.taken) < 6:
            await line.kept.more()
        assert b"".join(data for data, _ in line.kept.taken) == b"onetwo"
        assert min(at for _, at in line.kept.taken) >= nothing_s

    run(test)


@pytest.mark.parametrize("refuses", [True, False], ids=["option refused", "option without effect"])
def test_without_stamps_the_time_of_reading_counts(refuses: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    class Plain(socket.socket):
        def setsockopt(self, *_: Any) -> None:
            if refuses:
                raise OSError("not here")

    monkeypatch.setattr(stamps.socket, "socket", Plain)

    async def test(line: Line) -> None:
        before, _ = await line.send(b"x", LATE)
        assert before + LATE <= line.kept.taken[-1][1] <= monotonic()

    run(test)


def test_the_end_and_a_reset_are_told_behind_what_came() -> None:
    async def test(line: Line) -> None:
        line.far.sendall(b"x" * 200_000)
        line.far.close()
        while not line.kept.lost:
            await line.kept.more()
        assert line.kept.lost == [None]
        assert sum(len(data) for data, _ in line.kept.taken) == 200_000

    async def reset(line: Line) -> None:
        line.far.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        line.far.close()
        await line.kept.more()
        assert [type(error) for error in line.kept.lost] == [ConnectionResetError]

    run(test)
    run(reset)


def test_nothing_is_read_or_left_open_after_the_close() -> None:
    async def test(line: Line) -> None:
        line.kept.reader.close()
        line.kept.reader.close()
        line.far.sendall(b"x")
        for _ in range(4):
            await asyncio.sleep(0)
        assert line.near.recv(10) == b"x"
        line.near.close()
        line.far.settimeout(DEADLINE)
        assert line.far.recv(10) == b""  # nobody else holds the connection

    run(test)
