"""Keywords for loads: named streams of requests from a process of their own."""

import json
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

from robot.api import logger
from robot.api.deco import keyword

from DynamoFaultLibrary.engines.model import TINY_MODEL
from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.keywords.component import Component
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.keywords.requests import answers_are_known
from DynamoFaultLibrary.keywords.serving import remember_servers
from DynamoFaultLibrary.keywords.story import save_faults
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.load.client import Engine, Load
from DynamoFaultLibrary.load.plan import Arrival, ConnectionReuse, LoadPlan, Workload
from DynamoFaultLibrary.load.progress import PROGRESS_FILE, Progress
from DynamoFaultLibrary.load.records import Endpoint
from DynamoFaultLibrary.load.windows import whole
from DynamoFaultLibrary.reports.results import failure_table, write_whole
from DynamoFaultLibrary.reports.timeline import EventKind

DEFAULT = "default"


class LoadKeywords(Component):
    """Start Load, Stop Load, Wait For Load Completion, Start Phase."""

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
        arrival: Arrival = Arrival.CONSTANT,
        ramp: timedelta = timedelta(0),
        warmup_requests: int = 0,
        input_tokens: int = 16,
        input_tokens_stddev: float = 0,
        output_tokens: int = 64,
        output_tokens_stddev: float = 0,
        prefix_tokens: int = 0,
        prefixes: int = 1,
        endpoint: Endpoint = Endpoint.CHAT,
        streaming: bool = True,
        timeout: timedelta = timedelta(seconds=60),
        retries: int = 0,
        cancellation_rate: float = 0,
        cancellation_delay: timedelta = timedelta(0),
        connections: ConnectionReuse = ConnectionReuse.POOLED,
        extra_body: dict[str, Any] | None = None,
        seed: int | None = None,
        engine: Engine = Engine.NATIVE,
        tokenizer: str | None = None,
        start_timeout: timedelta = timedelta(seconds=30),
    ) -> None:
        """Starts a load on the deployed graph and returns once its first good response is there.

        It ends by ``request_count`` (all clients together), ``requests_per_client`` or ``duration``; without any of
        them after 30 s. Several loads with different names may run at once. Tokens are counted by the server.

        | *Argument* | *Meaning* |
        | ``concurrency`` | Clients, each with one request at a time |
        | ``request_rate``, ``arrival`` | Requests a second, started on schedule, ``constant`` or ``poisson``; ``concurrency`` is then the most at once, and latency counts from the schedule, so that a stalled server is not flattered |
        | ``ramp`` | Time over which the clients start, or the rate grows |
        | ``warmup_requests`` | Requests that go ahead and count for nothing |
        | ``input_tokens``, ``output_tokens`` | Length of prompts and answers, normally distributed if a ``_stddev`` is given |
        | ``prefix_tokens``, ``prefixes`` | Tokens at a prompt's beginning that are one of so many shared beginnings; each prompt is unlike the others otherwise |
        | ``endpoint``, ``streaming`` | ``chat`` or ``completion``, token by token or at once |
        | ``timeout`` | Time for a whole request, retries included |
        | ``retries`` | How often a failed request is sent again, after 0.5 s |
        | ``cancellation_rate``, ``cancellation_delay`` | Share of requests, 0 to 1, whose connection the client closes so long after their start |
        | ``connections`` | ``pooled``, or ``never`` to open one for each request |
        | ``extra_body`` | More for the JSON body of each request |
        | ``seed`` | Makes prompts, lengths and schedule repeatable; default: the library's |
        | ``engine`` | ``native``, or ``aiperf`` with the ``tokenizer`` that it is to use (default: the model's) |

        Results lie in ``load/<name>/``, see `Results`.

        Example:
        | `Start Load` | concurrency=8 | duration=30 s |
        | `Kill Worker` | VllmWorker |
        | `Wait For Load Completion` |
        | `Get Recovery Time` | < | 10 s |
        """  # noqa: E501  # a table's row is a line
        begin_observation(self.context)
        if name in self.context.loads and self.context.loads[name].is_running:
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
            arrival=arrival,
            ramp_s=ramp.total_seconds(),
            warmup_requests=warmup_requests,
            timeout_s=timeout.total_seconds(),
            retries=retries,
            cancellation_rate=cancellation_rate,
            cancellation_delay_s=cancellation_delay.total_seconds(),
            connections=connections,
            seed=self.context.options.seed if seed is None else seed,
            workload=Workload(
                input_tokens=input_tokens,
                input_tokens_stddev=input_tokens_stddev,
                output_tokens=output_tokens,
                output_tokens_stddev=output_tokens_stddev,
                prefix_tokens=prefix_tokens,
                prefixes=prefixes,
                endpoint=endpoint,
                streaming=streaming,
                extra_body=extra_body or {},
                check_sequence=answers_are_known(self),
            ),
        )
        load = Load(plan, _new_directory(deployment.results / "load" / name), engine, self.context.test)
        self.context.loads[name] = load
        load.start(tokenizer or _tokenizer(plan.model), start_timeout)
        self.note(EventKind.LOAD, f"load '{name}' runs: {plan.describe()}, seed {plan.seed}")

    @keyword(tags=["Load"])
    def stop_load(self, name: str = DEFAULT, timeout: timedelta = timedelta(seconds=60)) -> None:
        """Starts no more requests of a load, and waits until those in flight have ended."""
        load = self.context.load(name)
        if load.is_running:
            load.stop()
        self._finish(load, timeout)

    @keyword(tags=["Load", "Wait"])
    def wait_for_load_completion(self, name: str = DEFAULT, timeout: timedelta | None = None) -> None:
        """Waits until a load has ended by itself; tells on the console how a long one goes.

        Without ``timeout`` it may take its duration plus 300 s, or 2 s a request plus 60 s but 300 s at least.
        """
        load = self.context.load(name)
        self._finish(load, _generous(load.plan) if timeout is None else timeout)

    @keyword(tags=["Load"])
    def start_phase(self, name: str) -> None:
        """Begins a phase of the test: requests that start from now on belong to it, until the next one begins.

        Usual are ``standard``, ``overflow`` and ``recovery``; any name will do but those of the parts of a fault.
        Getters take it as ``part``, see `Parts of a load`.

        Example:
        | `Start Load` | duration=60 s |
        | `Start Phase` | standard |
        | `Wait For Load Requests` | 100 |
        | `Start Phase` | overflow |
        | `Start Load` | flood | concurrency=200 | request_count=1000 |
        | `Wait For Load Completion` | flood |
        | `Start Phase` | recovery |
        | `Wait For Load Completion` |
        | `Get Success Rate` | == | 1 | part=recovery |
        """
        self.context.begin_phase(name)
        self.note(EventKind.PHASE, f"phase {name}", self.context.phases[-1].began_s, phase=name)

    @keyword(tags=["Load", "Wait"])
    def wait_for_load_requests(
        self, count: int, load: str = DEFAULT, timeout: timedelta = timedelta(seconds=60)
    ) -> None:
        """Waits until so many requests of a load that start from now on have ended well.

        Example:
        | `Wait For Load Requests` | 50 |
        """
        self.context.load(load).wait_for_good(count, timeout)

    @keyword(tags=["Load", "Wait"])
    def wait_until_load_has_run(self, duration: timedelta, load: str = DEFAULT) -> None:
        """Waits until a load has run for so long since its first good response; fails when it ends before.

        Example:
        | `Wait Until Load Has Run` | 30 s |
        """
        self.context.load(load).wait_until_run(duration)

    @keyword(tags=["Load"])
    def log_failure_table(self, load: str = "*", sla: timedelta | None = None) -> None:
        """Logs a table of what succeeded and failed before and after the failure, one row a load of this run.

        Rows are the loads whose names match ``load``, a pattern such as ``scenario*``, in all suites of the run that
        are finished; running ones are left out. The table is written to ``failures.txt`` and ``failures.json`` in the
        run's results as well. With ``sla`` good requests that took longer are counted.
        """
        limit = sla.total_seconds() if sla is not None else None
        save_faults(self.context)
        table, rows = failure_table(self.context.run_directory(), load, limit)
        logger.info(table.to_html(), html=True)
        directory = self.context.run_directory()
        write_whole(directory / "failures.txt", table.to_text() + "\n")
        write_whole(directory / "failures.json", json.dumps(rows, indent=1))

    def _finish(self, load: Load, timeout: timedelta) -> None:
        if not load.is_running:
            return
        load.wait(timeout, self._progress_teller(load))
        remember_servers(self.context, load)
        segment = whole(load.table())
        figures = segment.figures
        failed = "".join(f", {count} {kind}" for kind, count in figures.errors.items())
        cancelled = f", {figures.cancelled} cancelled" if figures.cancelled else ""
        unsent = f", {load.folder.tally['unsent']} due but not sent" if load.folder.tally.get("unsent") else ""
        self.note(
            EventKind.LOAD,
            f"load '{load.plan.name}' ended: {figures.good} good{failed}{cancelled}{unsent}",
            segment.end_s,
        )

    def _progress_teller(self, load: Load) -> Callable[[dict[str, Any]], None]:
        progress = Progress(load.plan, self.context.run_directory() / PROGRESS_FILE)

        def tell(event: dict[str, Any]) -> None:
            line = progress.line(event)
            if line:
                logger.console(line)

        return tell


def _new_directory(wanted: Path) -> Path:
    directory, number = wanted, 2
    while directory.exists():
        directory, number = wanted.with_name(f"{wanted.name}-{number}"), number + 1
    return directory


def _tokenizer(model: str) -> str:
    return str(state_directory() / "models" / TINY_MODEL) if model == TINY_MODEL else model


def _generous(plan: LoadPlan) -> timedelta:
    if plan.duration_s is not None:
        return timedelta(seconds=plan.duration_s + 300)
    return timedelta(seconds=max(2 * (plan.total or 0) + 60, 300))
