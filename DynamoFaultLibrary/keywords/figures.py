"""Getters with assertion operators for the figures of a load, one for each row of `FIGURES`."""

import itertools
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from inspect import Parameter, Signature
from typing import Any

from assertionengine.assertion_engine import NumericalOperators
from robot.api.deco import keyword

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.keywords.component import (
    Component,
    Count,
    Duration,
    Number,
    Operator,
    Share,
    check,
    check_assertion,
)
from DynamoFaultLibrary.keywords.ends import frontend_is_gone
from DynamoFaultLibrary.keywords.loads import DEFAULT
from DynamoFaultLibrary.load.client import Engine
from DynamoFaultLibrary.load.figures import FIGURES, Figure, Unit
from DynamoFaultLibrary.load.measures import View
from DynamoFaultLibrary.load.records import Outcome, Record, iterate_records
from DynamoFaultLibrary.load.recovery import HOLD_S, full_recovery
from DynamoFaultLibrary.load.table import Follower
from DynamoFaultLibrary.load.windows import Segment, Window
from DynamoFaultLibrary.reports.timeline import EventKind
from DynamoFaultLibrary.times import check_time

_SHOWN_ERRORS = 25
_POLL_S = 0.2
_EXPECTED: dict[Unit, Any] = {Unit.COUNT: Count, Unit.SHARE: Share, Unit.RATE: Number, Unit.SECONDS: Duration}
_RETURNED: dict[Unit, type] = {Unit.COUNT: int, Unit.SHARE: float, Unit.RATE: float, Unit.SECONDS: timedelta}


class FigureKeywords(Component):
    """What a load measured. Its keywords are added below, from the table of figures."""

    @keyword(tags=["Load", "Wait"])
    def wait_until_recovered(
        self,
        timeout: timedelta = timedelta(seconds=60),
        hold: timedelta = timedelta(seconds=HOLD_S),
        load: str = DEFAULT,
        fault: str | None = None,
        replica: str | int | None = None,
    ) -> None:
        """Waits until a load has had its service level from before the last fault for ``hold``, see `Full recovery`.

        The load must run, and go on for that long. Fails when the service level does not come back within ``timeout``
        or before the load ends, and says how far it is; fails at once when there is no baseline. With ``replica`` what
        that replica serves must be as before. It fails at once, too, when the frontend has ended and nobody
        starts it again, and when another fault was injected too early to tell.

        Example:
        | `Kill Worker` | VllmWorker | respawn=True |
        | `Wait Until Recovered` | timeout=30 s |
        """
        check_time("hold", hold)
        known, hit = self.context.load(load), self.context.fault_window(load, fault)
        if known.folder.engine == Engine.AIPERF:
            raise LoadError(f"load '{load}' is sent by aiperf, which tells nothing while it runs")
        records = Follower(known.sender.records)
        deadline = monotonic() + timeout.total_seconds()
        while True:
            now = monotonic()
            present = known.now_s
            table = records.table()
            if replica is not None:
                table = table.where(self.context.served(load).by(table, replica))
            found = full_recovery(
                table,
                hit,
                hold.total_seconds(),
                known.plan.ramp_s,
                present,
                known.plan.think_time_s,
                self.context.faults_on(load),
            )
            if found.seconds is not None:
                self.note(
                    EventKind.GOOD,
                    "the service level is back to what it was before the fault",
                    hit.effective_s + found.seconds,
                )
                self.info(f"measured by {found.describe()}")
                return
            place = f"{place_of(load, replica=replica)} has not recovered from {hit.label}"
            if found.level is None:
                raise LoadError(f"{place} as far as can be determined: {found.reason}; see {known.folder.path}")
            if found.until is not None and not found.fell_short:  # what comes now says nothing of it any more
                raise AssertionError(f"{place}: {found.reason}{found.whose}; see {known.folder.path}")
            if present is None:
                raise AssertionError(f"{place} before its end: {found.reason}{found.whose}; see {known.folder.path}")
            if gone := frontend_is_gone(self.context, known.deployment):
                raise AssertionError(f"{place}, and cannot: {gone}; see {known.folder.path}")
            if now >= deadline:
                waited = f"after {timeout.total_seconds():g} s {found.present}{found.whose}"
                raise AssertionError(f"{place}: {waited}; see {known.folder.path}")
            time.sleep(max(_POLL_S, monotonic() - now))  # half of the time at most is spent on reading

    def measure(
        self,
        figure: Figure,
        assertion_operator: Operator,
        assertion_expected: Any,
        message: str | None,
        *,
        load: str,
        fault: str | None,
        part: str | None = None,
        replica: str | int | None = None,
        **options: Any,
    ) -> Any:
        """The value of a figure, asserted when an operator is given; what ``then`` made of it, if that is given."""
        if figure.unit is Unit.SHARE and assertion_operator in NumericalOperators and assertion_expected is not None:
            assertion_expected = Share.check("assertion_expected", assertion_expected)
        what = figure.words.format(**options)
        check_assertion(_RETURNED[figure.unit], assertion_operator, assertion_expected, what)
        view: View | None = None

        def look() -> View:
            nonlocal view
            view = view or self.view(figure, load, part, fault, replica)
            return view

        value = figure.value(look, **options)
        if figure.event and view is not None and view.fault is not None:
            self.note(EventKind.GOOD, figure.event.format(**options), view.fault.effective_s + value)
        for remark in view.remarks if view is not None else ():
            self.info(remark)
        if "error_class" in options and view is not None:
            for record in failed_records(self, load, view.segment, options["error_class"]):
                self.info(f"{record.id}: {record.summary()}")
        if options.get("error_class"):
            what += f" ({options['error_class'].value})"
        made = timedelta(seconds=value) if figure.unit is Unit.SECONDS else _RETURNED[figure.unit](value)
        place = f" of {view.place}" if view is not None else ""
        return check(made, assertion_operator, assertion_expected, what + place, message)

    def view(self, figure: Figure, load: str, part: str | None, fault: str | None, replica: str | int | None) -> View:
        """What a figure is to look at."""
        known = self.context.load(load)
        check_part(self, load, part, fault)
        hit = self.context.fault_window(load, fault) if figure.of_fault else None
        now_s = known.now_s  # first: of a load that has ended by then, all records are read
        table, segment = self.context.look(load, part, None if figure.of_fault else fault, replica)
        return View(
            place_of(load, part, replica),
            table,
            segment,
            hit,
            known.plan,
            now_s,
            str(known.folder.path),
            self.context.faults_on(load) if figure.of_fault else (),
        )


