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
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Component
from DynamoFaultLibrary.keywords.ends import frontend_is_gone
from DynamoFaultLibrary.keywords.load_options import complete, with_load_options
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.keywords.requests import answers_are_known
from DynamoFaultLibrary.keywords.serving import remember_servers
from DynamoFaultLibrary.keywords.story import save_faults
from DynamoFaultLibrary.ledger.store import state_directory
from DynamoFaultLibrary.load.client import Engine, Load
from DynamoFaultLibrary.load.folder import check_name
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.progress import PROGRESS_FILE, Progress
from DynamoFaultLibrary.load.windows import whole
from DynamoFaultLibrary.reports.results import failure_table, write_whole
from DynamoFaultLibrary.reports.timeline import EventKind
from DynamoFaultLibrary.times import check_above_zero

DEFAULT = "default"


class LoadKeywords(Component):
    """Start Load, Stop Load, Wait For Load Completion, Start Phase."""

    @keyword(tags=["Load"])
    @on_graph
    @with_load_options
    def start_load(
        self,
        load: str = DEFAULT,
        *,
        engine: Engine = Engine.NATIVE,
        tokenizer: str | None = None,
        start_timeout: timedelta = timedelta(seconds=30),
        **options: Any,
    ) -> None:
        """Starts a load on the deployed graph and returns once its first good response is there.

        It ends by ``request_count`` (all clients together), ``requests_per_client`` or ``duration``; without any of
        them after 30 s. Several loads with different names may run at once. Tokens are counted by the server.

        | *Argument* | *Meaning* |
        | ``load`` | The name by which other keywords know the load; its results lie in ``load/<name>/``, see `Results` |
        %OPTIONS%
        | ``engine`` | The program that sends: ``native``, or ``aiperf`` with the ``tokenizer`` that it is to use (default: the model's) |
        | ``start_timeout`` | By when the first good response must be there |

        A load that a test has started ends with that test; one that a suite's setup has started ends with the suite.

        Example:
        | `Start Load` | concurrency=8 | duration=30 s |
        | `Kill Worker` | VllmWorker |
        | `Wait For Load Completion` |
        | `Get Recovery Time` | < | 10 s |
        """  # noqa: E501  # a table's row is a line
        check_name("load", load)
        if "=" in load:
            wrong = load.partition("=")[0]
            raise LoadError(
                f"load '{load}' is not a name; if '{wrong}' is meant as an argument, there is none of that name"
            )
        if load == "requests":
            raise LoadError("load 'requests' is not a name for a load: single requests are kept in that folder")
        if load in self.context.loads and self.context.loads[load].is_running:
            raise LoadError(f"load '{load}' is running already; stop it first, or give this one another name")
        if tokenizer is not None and engine is not Engine.AIPERF:
            raise LoadError(f"tokenizer is for engine=aiperf; engine={engine.value} counts tokens by the server's word")
        deployment = self.context.deployment
        options = complete(options)
        seed = self.context.options.seed if options["seed"] is None else options["seed"]
        plan = LoadPlan.of(
            load,
            deployment.url,
            deployment.model,
            {**options, "seed": seed},
            check_sequence=answers_are_known(deployment),
        )
        begin_observation(self.context)
        directory = _new_directory(deployment.results / "load" / load)
        started = Load(plan, directory, engine, self.context.test, deployment.name)
        self.context.loads[load] = started
        started.start(
            tokenizer or _tokenizer(plan.model), start_timeout, lambda: frontend_is_gone(self.context, deployment.name)
        )
        self.note(EventKind.LOAD, f"load '{load}' runs: {plan.describe()}, seed {plan.seed}")

    @keyword(tags=["Load"])
    def stop_load(self, load: str = DEFAULT, timeout: timedelta = timedelta(seconds=60)) -> None:
        """Starts no more requests of a load, and waits until those in flight have ended."""
        started = self.context.load(load)
        if started.is_running:
            started.stop()
        self._finish(started, timeout)

    @keyword(tags=["Load", "Wait"])
    def wait_for_load_completion(self, load: str = DEFAULT, timeout: timedelta | None = None) -> None:
        """Waits until a load has ended by itself; tells on the console how a long one goes.

        Without ``timeout`` it may take its duration plus 300 s, or 2 s a request plus 60 s but 300 s at least.
        """
        started = self.context.load(load)
        self._finish(started, _generous(started.plan) if timeout is None else timeout)

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
        | `Get Success Rate` | ``==`` | 1 | part=recovery |
        """
        check_name("name", name)
        self.context.begin_phase(name)
        self.note(EventKind.PHASE, f"phase {name}", self.context.phases[-1].began_s, phase=name)

    @keyword(tags=["Load", "Wait"])
    def wait_for_load_requests(
        self, count: int, load: str = DEFAULT, timeout: timedelta = timedelta(seconds=60)
    ) -> None:
        """Waits until so many requests of a load that start from now on have ended well.

        Fails at once when the load ends before, or when the frontend has ended and nobody starts it again.

        Example:
        | `Wait For Load Requests` | 50 |
        """
        check_above_zero(count=count)
        known = self.context.load(load)
        known.wait_for_good(count, timeout, lambda: frontend_is_gone(self.context, known.deployment))

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
        load.check_sender()
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
