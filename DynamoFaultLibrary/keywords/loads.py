"""Keywords for loads: named streams of requests from a process of their own."""

from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.keywords.component import Component
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.keywords.requests import answers_are_known
from DynamoFaultLibrary.load.client import Load, SenderProcess
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Endpoint, read_records
from DynamoFaultLibrary.load.statistics import outcomes
from DynamoFaultLibrary.reports.timeline import EventKind

DEFAULT = "default"


class LoadKeywords(Component):
    """Start Load, Stop Load, Wait For Load Completion."""

    @keyword(tags=["Load"])
    def start_load(
        self,
        name: str = DEFAULT,
        *,
        concurrency: int = 8,
        request_count: int | None = None,
        requests_per_client: int | None = None,
        duration: timedelta | None = None,
        request_rate: float | None = None,
        input_tokens: int = 16,
        output_tokens: int = 64,
        endpoint: Endpoint = Endpoint.CHAT,
        streaming: bool = True,
        timeout: timedelta = timedelta(seconds=60),
        start_timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        """Starts a load on the deployed graph and returns once its first response is there.

        It ends by ``request_count`` (all clients together), ``requests_per_client`` or ``duration``; without any of
        them after 30 s. Each request is recorded in ``load/<name>/requests.jsonl`` in the results; nothing is retried.

        | *Argument* | *Meaning* |
        | ``concurrency`` | Clients, each with one request at a time |
        | ``request_rate`` | Requests a second, started on schedule; latency then counts from the schedule |
        | ``input_tokens``, ``output_tokens`` | Length of prompt and answer |
        | ``endpoint``, ``streaming`` | ``chat`` or ``completion``, token by token or at once |
        | ``timeout`` | After this time without a byte a request counts as failed |

        Example:
        | `Start Load` | concurrency=8 | duration=30 s |
        | `Kill Worker` | VllmWorker |
        | `Wait For Load Completion` |
        | `Get Recovery Time` | < | 10 s |
        """
        begin_observation(self.context)
        running = self.context.loads.get(name)
        if running is not None and running.was_stopped is None:
            raise LoadError(f"load '{name}' is running already; stop it first, or give this one another name")
        if request_count is None and requests_per_client is None and duration is None:
            duration = timedelta(seconds=30)
        deployment = self.context.deployment
        plan = LoadPlan(
            name=name,
            url=deployment.url,
            model=deployment.model,
            concurrency=concurrency,
            request_count=request_count,
            requests_per_client=requests_per_client,
            duration_s=duration.total_seconds() if duration is not None else None,
            request_rate=request_rate,
            input_tokens=input_tokens,
            output_tokens=output_tokens,
            endpoint=endpoint,
            streaming=streaming,
            timeout_s=timeout.total_seconds(),
            check_sequence=answers_are_known(self),
        )
        directory = deployment.results / "load" / name
        number = 2
        while directory.exists():
            directory = deployment.results / "load" / f"{name}-{number}"
            number += 1
        sender = SenderProcess(directory)
        self.context.loads[name] = Load(plan, sender, self.context.test)
        sender.command("load", plan=plan.to_json())
        try:
            self._wait_for_first(sender, name, start_timeout)
        except BaseException:
            self.context.loads[name].give_up()
            raise
        self.note(EventKind.LOAD, f"load '{name}' runs: {plan.describe()}")

    @keyword(tags=["Load"])
    def stop_load(self, name: str = DEFAULT, timeout: timedelta = timedelta(seconds=60)) -> None:
        """Starts no more requests of a load, and waits until those in flight have ended."""
        load = self.context.load(name)
        if load.was_stopped is None:
            load.stop()
        self._finish(load, timeout)

    @keyword(tags=["Load", "Wait"])
    def wait_for_load_completion(self, name: str = DEFAULT, timeout: timedelta | None = None) -> None:
        """Waits until a load has ended by itself.

        Without ``timeout`` it may take its duration plus 300 s, or 2 s a request plus 60 s but 300 s at least.
        """
        load = self.context.load(name)
        self._finish(load, _generous(load.plan) if timeout is None else timeout)

    @staticmethod
    def _wait_for_first(sender: SenderProcess, name: str, timeout: timedelta) -> None:
        what = f"a good response to load '{name}'"
        event = sender.wait_for(lambda event: event["event"] in ("first", "finished"), timeout, what)
        if event["event"] == "finished":
            first = read_records(sender.records)[0]
            raise LoadError(f"load '{name}' has ended without a good response; its first: {first.summary()}")

    def _finish(self, load: Load, timeout: timedelta) -> None:
        known = load.was_stopped is not None
        load.wait(timeout)
        if not known:
            records = load.records()
            ended = max(record.ended_monotonic_s for record in records)
            counts = ", ".join(f"{count} {outcome.value}" for outcome, count in outcomes(records).most_common())
            self.note(EventKind.LOAD, f"load '{load.plan.name}' ended: {counts}", ended)


def _generous(plan: LoadPlan) -> timedelta:
    if plan.duration_s is not None:
        return timedelta(seconds=plan.duration_s + 300)
    return timedelta(seconds=max(2 * (plan.total or 0) + 60, 300))
