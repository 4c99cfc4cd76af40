import asyncio
import contextlib
import io
import itertools
import json
import socket
import threading
from collections.abc import Awaitable, Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import orjson
import pytest
import uvloop

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.load import driver as driver_module
from DynamoFaultLibrary.load.driver import Driver, Tally
from DynamoFaultLibrary.load.plan import Arrival, ConnectionReuse, LoadPlan, Workload
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record

COMPLETIONS = "/v1/completions"
SHAPE = Workload(input_tokens=4, output_tokens=1, endpoint=Endpoint.COMPLETION, streaming=False)
DEADLINE = 10.0


class Server:
    """A frontend on loopback that answers with one token, at once or when it is let go; knows how busy it was."""

    def __init__(self, loopback: Any) -> None:
        self.url = loopback.url
        self.seen = loopback.seen
        self.go = threading.Event()
        self.go.set()
        self.most_at_once = 0
        self.status = 200
        self.connections: set[object] = set()
        self._ended = loopback.ended
        self._lock = threading.Lock()
        self._now = 0
        loopback.routes[COMPLETIONS] = self._answer

    def stall(self) -> None:
        self.go.clear()

    def _answer(self, handler: BaseHTTPRequestHandler) -> None:
        handler.protocol_version, handler.close_connection = "HTTP/1.1", False
        self.connections.add(handler.client_address)
        with self._lock:
            self._now += 1
            self.most_at_once = max(self.most_at_once, self._now)
        while not self.go.wait(0.01) and not self._ended.is_set():
            pass
        with self._lock:
            self._now -= 1
        choice = {"text": "a", "finish_reason": "length"}
        body = json.dumps({"choices": [choice], "usage": {"prompt_tokens": 4, "completion_tokens": 1}}).encode()
        handler.send_response(self.status)
        handler.send_header("Content-Length", str(len(body)))
        with contextlib.suppress(ConnectionError):  # from a request that was given up
            handler.end_headers()
            handler.wfile.write(body)


@pytest.fixture
def server(loopback: Any) -> Server:
    return Server(loopback)


class Run:
    """A load in this process: its records, its events, and what a test does while it runs."""

    def __init__(self, server: Server, **changes: Any) -> None:
        fields = {"name": "l", "url": server.url, "model": "m", "concurrency": 2, "workload": SHAPE, "timeout_s": 5.0}
        self.plan = LoadPlan(**{**fields, **changes})
        self.events: list[dict[str, Any]] = []
        self.began = self.took_s = 0.0
        self._file = io.BytesIO()

    def __call__(self, meanwhile: Callable[["Run"], Awaitable[None]] | None = None) -> "Run":
        async def run() -> None:
            self.driver = Driver(self.plan, self._file, self._note)
            self.began = monotonic()
            self.driver.start()
            if meanwhile is not None:
                await meanwhile(self)
            await self.until(lambda: any(event["event"] == "finished" for event in self.events))
            self.took_s = monotonic() - self.began

        uvloop.run(run())
        return self

    def _note(self, **event: Any) -> None:
        self.events.append(orjson.loads(orjson.dumps(event)))

    async def until(self, condition: Callable[[], bool]) -> None:
        async with asyncio.timeout(DEADLINE):
            while not condition():
                await asyncio.sleep(0.005)

    def names(self) -> list[str]:
        return [event["event"] for event in self.events if event["event"] != "progress"]

    @property
    def records(self) -> list[Record]:
        return [Record.from_json(orjson.loads(line)) for line in self._file.getvalue().splitlines()]

    @property
    def tally(self) -> Tally:
        return Tally(**self.finished["tally"])

    @property
    def finished(self) -> dict[str, Any]:
        (event,) = [event for event in self.events if event["event"] == "finished"]
        return event


def test_a_load_sends_as_many_requests_as_it_was_asked_for(server: Server) -> None:
    run = Run(server, request_count=7)()
    assert len(run.records) == len(server.seen) == 7
    assert run.tally == Tally(started=7, good=7)
    assert run.finished["was_stopped"] is False
    assert run.names() == ["first", "finished"]


def test_each_client_sends_its_share(server: Server) -> None:
    run = Run(server, requests_per_client=3, concurrency=4)()
    assert len(run.records) == 12


