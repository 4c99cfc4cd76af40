"""What the keyword components share: the options, and the state of a run."""

import itertools
import random
import re
from collections.abc import Container, Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import DeploymentError, FaultError, FaultLibraryError, LoadError
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.faults.injector import ActiveFault, Injector
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.serving import served_by
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.load.client import Load, Request
from DynamoFaultLibrary.load.folder import check_name, safe_name
from DynamoFaultLibrary.load.process import SenderProcess
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import (
    WHOLE,
    FaultWindow,
    PhaseMark,
    Segment,
    Window,
    cut_at_fault,
    cut_at_phases,
    in_order,
    whole,
)
from DynamoFaultLibrary.platforms.base import CudaShimming, Deployment, Platform, require
from DynamoFaultLibrary.platforms.log_store import Log
from DynamoFaultLibrary.platforms.replicas import Incarnation, Replica
from DynamoFaultLibrary.plugins import platform_module
from DynamoFaultLibrary.reports.timeline import EventKind, Timeline
from DynamoFaultLibrary.run_id import leave_run, take_run


@dataclass
class Options:
    """Arguments of the library's import."""

    platform: str
    """Where graphs run, by name; see `DynamoFaultLibrary.plugins`."""
    seed: int
    fault_ttl: timedelta
    radius: BlastRadius


@dataclass
class Mark:
    """What a deployment was like when the running test began, or when it came up if that was later.

    `replicas` are those that ran, by service; `metrics` those of the frontend, None where it did not tell them.
    """

    since: str
    replicas: dict[str, list[Replica]] = field(default_factory=dict)
    metrics: dict[str, str] | None = None


@dataclass(frozen=True)
class UnorderedEnd:
    """The end of a replica that no fault of ours had ordered, `at` on the monotonic clock: `what`, and `more` of it."""

    at: float
    what: str
    more: str = ""

    def __str__(self) -> str:
        return self.what + self.more