def place_of(load: str, part: str | None = None, replica: str | int | None = None) -> str:
    """A load, its part and replica, for messages."""
    words = [f"load '{load}'", f"part '{part}'" if part else "", f"replica '{replica}'" if replica is not None else ""]
    return ", ".join(filter(None, words))


def check_part(component: Component, load: str, part: str | None, fault: str | None) -> None:
    """Refuse to look at what follows a fault that goes on.

    Raises:
        LoadError: it is still in effect.
    """
    is_after = part is not None and part.casefold() == Window.AFTER
    if is_after and (hit := component.context.fault_window(load, fault)).ended_s is None:
        raise LoadError(f"'{hit.label}' is still in effect, so load '{load}' has no part 'after' yet")


def failed_records(
    component: Component, load: str, segment: Segment, error_class: Outcome | None = None
) -> Iterator[Record]:
    """The first requests that failed in a part of a load."""
    path = component.context.load(load).sender.records
    if path.exists():  # aiperf keeps its own
        rows = segment.rows.where(segment.rows.is_error)
        judged = set(zip(rows.started.tolist(), rows.ended.tolist(), strict=True))
        records = (
            record
            for record in iterate_records(path)
            if record.outcome.is_error
            and error_class in (None, record.outcome)
            and (record.started_monotonic_s, record.ended_monotonic_s) in judged
        )
        yield from itertools.islice(records, _SHOWN_ERRORS)


def _parameters(figure: Figure) -> list[Parameter]:
    first = Parameter.POSITIONAL_OR_KEYWORD
    named = Parameter.KEYWORD_ONLY
    found = [Parameter("self", first)]
    if figure.percentile:
        found.append(Parameter("percentile", first, annotation=float))
    found += [
        Parameter("assertion_operator", first, default=None, annotation=Operator),
        Parameter("assertion_expected", first, default=None, annotation=_EXPECTED[figure.unit] | None),
        Parameter("message", first, default=None, annotation=str | None),
        *(Parameter(name, named, default=each.default, annotation=each.type) for name, each in figure.options.items()),
        Parameter("load", named, default=DEFAULT, annotation=str),
    ]
    if not figure.of_fault:
        found.append(Parameter("part", named, default=None, annotation=str | None))
    return [
        *found,
        Parameter("fault", named, default=None, annotation=str | None),
        Parameter("replica", named, default=None, annotation=str | int | None),
    ]


def _documentation(figure: Figure) -> str:
    where = "Asked of a load, or of a part of it, see `Parts of a load`."
    if figure.of_fault:
        where = "Asked of a load and of the last fault, or the one with the id ``fault``."
    return "\n\n".join(filter(None, [f"Returns {figure.definition}.", where, figure.more]))


def _getter(figure: Figure) -> Callable[..., Any]:
    """The keyword of a figure, with the arguments, types and documentation that libdoc shows and Robot checks."""
    parameters = _parameters(figure)
    signature = Signature(parameters, return_annotation=_RETURNED[figure.unit])

    def get(*arguments: Any, **named: Any) -> Any:
        given = signature.bind(*arguments, **named)
        given.apply_defaults()
        values = dict(given.arguments)
        component: FigureKeywords = values.pop("self")
        asserted = [values.pop(name) for name in ("assertion_operator", "assertion_expected", "message")]
        return component.measure(figure, *asserted, **values)

    get.__name__ = figure.keyword.lower().replace(" ", "_")
    get.__doc__ = _documentation(figure)
    get.__signature__ = signature  # type: ignore[attr-defined]  # inspect and PythonLibCore read it
    get.__annotations__ = {each.name: each.annotation for each in parameters[1:]} | {
        "return": signature.return_annotation
    }
    tags = ["Getter", "Load"] + (["Request"] if "request" in figure.options else [])
    made: Callable[..., Any] = keyword(tags=tags)(get)
    return made


for _figure in FIGURES:
    setattr(FigureKeywords, _figure.keyword.lower().replace(" ", "_"), _getter(_figure))