def test_a_record_says_how_its_request_went_but_keeps_no_text(server: Server) -> None:
    (record,) = Run(server, request_count=1, concurrency=1)().records
    assert (record.outcome, record.output_tokens, record.prompt_tokens, record.text) == (Outcome.OK, 1, 4, "")
    assert (record.id, record.load, record.client, record.scheduled_monotonic_s) == ("load-l-0", "l", 0, None)


def test_failed_requests_are_recorded_and_counted(server: Server) -> None:
    server.status = 500
    run = Run(server, request_count=3)()
    assert [record.outcome for record in run.records] == [Outcome.HTTP_ERROR] * 3
    assert run.tally == Tally(started=3, errors=3)
    assert run.names() == ["finished"]


@pytest.mark.parametrize("rate", [None, 1000.0])
def test_no_more_requests_are_in_flight_than_there_are_clients(server: Server, rate: float | None) -> None:
    server.stall()

    async def look(run: Run) -> None:
        await run.until(lambda: server.most_at_once == 3)
        await asyncio.sleep(0.05)
        server.go.set()

    run = Run(server, request_count=30, concurrency=3, request_rate=rate)(look)
    assert server.most_at_once == 3
    assert run.tally.good == 30


def test_a_client_has_one_request_at_a_time(server: Server) -> None:
    records = Run(server, request_count=20, concurrency=3)().records
    for client in range(3):
        own = sorted((r.started_monotonic_s, r.ended_monotonic_s) for r in records if r.client == client)
        assert own
        assert all(earlier[1] <= later[0] for earlier, later in itertools.pairwise(own))


def test_a_load_ends_with_its_duration(server: Server) -> None:
    run = Run(server, duration_s=0.3)()
    assert run.took_s >= 0.3
    assert max(record.started_monotonic_s for record in run.records) < run.began + run.took_s
    assert run.tally.good > 2
    assert run.finished["was_stopped"] is False


def test_requests_in_flight_at_the_end_of_the_duration_end_by_themselves(server: Server) -> None:
    server.stall()

    async def later(run: Run) -> None:
        await asyncio.sleep(0.3)
        server.go.set()

    run = Run(server, duration_s=0.1, concurrency=3)(later)
    assert [record.outcome for record in run.records] == [Outcome.OK] * 3
    assert run.tally.started == 3


def test_a_stopped_load_starts_no_more_requests_and_lets_others_end(server: Server) -> None:
    server.stall()

    async def stop(run: Run) -> None:
        await run.until(lambda: len(server.seen) == 2)
        run.driver.stop()
        server.go.set()

    run = Run(server, request_count=100)(stop)
    assert [record.outcome for record in run.records] == [Outcome.OK] * 2
    assert run.finished["was_stopped"] is True


def test_a_load_whose_time_was_up_before_the_stop_was_not_stopped(server: Server) -> None:
    server.stall()

    async def stop(run: Run) -> None:
        await asyncio.sleep(0.2)
        run.driver.stop()
        server.go.set()

    assert Run(server, duration_s=0.1)(stop).finished["was_stopped"] is False


def test_a_load_that_has_started_all_its_requests_was_not_stopped(server: Server) -> None:
    server.stall()

    async def stop(run: Run) -> None:
        await run.until(lambda: len(server.seen) == 2)
        run.driver.stop()
        server.go.set()

    run = Run(server, request_count=2)(stop)
    assert (run.tally.good, run.finished["was_stopped"]) == (2, False)


def test_the_warm_up_goes_ahead_and_is_not_counted(server: Server) -> None:
    run = Run(server, request_count=4, warmup_requests=5)()
    warm = [record for record in run.records if record.warmup]
    counted = [record for record in run.records if not record.warmup]
    assert (len(warm), len(counted), run.tally.started, run.tally.good) == (5, 4, 4, 4)
    assert max(record.ended_monotonic_s for record in warm) <= min(record.started_monotonic_s for record in counted)


def test_the_duration_begins_after_the_warm_up(server: Server) -> None:
    server.stall()

    async def later(run: Run) -> None:
        await asyncio.sleep(0.2)
        server.go.set()

    run = Run(server, duration_s=0.1, warmup_requests=1)(later)
    assert run.tally.good > 0