class Context:
    """State of one library instance. Nothing touches the machine before it is needed."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self.random = random.Random(options.seed)  # noqa: S311  # repeatable choices, not secrets
        self.timeline = Timeline()
        self.graphs: dict[str, Deployment] = {}
        """Deployments that are up, by alias, in the order of their deployment."""
        self._chosen: Deployment | None = None
        self.requests: list[Request] = []
        self.loads: dict[str, Load] = {}
        self._ended_with: dict[str, str] = {}
        """The test by whose end a load ended, by its name."""
        self.phases: list[PhaseMark] = []
        self.marks: dict[str, Mark] = {}
        """By name of the deployment; see `observation`."""
        self.unordered_ends: dict[Incarnation, UnorderedEnd] = {}
        """Replicas that ended though nobody here had ordered it; see `ends`."""
        self._platform: Platform | None = None
        self._injector: Injector | None = None
        self._sender: SenderProcess | None = None
        self._ledger: Ledger | None = None
        self._directories: dict[str, Path] = {}
        self.log_starts: dict[str, dict[Log, int | None]] = {}
        """Marks of logs when the running test began, None where that could not be told; by graphs that were up in it.

        A graph is called by its alias, which is numbered when an earlier one in this test had it.
        """
        self.cuda_suite: str | None = None
        """The suite that has set up the CUDA shim; it goes with that suite."""

    @property
    def ledger(self) -> Ledger:
        """The ledger of this run."""
        if self._ledger is None:
            self._ledger = Ledger(take_run(), Owner.current())
        return self._ledger

    @property
    def platform(self) -> Platform:
        """The platform that the library was imported with."""
        if self._platform is None:
            self._platform = platform_module(self.options.platform, "platform").open_platform(self.ledger)
        return self._platform

    @property
    def injector(self) -> Injector:
        """Leads faults through their life."""
        if self._injector is None:
            self._injector = Injector(self.ledger, self.platform, self.options.radius, on_recovered=self._note_recovery)
        return self._injector

    @property
    def faults(self) -> list[ActiveFault]:
        """All faults so far, without starting anything to find out; what came off by itself has been noticed."""
        if self._injector is None:
            return []
        self._injector.refresh()
        return self._injector.faults

    @property
    def deployments(self) -> list[Deployment]:
        """All deployments that are up, the last one last."""
        return list(self.graphs.values())

    @property
    def deployment(self) -> Deployment:
        """The deployment that the running keyword means: the chosen one, else the last one that is up.

        Raises:
            DeploymentError: there is none.
        """
        return self._chosen or self.deployment_of(None)

    def deployment_of(self, alias: str | None) -> Deployment:
        """The deployment of that alias; the last one that is up without an alias.

        Raises:
            DeploymentError: there is none; the message lists those that there are.
        """
        if not self.graphs:
            raise DeploymentError("no graph is deployed; call 'Deploy Graph' first")
        if alias is None:
            return self.deployments[-1]
        if alias not in self.graphs:
            raise DeploymentError(f"no graph '{alias}' is deployed; there are {list(self.graphs)}")
        return self.graphs[alias]

    def alias_of(self, deployment: Deployment) -> str:
        """The alias of a deployment that is up."""
        return next(alias for alias, each in self.graphs.items() if each is deployment)

    def new_alias(self, wanted: str | None, name: str) -> str:
        """The alias for a graph that is to be deployed: the wanted one, else its own name, numbered when that is taken.

        Raises:
            DeploymentError: the wanted one is taken, or is no name.
        """
        if wanted is None:
            check_name("the graph's metadata.name", name)
            return _numbered(name, self.graphs)
        check_name("alias", wanted)
        if wanted in self.graphs:
            raise DeploymentError(
                f"alias '{wanted}' is taken by a graph that is deployed; there are {list(self.graphs)}"
            )
        return wanted

    @contextmanager
    def chosen(self, deployment: Deployment | None) -> Iterator[None]:
        """While this is open, `deployment` is the one that is meant; None leaves what was meant before."""
        before = self._chosen
        self._chosen = deployment or before
        try:
            yield
        finally:
            self._chosen = before

    @property
    def sender(self) -> SenderProcess:
        """The process that sends single requests, one a suite."""
        directory = self.results_directory() / "load" / "requests"
        if self._sender is None or not self._sender.is_running or self._sender.records.parent != directory:
            self.close_sender()
            self._sender = SenderProcess(directory)
        return self._sender

    def close_sender(self) -> None:
        """End that process."""
        if self._sender is not None:
            self._sender.close()
            self._sender = None

    def load(self, name: str) -> Load:
        """The load of that name.

        Raises:
            LoadError: there is none; the message lists those that there are.
        """
        if name not in self.loads:
            known = f"there are {list(self.loads) or 'none'}"
            if name in self._ended_with:
                raise LoadError(
                    f"load '{name}' has ended with test '{self._ended_with[name]}', which had started it; {known}; one "
                    "that the suite's setup starts goes on"
                )
            raise LoadError(f"no load '{name}' was started; {known}")
        return self.loads[name]

    def fault(self, fault_id: str | None = None, deployment: str = "") -> ActiveFault:
        """The fault of that id, else the last one that was proven in this test or by its suite.

        That is the last one on `deployment`, which may be deleted meanwhile, or else on the graph that is meant.

        Raises:
            FaultError: there is none.
        """
        proven = self.known_faults()
        if fault_id is not None:
            fault_id = id_of(fault_id)
            found = [fault for fault in proven if fault.entry.id == fault_id]
            if not found:
                known = [fault.entry.id for fault in proven] or "none"
                raise FaultError(f"no fault '{fault_id}' in this test or its suite; there are {known}")
            return found[-1]
        hit = deployment or (self._chosen.name if self._chosen else "")
        if hit:
            proven = [fault for fault in proven if fault.entry.target.get("deployment") == hit]
        if not proven:
            names = [alias for alias, each in self.graphs.items() if each.name == hit]
            where = f" into graph '{names[0]}'" if names and len(self.graphs) > 1 else ""
            raise FaultError(f"no fault has been injected{where} in this test or by its suite")
        return proven[-1]

    def known_faults(self) -> list[ActiveFault]:
        """The faults that keywords and log.html know in a test: those proven in it, or by a suite around it."""
        suite = robot_context.suite_name()
        return [
            fault
            for fault in self.faults
            if fault.active_s
            and (fault.scope == self.test if fault.scope else f"{suite}.".startswith(f"{fault.suite or suite}."))
        ]

    def fault_window(self, load: str, fault_id: str | None = None) -> FaultWindow:
        """When that fault was in effect; by default the last one that hit the graph of a load."""
        known = self.load(load)
        fault = self.fault(fault_id, known.deployment)
        if not known.folder.may_be_hit_by(fault.entry.target):
            raise LoadError(f"{fault} hit another graph than that of load '{load}', so it says nothing of that load")
        return window_of(fault)

    def faults_on(self, load: str) -> list[FaultWindow]:
        """All faults of this run that were proven and hit the graph of a load, in order of their injection."""
        folder = self.load(load).folder
        return in_order(
            window_of(fault) for fault in self.faults if fault.active_s and folder.may_be_hit_by(fault.entry.target)
        )

    def begin_phase(self, name: str) -> None:
        """Mark the beginning of a phase of the running test.

        Raises:
            LoadError: the name is taken.
        """
        plain = name.casefold()
        if plain in (WHOLE.casefold(), *Window):
            raise LoadError(f"'{name}' is the name of a part already; give this phase another one")
        if plain in [phase.name.casefold() for phase in self.phases]:
            raise LoadError(f"phase '{name}' has already been started; give this one another name")
        self.phases.append(PhaseMark(name, monotonic()))

    def look(
        self, load: str, part: str | None = None, fault_id: str | None = None, replica: str | int | None = None
    ) -> tuple[Table, Segment]:
        """The requests of a load that have ended, and a part of them: before, during or after a fault, or a phase.

        Of both what one replica served, if it is named. Records and logs are read once, so both are of one moment.

        Raises:
            LoadError: the load has no such part or replica, or a fault is named although the part needs none.
        """
        table = self.load(load).table()
        found = self._part(load, table, part, fault_id)
        if replica is None:
            return table, found
        served = self.served(load)
        return table.where(served.by(table, replica)), found.only(lambda rows: served.by(rows, replica))

    def _part(self, load: str, table: Table, part: str | None, fault_id: str | None) -> Segment:
        plain = None if part is None else part.casefold()
        if plain in list(Window):
            return cut_at_fault(table, self.fault_window(load, fault_id))[Window(plain)]
        if fault_id is not None:
            self.fault(fault_id)
            raise LoadError(f"fault={fault_id} says nothing without part=before, part=during or part=after")
        if part is None:
            return whole(table)
        phases = cut_at_phases(table, self.phases)
        found = [segment for name, segment in phases.items() if name.casefold() == plain]
        if not found:
            known = [*(window.value for window in Window), *phases]
            raise LoadError(f"load '{load}' has no part '{part}'; it has {known}")
        return found[0]

    def served(self, load: str) -> Served:
        """Which replicas served the requests of a load."""
        return served_by(self, self.load(load))

    def run_directory(self) -> Path:
        """``<results>/<run>/``."""
        return robot_context.results_root() / self.ledger.run

    def results_directory(self) -> Path:
        """``<results>/<run>/<suite>/``, the timeline of which is started with it."""
        suite = robot_context.suite_name()
        if suite not in self._directories:
            path = self.run_directory() / safe_name(suite)
            self._directories[suite] = path
            self.timeline.write_to(path / "timeline.jsonl")
        return self._directories[suite]

    @property
    def test(self) -> str:
        """Full name of the running test; empty in a suite's setup or teardown."""
        return self.timeline.test

    def begin_test(self, test: str) -> None:
        """A new test sees only what happens from now on."""
        self.timeline.test = test
        self.phases.clear()
        before = self.log_starts
        self.log_starts = {alias: self._marks(each, before.get(alias, {})) for alias, each in self.graphs.items()}

    def end_test(self) -> None:
        """What happens until the next test belongs to none; loads that the test started go with it."""
        for name, load in list(self.loads.items()):
            if load.scope == self.test:
                load.give_up()
                self._export_faults(load)
                del self.loads[name]
                self._ended_with[name] = self.test
        self.timeline.test = ""
        self.requests.clear()

    def end_suite(self, suite: str) -> None:
        """What a suite has set up is not for the next one."""
        if self.cuda_suite == suite and self._platform is not None:
            require(self._platform, CudaShimming).shim_cuda([])
            self.cuda_suite = None

    def add_deployment(self, deployment: Deployment, alias: str | None = None) -> None:
        """Make a deployment the last one."""
        called = alias or self.new_alias(None, deployment.graph.name)
        self.graphs[called] = deployment
        self.log_starts[_numbered(called, self.log_starts)] = dict.fromkeys(self._logs(deployment), 0)

    def log_start(self, log: Log) -> int:
        """Mark of a log when the running test began; 0 where it came up later.

        Raises:
            DeploymentError: that could not be told then.
        """
        start = next((starts[log] for starts in self.log_starts.values() if log in starts), 0)
        if start is None:
            raise DeploymentError(f"where log '{log}' ended when this test began is not known")
        return start

    def _logs(self, deployment: Deployment) -> list[Log]:
        services = [*deployment.graph.services, *deployment.infrastructure]
        return [log for service in services for log in self.platform.logs(deployment, service)]

    def _marks(self, deployment: Deployment, known: Iterable[Log]) -> dict[Log, int | None]:
        """Where its logs end. Of those that were `known` before and cannot be seen now, that cannot be told."""
        marks: dict[Log, int | None] = dict.fromkeys(known)
        with suppress(FaultLibraryError):
            for log in self._logs(deployment):
                marks[log] = None
                with suppress(DeploymentError):
                    marks[log] = log.mark()
        return marks

    def remove_deployment(self, deployment: Deployment) -> None:
        """Forget a deployment that was deleted."""
        del self.graphs[self.alias_of(deployment)]
        self.marks.pop(deployment.name, None)

    def close(self) -> None:
        """End all that was started."""
        self.close_sender()
        for load in self.loads.values():
            load.give_up()
            self._export_faults(load)
        platform, self._platform, self._injector = self._platform, None, None
        self.graphs.clear()
        if self._ledger is not None:
            leave_run(self._ledger.run)
        if platform is not None:
            platform.close()

    def _export_faults(self, load: Load) -> None:
        """Have the exports of a load that has ended tell what became of it after the faults that it met."""
        with suppress(FaultLibraryError, OSError):  # without a record there is nothing to export
            if faults := self.faults_on(load.plan.name):
                load.folder.export(faults)

    def _note_recovery(self, fault: ActiveFault) -> None:
        self.timeline.add(EventKind.RECOVERED, f"{fault.entry.kind} came off: {fault.entry.detail}", fault.recovered_s)


def _numbered(name: str, taken: Container[str]) -> str:
    """The name itself, or with the first number that is free."""
    numbered = (f"{name}-{number}" for number in itertools.count(2))
    return next(each for each in itertools.chain([name], numbered) if each not in taken)


_FACTS = re.compile(r"\{'id': '([^']+)', 'kind': ")


def id_of(fault: str) -> str:
    """The id of a fault, also out of its facts: Robot Framework makes a text of what `Get Fault` returns."""
    facts = _FACTS.match(fault)
    return facts[1] if facts else fault


def window_of(fault: ActiveFault) -> FaultWindow:
    """When a fault was in effect."""
    return FaultWindow(fault.label, fault.injected_s, fault.effective_s, fault.recovered_s)
