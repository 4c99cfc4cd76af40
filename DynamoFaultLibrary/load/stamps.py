"""Reads a socket, and tells when its bytes came: on a busy machine that is long before we are there to read them.

The kernel stamps each packet when it arrives (SO_TIMESTAMPNS). Where it does not, the time of reading counts: so it is
for a moment after the first socket of a machine has asked for stamps.
"""

import os
import socket
import struct
import time
from asyncio import AbstractEventLoop
from contextlib import suppress
from typing import Protocol

from DynamoFaultLibrary.clock import monotonic

_SO_TIMESTAMPNS = 35
"""Linux's number of the option, and of the message with the stamp: seconds and nanoseconds of CLOCK_REALTIME."""
_STAMP = struct.Struct("@ll")
_ROOM = socket.CMSG_SPACE(_STAMP.size)
_MOST_BYTES = 65536
_YOUNG = 0.002
"""Age in seconds up to which a stamp is believed as it is; an older one may be right, or the sign of something."""
_FRESH = 0.05
"""Seconds for which it is known what the real clock is ahead."""
_COUNT = struct.Struct("@I")
_COUNT_AT = 224
"""Where ``struct tcp_info`` has ``tcpi_rcv_ooopack``: packets that came out of order (Linux 5.4 and newer)."""
_AT_ONCE = 0.00005
"""Seconds in which two clocks are read one after the other, if nothing interrupts."""
_MOST_SLEWED = 0.001
"""Seconds by which a clock that is slewed may run off in a second; one that runs off more was set."""


class Taker(Protocol):
    """Takes what comes."""

    def take(self, data: bytes, at_s: float) -> None:
        """Bytes came at `at_s` of the monotonic clock. Packets that are read together count from the last one."""

    def lose(self, error: OSError | None) -> None:
        """Nothing more comes: the other end has closed the connection, or it broke."""


class Reader:
    """Reads a connected TCP socket for `taker` until it is closed."""

    def __init__(self, loop: AbstractEventLoop, descriptor: int, taker: Taker) -> None:
        self._loop = loop
        self._taker = taker
        self._socket = socket.socket(fileno=os.dup(descriptor))  # the event loop has its own use for the other one
        _, real, self._looked_s = _clocks()
        self._ahead_s = real - self._looked_s
        """What the real clock is ahead of the monotonic one. It may be set, or slewed, at any time."""
        self._receive = self._socket.recvmsg
        self._out_of_order = 0
        with suppress(OSError):
            self._socket.setsockopt(socket.SOL_SOCKET, _SO_TIMESTAMPNS, 1)
        loop.add_reader(self._socket.fileno(), self._read)

    def close(self) -> None:
        """Read no more."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _read(self) -> None:
        try:
            data, notes, _, _ = self._receive(_MOST_BYTES, _ROOM)
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._taker.lose(error)
            return
        if not data:
            self._taker.lose(None)
            return
        at = now = monotonic()
        if notes:
            seconds, nanoseconds = _STAMP.unpack(notes[0][2])
            at = seconds - self._ahead_s + nanoseconds * 1e-9
            if not (now - _YOUNG <= at <= now < self._looked_s + _FRESH):
                at = self._came_at(seconds, nanoseconds)
        self._taker.take(data, at)

    def _came_at(self, seconds: int, nanoseconds: int) -> float:
        """A stamp on the monotonic clock; now, if it cannot be believed."""
        began, real, now = _clocks()
        most_slewed = 2 * _AT_ONCE + (now - self._looked_s) * _MOST_SLEWED
        was_set = abs(real - now - self._ahead_s) > most_slewed
        self._ahead_s, self._looked_s = real - now, now
        at = now - (real - seconds - nanoseconds * 1e-9)
        if was_set or now - began > _AT_ONCE or at > now or (at < now - _YOUNG and not self._came_in_order()):
            return now
        return at

    def _came_in_order(self) -> bool:
        """Whether no packet has come out of order since this was asked last.

        What comes behind a lost packet is stamped as it comes, but nobody can read it before the lost one is there.
        """
        told = self._socket.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _COUNT_AT + _COUNT.size)
        if len(told) < _COUNT_AT + _COUNT.size:
            return False  # an older kernel does not tell
        before, (self._out_of_order,) = self._out_of_order, _COUNT.unpack_from(told, _COUNT_AT)
        return before == self._out_of_order


def _clocks() -> tuple[float, float, float]:
    """The monotonic clock, the real one, and the monotonic one again: right after the other if nothing interrupts."""
    for _ in range(3):
        began, real, now = monotonic(), time.time(), monotonic()
        if now - began <= _AT_ONCE:
            break
    return began, real, now