def test_a_load_that_is_stopped_in_its_warm_up_sends_nothing_else(server: Server) -> None:
    server.stall()

    async def stop(run: Run) -> None:
        await run.until(lambda: len(server.seen) == 2)
        run.driver.stop()
        server.go.set()

    run = Run(server, duration_s=5.0, warmup_requests=50)(stop)
    assert [record.warmup for record in run.records] == [True, True]
    assert run.tally == Tally()
    assert run.finished["was_stopped"] is True


def test_clients_start_one_after_the_other_over_the_ramp(server: Server) -> None:
    server.stall()

    async def look(run: Run) -> None:
        await run.until(lambda: len(server.seen) == 4)
        server.go.set()

    run = Run(server, request_count=4, concurrency=4, ramp_s=0.4)(look)
    starts = sorted(record.started_monotonic_s - run.began for record in run.records)
    assert all(start >= 0.1 * client for client, start in enumerate(starts))


def test_requests_at_a_rate_start_on_schedule(server: Server) -> None:
    run = Run(server, request_count=10, concurrency=8, request_rate=50.0)()
    scheduled = sorted(record.scheduled_monotonic_s or 0.0 for record in run.records)
    assert [time - scheduled[0] for time in scheduled] == pytest.approx([0.02 * number for number in range(10)])
    assert all(record.started_monotonic_s >= (record.scheduled_monotonic_s or 0.0) for record in run.records)
    assert run.tally == Tally(started=10, good=10)


def test_the_same_seed_makes_the_same_schedule(server: Server) -> None:
    schedules = []
    for _ in range(2):
        run = Run(server, request_count=6, concurrency=6, request_rate=200.0, arrival=Arrival.POISSON, seed=3)()
        times = sorted(record.scheduled_monotonic_s or 0.0 for record in run.records)
        schedules.append([time - times[0] for time in times])
    assert schedules[0] == pytest.approx(schedules[1])


def test_a_stalled_server_is_charged_for_the_requests_that_had_to_wait(server: Server) -> None:
    server.stall()

    async def later(run: Run) -> None:
        await asyncio.sleep(0.5)
        server.go.set()

    run = Run(server, request_count=20, concurrency=1, request_rate=100.0)(later)
    stalled_until = run.began + 0.5
    assert run.tally.good == 20
    for record in run.records:
        assert record.scheduled_monotonic_s is not None
        assert record.latency_s >= stalled_until - record.scheduled_monotonic_s
    # Most were sent late and answered at once: counted from their start they would look good.
    assert sum(record.ended_monotonic_s - record.started_monotonic_s > 0.25 for record in run.records) < 10


def test_requests_that_were_due_but_found_all_clients_busy_are_counted(server: Server) -> None:
    server.stall()

    async def later(run: Run) -> None:
        await asyncio.sleep(0.4)
        server.go.set()

    run = Run(server, duration_s=0.2, concurrency=1, request_rate=100.0)(later)
    assert run.tally.started == 1
    assert 19 <= run.tally.unsent < 100


def test_no_more_requests_were_due_than_the_load_has(server: Server) -> None:
    server.stall()

    async def stop(run: Run) -> None:
        await asyncio.sleep(0.3)
        run.driver.stop()
        server.go.set()

    run = Run(server, request_count=8, concurrency=1, request_rate=100.0)(stop)
    assert (run.tally.started, run.tally.unsent) == (1, 7)


def test_all_requests_of_a_load_that_kept_up_were_sent(server: Server) -> None:
    assert Run(server, request_count=10, concurrency=8, request_rate=200.0)().tally.unsent == 0


def test_cancelled_requests_are_recorded_and_are_no_errors(server: Server) -> None:
    server.stall()
    run = Run(server, request_count=4, cancellation_rate=1.0, cancellation_delay_s=0.2)()
    assert [record.outcome for record in run.records] == [Outcome.CANCELLED] * 4
    assert all(record.latency_s > 0.1 for record in run.records)
    assert run.tally == Tally(started=4, cancelled=4)


def test_a_request_that_is_given_up_at_once_is_recorded_too(server: Server) -> None:
    server.stall()  # at once is a millisecond, in which it could answer
    run = Run(server, request_count=4, cancellation_rate=1.0)()
    assert [record.outcome for record in run.records] == [Outcome.CANCELLED] * 4
    assert run.tally.started == run.tally.cancelled == 4


