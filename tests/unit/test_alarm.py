import asyncio
from collections.abc import Awaitable, Callable

import uvloop

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.load.alarm import Alarm


def run(test: Callable[[asyncio.Event], Awaitable[None]]) -> None:
    async def limited() -> None:
        async with asyncio.timeout(10):
            await test(asyncio.Event())

    uvloop.run(limited())


def test_it_rings_at_each_moment_and_never_before() -> None:
    async def test(over: asyncio.Event) -> None:
        began = monotonic()
        with Alarm(over) as alarm:
            for number in range(1, 21):
                await alarm.wait_until(began + number * 0.0033)
                assert monotonic() >= began + number * 0.0033

    run(test)


def test_it_does_not_wait_for_what_is_past() -> None:
    async def test(over: asyncio.Event) -> None:
        with Alarm(over) as alarm:
            await alarm.wait_until(monotonic() - 1)
            await alarm.wait_until(0.0)

    run(test)


def test_nobody_waits_when_all_is_over() -> None:
    async def test(over: asyncio.Event) -> None:
        with Alarm(over) as alarm:
            waiting = asyncio.ensure_future(alarm.wait_until(monotonic() + 3600))
            await asyncio.sleep(0)
            over.set()
            await waiting
            await alarm.wait_until(monotonic() + 3600)

    run(test)
