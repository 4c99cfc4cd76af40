"""Wakes when a request is due: event loops count in milliseconds, and latencies from the due time would show it."""

import asyncio
import ctypes
import math
import os
import struct
import time
from contextlib import suppress

from DynamoFaultLibrary.clock import monotonic

EARLY = 0.0002
"""Seconds before a moment at which we wake and look at the clock, turn by turn of the loop: waking up takes as long."""
_ABSOLUTE = 1
"""TFD_TIMER_ABSTIME"""


def full(seconds: float) -> float:
    """What to ask of the loop's clock, which may ring a millisecond early, for an event not before `seconds`."""
    return seconds + 0.0015 if seconds > 0 else 0.0


class Alarm:
    """A timer of the kernel (timerfd) on the monotonic clock, right to some microseconds. `over` ends all waiting."""

    def __init__(self, over: asyncio.Event) -> None:
        self._over = over
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = self._libc.timerfd_create(time.CLOCK_MONOTONIC, os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")
        self._rung = asyncio.Event()
        self._watch = asyncio.ensure_future(self._wait_for_over())

    def __enter__(self) -> "Alarm":
        asyncio.get_running_loop().add_reader(self._fd, self._ring)
        return self

    def __exit__(self, *_: object) -> None:
        self._watch.cancel()
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)

    async def wait_until(self, moment_s: float) -> None:
        """Wait until the monotonic clock reads `moment_s`, or all is over."""
        early = moment_s - EARLY
        if not self._over.is_set() and monotonic() < early:
            part, whole = math.modf(early)
            when = struct.pack("=4q", 0, 0, int(whole), int(part * 1e9))
            self._rung.clear()
            if self._libc.timerfd_settime(self._fd, _ABSOLUTE, when, None) < 0:
                raise OSError(ctypes.get_errno(), "timerfd_settime")
            await self._rung.wait()
        while not self._over.is_set() and monotonic() < moment_s:
            await asyncio.sleep(0)

    def _ring(self) -> None:
        with suppress(BlockingIOError):  # it was set again since
            os.read(self._fd, 8)
            self._rung.set()

    async def _wait_for_over(self) -> None:
        await self._over.wait()
        self._rung.set()