def test_a_request_that_has_ended_is_not_cancelled(server: Server) -> None:
    run = Run(server, request_count=4, cancellation_rate=1.0, cancellation_delay_s=3.0)()
    assert run.tally == Tally(started=4, good=4)


def test_retries_are_those_of_the_plan(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("DynamoFaultLibrary.load.exchange.RETRY_DELAY", 0.0)
    server.status = 503
    (record,) = Run(server, request_count=1, concurrency=1, retries=2)().records
    assert len(record.failed_attempts) == 2


@pytest.mark.parametrize(("connections", "count"), [(ConnectionReuse.POOLED, 1), (ConnectionReuse.NEVER, 4)])
def test_connections_are_those_of_the_plan(server: Server, connections: ConnectionReuse, count: int) -> None:
    assert Run(server, request_count=4, concurrency=1, connections=connections)().tally.good == 4
    assert len(server.connections) == count


def test_awaited_are_good_requests_that_start_from_now_on(server: Server) -> None:
    server.stall()

    async def ask(run: Run) -> None:
        await run.until(lambda: len(server.seen) == 2)
        run.driver.await_good(3, key=7)
        server.go.set()

    run = Run(server, request_count=10)(ask)
    place = run.names().index("good")
    assert run.names() == ["first", "good", "finished"]
    assert next(event for event in run.events if event["event"] == "good")["key"] == 7
    assert place == 1


def test_what_was_in_flight_when_somebody_waited_does_not_count(server: Server) -> None:
    server.stall()

    async def ask(run: Run) -> None:
        await run.until(lambda: len(server.seen) == 2)
        run.driver.await_good(1, key=7)
        server.go.set()

    assert Run(server, request_count=2)(ask).names() == ["first", "finished"]


def test_whoever_waits_for_more_than_there_will_be_gets_no_answer(server: Server) -> None:
    async def ask(run: Run) -> None:
        run.driver.await_good(6, key=1)
        run.driver.await_good(5, key=2)

    run = Run(server, request_count=5)(ask)
    assert [event["key"] for event in run.events if event["event"] == "good"] == [2]


def test_giving_up_cancels_and_records_what_is_in_flight(server: Server) -> None:
    server.stall()

    async def give_up(run: Run) -> None:
        await run.until(lambda: len(server.seen) == 3)
        await run.driver.give_up()

    run = Run(server, request_count=100, concurrency=3)(give_up)
    assert [record.outcome for record in run.records] == [Outcome.CANCELLED] * 3
    assert all(record.ended_monotonic_s > record.started_monotonic_s > 0 for record in run.records)
    assert run.tally == Tally(started=3, cancelled=3)
    assert run.finished["was_stopped"] is True


@pytest.mark.parametrize("rate", [None, 0.5])
def test_giving_up_waits_for_no_request_that_is_due_later(server: Server, rate: float | None) -> None:
    async def give_up(run: Run) -> None:
        await run.until(lambda: run.driver.tally.good > 0)
        await run.driver.give_up()

    run = Run(server, duration_s=60.0, request_rate=rate, ramp_s=0.0 if rate else 60.0)(give_up)
    assert monotonic() - run.began < DEADLINE
    assert run.records


def test_progress_tells_the_tally(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(driver_module, "PROGRESS_INTERVAL", 0.1)
    server.stall()

    async def look(run: Run) -> None:
        await run.until(lambda: sum(event["event"] == "progress" for event in run.events) >= 2)
        server.go.set()

    run = Run(server, request_count=4)(look)
    first, second = [event for event in run.events if event["event"] == "progress"][:2]
    assert (first["tally"]["started"], first["tally"]["good"]) == (2, 0)
    assert 0.1 <= first["elapsed_s"] < second["elapsed_s"]


def test_a_request_that_is_given_up_before_it_was_sent_has_a_record_and_an_end(server: Server) -> None:
    """It had neither, and its client waited for ever (row 30)."""

    async def give_up(run: Run) -> None:
        while not run.driver.tally.started:  # not a turn later: the requests' tasks have not begun
            await asyncio.sleep(0)
        await run.driver.give_up()

    run = Run(server, request_count=100, concurrency=3)(give_up)
    assert [record.outcome for record in run.records] == [Outcome.CANCELLED] * run.tally.started
    assert all(record.ended_monotonic_s >= record.started_monotonic_s > 0 for record in run.records)
    assert all(record.started_at for record in run.records)
    assert run.tally.started == run.tally.cancelled > 0


def test_a_load_that_is_given_up_at_once_ends(server: Server) -> None:
    run = Run(server, request_count=100)(lambda run: run.driver.give_up())
    assert (run.tally, run.finished["was_stopped"]) == (Tally(), True)


def refused_url() -> str:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{closed.getsockname()[1]}"


@pytest.mark.parametrize("warmup", [0, 4])
def test_a_client_pauses_after_a_refused_connection(server: Server, warmup: int) -> None:
    """Two clients counted tens of thousands of failures while a frontend was away (row 35)."""
    run = Run(server, url=refused_url(), request_count=6, warmup_requests=warmup, refused_pause_s=0.05)()
    assert [record.outcome for record in run.records] == [Outcome.CONNECTION] * (6 + warmup)
    for client in range(2):
        own = [record for record in run.records if record.client == client]
        for earlier, later in itertools.pairwise(own):
            assert later.warmup != earlier.warmup or later.started_monotonic_s - earlier.ended_monotonic_s >= 0.05


def test_a_client_pauses_too_where_connections_are_taken_and_closed(server: Server, loopback: Any) -> None:
    loopback.routes[COMPLETIONS] = lambda handler: None
    records = Run(server, request_count=3, concurrency=1, refused_pause_s=0.05)().records
    assert all(b.started_monotonic_s - a.ended_monotonic_s >= 0.05 for a, b in itertools.pairwise(records))


@pytest.mark.parametrize("status", [200, 503])
def test_no_client_pauses_after_an_answer(server: Server, status: int) -> None:
    server.status = status
    run = Run(server, request_count=6, concurrency=1, refused_pause_s=3600.0)()
    assert len(run.records) == 6


def test_after_the_last_refused_request_nothing_is_waited_for(server: Server) -> None:
    run = Run(server, url=refused_url(), request_count=2, concurrency=2, refused_pause_s=3600.0)()
    assert run.tally.errors == 2


def test_a_stopped_load_ends_though_its_clients_pause(server: Server) -> None:
    async def stop(run: Run) -> None:
        await run.until(lambda: run.driver.tally.errors == 2)
        run.driver.stop()

    run = Run(server, url=refused_url(), duration_s=3600.0, refused_pause_s=3600.0)(stop)
    assert (run.tally.errors, run.finished["was_stopped"]) == (2, True)


def test_clients_think_between_two_requests(server: Server) -> None:
    run = Run(server, request_count=6, think_time_s=0.05)()
    for client in range(2):
        own = [record for record in run.records if record.client == client]
        assert len(own) > 1
        assert all(b.started_monotonic_s - a.ended_monotonic_s >= 0.05 for a, b in itertools.pairwise(own))


def test_nobody_thinks_after_the_last_request(server: Server) -> None:
    assert Run(server, request_count=3, concurrency=3, think_time_s=3600.0)().tally.good == 3


def test_the_end_of_a_load_at_a_rate_does_not_wait_for_a_request_that_it_does_not_have(server: Server) -> None:
    assert Run(server, request_count=1, request_rate=0.001)().tally == Tally(started=1, good=1)


def test_nobody_is_told_twice_and_nobody_who_was_told_is_kept(server: Server) -> None:
    async def ask(run: Run) -> None:
        for key in range(3):
            run.driver.await_good(1 + key % 2, key)
        await run.until(lambda: run.driver.tally.good == 5)
        assert run.driver._awaited == []

    run = Run(server, request_count=5)(ask)
    assert sorted(event["key"] for event in run.events if event["event"] == "good") == [0, 1, 2]


def test_a_load_that_breaks_says_so_and_ends(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(maker: object, client: int, warmup: bool) -> None:
        raise RuntimeError("no words")

    monkeypatch.setattr("DynamoFaultLibrary.load.workload.RequestMaker.make", broken)
    assert Run(server, request_count=5)().finished["error"] == "RuntimeError: no words"
