"""The getters that the table of figures makes, on loads in memory."""

import inspect
import re
from datetime import timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from assertionengine import AssertionOperator

from DynamoFaultLibrary.errors import FaultError, FaultLibraryError, LoadError
from DynamoFaultLibrary.faults.blast_radius import BlastRadius
from DynamoFaultLibrary.keywords.component import Duration, Number, Share, check
from DynamoFaultLibrary.keywords.context import Context, Options
from DynamoFaultLibrary.keywords.figures import FigureKeywords
from DynamoFaultLibrary.keywords.load_checks import LoadCheckKeywords
from DynamoFaultLibrary.load.figures import FIGURES, definitions
from DynamoFaultLibrary.load.folder import LoadState
from DynamoFaultLibrary.load.plan import LoadPlan
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record
from DynamoFaultLibrary.load.served import Served
from DynamoFaultLibrary.load.table import Table
from DynamoFaultLibrary.load.windows import FaultWindow

ROOT = Path(__file__).parents[2]
LESS, MORE, EQUAL = AssertionOperator["<"], AssertionOperator[">="], AssertionOperator["=="]
OF_PARTS = [figure for figure in FIGURES if not figure.of_fault and figure.keyword != "Get Request Count"]
OF_FAULTS = [figure for figure in FIGURES if figure.of_fault]


def method(name: str) -> str:
    return name.lower().replace(" ", "_")


class World:
    """Keywords on one load: a request a second from 0 to 30, half a second each; those that start at 10 to 14 fail."""

    def __init__(self, directory: Path) -> None:
        self.context = Context(Options("local", 1, timedelta(minutes=1), BlastRadius()))
        self.figures, self.checks = FigureKeywords(self.context), LoadCheckKeywords(self.context)
        self.directory = directory

    def load(self, first: int = 0, last: int = 30, *, running: bool = False) -> None:
        records = [Record(f"r-{n}", "default", 0, Endpoint.CHAT, True, 8) for n in range(first, last)]
        for number, record in enumerate(records, first):
            record.started_monotonic_s, record.ended_monotonic_s = number, number + 0.5
            record.outcome = Outcome.TIMEOUT if 10 <= number < 15 else Outcome.OK
            if record.is_ok:
                record.response_id = f"cmpl-12345678-1234-1234-1234-{number:012x}"
        path = self.directory / "requests.jsonl"
        path.write_bytes(b"".join(record.to_line() for record in records))
        table = Table.of(records)
        ways = {f"12345678-1234-1234-1234-{n:012x}": [f"W-{n % 2}"] for n in range(first, last)}
        self.context.loads["default"] = SimpleNamespace(  # type: ignore[assignment]  # what the keywords need of one
            table=lambda: table,
            plan=LoadPlan("default", "http://127.0.0.1:1", "m", 1, request_count=30),
            is_running=running,
            check_sender=lambda: None,
            now_s=float(last) if running else None,
            folder=SimpleNamespace(path=self.directory, state=LoadState.COMPLETED),
            served=Served.of(["W-0", "W-1"], ways),
            sender=SimpleNamespace(records=path),
            scope="",
        )

    def fault(self, injected: float, ended: float | None = None) -> None:
        window = FaultWindow("kill on W-0", injected, injected, ended)
        self.context.fault_window = lambda load, fault_id=None: window  # type: ignore[method-assign]

    def get(self, name: str, *arguments: Any, **named: Any) -> Any:
        return getattr(self.figures, method(name))(*arguments, **named)


@pytest.fixture
def world(tmp_path: Path) -> World:
    made = World(tmp_path)
    made.load()
    return made


def first(name: str) -> list[Any]:
    figure = next(figure for figure in FIGURES if figure.keyword == name)
    return [95.0] if figure.percentile else []


def test_the_documentation_defines_each_figure_as_the_table_does() -> None:
    assert definitions() in (ROOT / "docs" / "load.md").read_text(encoding="utf-8"), (
        "write the output of 'python -m DynamoFaultLibrary.load.figures' to docs/load.md"
    )


@pytest.mark.parametrize("figure", FIGURES, ids=lambda figure: figure.keyword)
def test_each_figure_has_a_keyword_with_arguments_types_and_text_of_its_own(figure: Any) -> None:
    keyword = getattr(FigureKeywords, method(figure.keyword))
    arguments = inspect.signature(keyword).parameters
    assert set(arguments) >= {"assertion_operator", "assertion_expected", "message", "load", "fault", "replica"}
    assert set(figure.options) <= set(arguments)
    assert ("part" in arguments) is not figure.of_fault
    assert set(keyword.__annotations__) == {*arguments, "return"} - {"self"}
    assert figure.definition in inspect.getdoc(keyword)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Get Request Count", 30),
        ("Get Good Request Count", 25),
        ("Get Error Count", 5),
        ("Get Cancellation Count", 0),
        ("Get Retry Count", 0),
        ("Get Success Rate", 25 / 30),
        ("Get Throughput", 25 / 29.5),
        ("Get Latency", timedelta(seconds=0.5)),
        ("Get Longest Outage", timedelta(seconds=3)),
    ],
)
def test_a_getter_returns_its_figure(world: World, name: str, value: Any) -> None:
    assert world.get(name, *first(name)) == value
    assert type(world.get(name, *first(name))) is type(value)


@pytest.mark.parametrize("figure", OF_PARTS, ids=lambda figure: figure.keyword)
def test_a_part_without_a_request_is_no_pass(world: World, figure: Any) -> None:
    """Checks and counts passed on a part in which no request ended (row 4)."""
    world.fault(40.0, 41.0)
    with pytest.raises(LoadError, match=r"load 'default', part 'after' has no "):
        world.get(figure.keyword, *first(figure.keyword), part="after")


def test_the_number_of_no_requests_is_zero(world: World) -> None:
    world.fault(40.0, 41.0)
    assert world.get("Get Request Count", part="after") == 0


@pytest.mark.parametrize("figure", OF_FAULTS, ids=lambda figure: figure.keyword)
def test_a_load_that_ended_before_the_fault_is_no_pass(world: World, figure: Any) -> None:
    """No lost request, no error and no outage were found where nothing was sent any more (row 4)."""
    world.fault(40.0)
    with pytest.raises(LoadError, match="no request of load 'default' ended after kill on W-0 took effect"):
        world.get(figure.keyword)


@pytest.mark.parametrize(
    ("check_name", "arguments"),
    [
        ("load_should_have_zero_errors", ()),
        ("load_should_have_at_most_errors", (3,)),
        ("load_should_have_success_rate", (0.0,)),
        ("throughput_should_have_collapsed", (timedelta(0),)),
    ],
)
def test_a_check_of_nothing_fails(world: World, check_name: str, arguments: tuple[Any, ...]) -> None:
    """`Load Should Have Zero Errors part=after` passed without a request in that part (row 4)."""
    world.fault(40.0, 41.0)
    with pytest.raises(LoadError, match="load 'default', part 'after' has no request that ended: there is nothing to"):
        getattr(world.checks, check_name)(*arguments, part="after")


@pytest.mark.parametrize("check_name", ["load_should_meet_sla", "load_should_violate_sla"])
def test_an_sla_names_load_and_part(world: World, check_name: str) -> None:
    world.fault(40.0, 41.0)
    with pytest.raises(LoadError, match="load 'default', part 'after' has no request"):
        getattr(world.checks, check_name)(latency=timedelta(seconds=1), part="after")
    with pytest.raises(LoadError, match="for the 95th percentile write 95"):
        getattr(world.checks, check_name)(latency=timedelta(seconds=1), percentile=0.95)


def test_lost_requests_of_a_load_that_runs_are_not_counted_too_early(world: World) -> None:
    """What hung since the fault was in no record, so nothing seemed lost (row 5)."""
    world.fault(12.2)
    assert world.get("Get Lost Request Count") == 1
    world.load(running=True)
    with pytest.raises(LoadError, match="load 'default' still runs, so requests that were in flight"):
        world.get("Get Lost Request Count", EQUAL, 0)


def test_where_nothing_was_in_flight_nothing_could_be_lost(world: World) -> None:
    world.fault(12.7)
    with pytest.raises(LoadError, match=r"no request of load 'default' was in flight when kill on W-0 was injected"):
        world.get("Get Lost Request Count", EQUAL, 0)


def test_a_fault_without_a_part_is_not_ignored(world: World) -> None:
    """``fault=nonsense`` was ignored where no part was given (row 13)."""
    with pytest.raises(FaultError, match="no fault 'nonsense' in this test or its suite"):
        world.get("Get Success Rate", fault="nonsense")


def test_errors_that_are_shown_are_those_of_the_part(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The errors of the whole load were shown for a part."""
    shown: list[str] = []
    monkeypatch.setattr(FigureKeywords, "info", lambda self, text: shown.append(text))
    world.fault(12.2, 12.2)
    assert world.get("Get Error Count", part="before") == 2
    assert [text.split(":")[0] for text in shown] == ["r-10", "r-11"]
    with pytest.raises(AssertionError, match=r"load 'default', part 'after' has 2 failed .*; the first: r-13: "):
        world.checks.load_should_have_zero_errors(part="after")


def test_figures_of_one_replica_are_those_of_what_it_served(world: World) -> None:
    assert world.get("Get Good Request Count", replica="W-0") == 12
    assert world.get("Get Good Request Count", replica=1) == 13
    assert world.get("Get Error Count", replica="W-1") == 0
    with pytest.raises(LoadError, match=r"no replica 'W-7' among those that serve requests; there are \['W-0', 'W-1'"):
        world.get("Get Latency", 95.0, replica="W-7")
    with pytest.raises(AssertionError, match=r"Good requests of load 'default', replica 'W-1'"):
        world.get("Get Good Request Count", LESS, 5, replica="W-1")


def test_full_recovery_without_a_baseline_fails_with_the_reason(world: World) -> None:
    world.fault(8.0)
    with pytest.raises(AssertionError) as raised:
        world.get("Get Full Recovery Time", LESS, timedelta(seconds=10))
    assert "no baseline: 8 good answers before the fault, 20 are needed" in str(raised.value)


@pytest.mark.parametrize("keyword", ["Get Full Recovery Time", "Wait Until Recovered"])
def test_a_hold_of_nothing_is_refused(world: World, keyword: str) -> None:
    world.fault(8.0)
    with pytest.raises(FaultLibraryError, match="hold must be above 0, not 0 s"):
        world.get(keyword, hold=timedelta(0))


SECONDS = timedelta(seconds=1.5)


@pytest.mark.parametrize(
    ("value", "operator", "expected", "sentence"),
    [
        (SECONDS, "<", "soon", "assertion_expected must be a time such as '2 s' to compare it with X, not 'soon'"),
        (12, ">=", "many", "assertion_expected must be a whole number such as 3 to compare it with X, not 'many'"),
        (0.5, ">=", "90%", "assertion_expected must be a number such as 0.95 to compare it with X, not '90%'"),
        (SECONDS, "<", None, "assertion_operator < needs assertion_expected: what to compare with"),
        (12, None, 3, "assertion_expected '3' needs an assertion_operator, such as =="),
        (12, "contains", 1, "assertion_operator *= is for texts; X takes ==, !="),
    ],
)
def test_a_comparison_that_makes_no_sense_is_one_sentence(
    value: Any, operator: str | None, expected: Any, sentence: str
) -> None:
    """`Get Latency 50 < soon` and an operator without expectation gave raw Python errors."""
    with pytest.raises(FaultLibraryError, match=re.escape(sentence)):
        check(value, AssertionOperator[operator] if operator else None, expected, "X")


def test_a_time_that_is_too_long_is_told_in_seconds() -> None:
    """It was `'0:00:01.500000' (timedelta)`."""
    with pytest.raises(AssertionError, match=r"^X is 1\.5 s, which should be below 1 s$"):
        check(SECONDS, AssertionOperator["<"], timedelta(seconds=1), "X")


@pytest.mark.parametrize(
    ("given", "made"), [("90%", 0.9), ("0.9", 0.9), (1, 1.0), ("99.9 %", 0.999), ("value>0", None)]
)
def test_a_share_may_be_a_percentage(given: Any, made: float | None) -> None:
    assert Share.convert(given) == (pytest.approx(made) if made is not None else given)


@pytest.mark.parametrize("given", ["90", "120%", "most", "-0.1"])
def test_what_is_no_share_is_refused(world: World, given: str) -> None:
    with pytest.raises(FaultLibraryError, match="must be a share from 0 to 1, or a percentage such as 90%, not"):
        world.get("Get Success Rate", MORE, Share.convert(given))
    with pytest.raises(FaultLibraryError, match="min_rate must be a share from 0 to 1"):
        world.checks.load_should_have_success_rate(Share.convert(given))  # type: ignore[arg-type]


def test_times_and_numbers_are_converted_or_kept_as_expressions() -> None:
    assert Duration.convert("2 s") == timedelta(seconds=2)
    assert (Duration.convert("soon"), Number.convert("90%")) == ("soon", "90%")


@pytest.mark.parametrize(
    ("outcome", "hint"), [(Outcome.CANCELLED, "Get Cancellation Count"), (Outcome.OK, "Get Good Request Count")]
)
def test_a_class_that_is_no_error_is_refused(outcome: Outcome, hint: str, world: World) -> None:
    """The count of such errors was 0 whatever happened."""
    with pytest.raises(LoadError, match=f"error_class '{outcome.value}' is no failure; see '{hint}'"):
        world.get("Get Error Count", EQUAL, 0, error_class=outcome)


@pytest.mark.parametrize("part", ["after", "After"])
def test_there_is_no_part_after_a_fault_that_goes_on(part: str, world: World) -> None:
    """It was said that no request had ended there; written with a capital it was said still."""
    world.fault(20)
    said = "'kill on W-0' is still in effect, so load 'default' has no part 'after' yet"
    with pytest.raises(LoadError, match=said):
        world.get("Get Success Rate", part=part)
    with pytest.raises(LoadError, match=said):
        world.checks.load_should_have_zero_errors(part=part)
    with pytest.raises(LoadError, match=said):
        world.checks.load_should_have_at_least_requests(0, part=part)


def test_a_load_that_did_not_stream_has_no_first_token(world: World) -> None:
    for name in ("Get Time To First Token", "Get Inter Token Latency"):
        with pytest.raises(LoadError, match="no answer of load 'default' was streamed"):
            world.get(name, 50)


def test_a_short_time_is_told_with_its_digits() -> None:
    """0.00001 was taken for 0 s."""
    wanted = Duration.convert("0.00001")
    assert wanted == timedelta(microseconds=10)
    with pytest.raises(AssertionError, match=r"p95 latency is 0\.5 s, which should be below 0\.00001 s"):
        check(timedelta(seconds=0.5), LESS, wanted, "p95 latency")


def test_a_share_is_refused_as_it_was_written(world: World) -> None:
    with pytest.raises(FaultLibraryError, match=r"a percentage such as 90%, not 150%$"):
        world.get("Get Success Rate", MORE, Share.convert("150%"))
    assert type(Share.check("x", Share.convert("15%"))) is float


@pytest.mark.parametrize("number", ["nan", "inf", "-inf"])
def test_nothing_is_compared_with_what_is_no_number(number: str, world: World) -> None:
    with pytest.raises(FaultLibraryError, match=f"must be a number to compare it with Requests/s, not {number}"):
        world.get("Get Throughput", LESS, Number.convert(number))


@pytest.mark.parametrize("raised", [RuntimeError, TypeError])
def test_an_expression_that_fails_is_told_in_one_sentence(
    raised: type[Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    """`validate    value < 1` on a time was a bare TypeError."""

    def evaluate(*_: Any) -> None:
        raise raised("Evaluating expression 'value < 1' failed: TypeError: '<' not supported")

    monkeypatch.setattr("DynamoFaultLibrary.keywords.component.verify_assertion", evaluate)
    with pytest.raises(FaultLibraryError) as caught:
        check(timedelta(seconds=1), AssertionOperator["validate"], "value < 1", "p95 latency")
    assert str(caught.value) == (
        "assertion_expected 'value < 1' cannot be evaluated for p95 latency: TypeError: '<' not supported; value is a "
        "timedelta: compare value.total_seconds()"
    )


@pytest.mark.parametrize("figure", OF_FAULTS, ids=lambda figure: figure.keyword)
def test_a_load_that_began_after_a_fault_has_no_figure_of_it(world: World, figure: Any) -> None:
    """It had a recovery time, which counted from before its start."""
    world.fault(-20.0)
    with pytest.raises(
        LoadError, match=r"load 'default' began 20\.0 s after kill on W-0 took effect, so it says nothing"
    ):
        world.get(figure.keyword)


def test_the_log_says_which_service_level_a_full_recovery_was_measured_by(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    world = World(tmp_path)
    world.load(15, 75)
    world.fault(50.0)
    earlier = FaultWindow("stall on W-1", 45.0, 45.0, None)
    world.context.faults_on = lambda load: [earlier]  # type: ignore[method-assign]
    with caplog.at_level("INFO"):
        assert world.get("Get Full Recovery Time", hold=timedelta(seconds=10)) == timedelta(0)
    assert "measured by the service level before stall on W-1, from which the load was not seen" in caplog.text


@pytest.mark.parametrize(
    ("check", "least", "of_replica"),
    [
        ("load_should_have_been_applied", 11, True),
        ("load_should_have_cancelled_requests", 6, False),
        ("load_should_have_been_rejected", 1, False),
    ],
)
def test_checks_of_numbers_look_at_a_part(world: World, check: str, least: int, of_replica: bool) -> None:
    """They looked at the whole load, whatever happened when."""
    world.fault(10.25, 20.0)
    world.checks._log_lines = list  # type: ignore[method-assign]  # no graph, no logs
    passing = {"load_should_have_been_applied": 10, "load_should_have_cancelled_requests": 5}.get(check)
    if passing is not None:
        getattr(world.checks, check)(passing, part="during")
    with pytest.raises(AssertionError, match=r"^load 'default', part 'during' has "):
        getattr(world.checks, check)(least, part="during")
    if of_replica:
        with pytest.raises(AssertionError, match=r"^load 'default', part 'after', replica '0' has 5 good"):
            getattr(world.checks, check)(least, part="after", replica=0)
    world.fault(40.0, 41.0)
    with pytest.raises(LoadError, match="there is nothing to judge"):
        getattr(world.checks, check)(least, part="after")


def test_the_shape_of_a_part_is_looked_at(world: World) -> None:
    world.fault(10.25, 20.0)
    with pytest.raises(AssertionError, match=r"^load 'default', part 'before', replica 'W-1' has 1 different prompts"):
        world.checks.load_should_have_shape(min_prompts=2, part="before", replica="W-1")


def test_the_recovery_of_one_replica_is_waited_for(world: World) -> None:
    """`Wait Until Recovered` had no ``replica``, unlike its getter."""
    world.load(0, 80)
    world.fault(50.0)
    known = world.context.loads["default"]
    known.folder.engine = "native"
    world.figures.wait_until_recovered(hold=timedelta(seconds=10), timeout=timedelta(0))
    with pytest.raises(LoadError, match="no replica 'W-9'"):
        world.figures.wait_until_recovered(replica="W-9")
    served = known.served
    assert served is not None
    table, by = known.table(), served.by(known.table(), "W-1")
    lost = {f"12345678-1234-1234-1234-{n:012x}": [f"W-{0 if n >= 60 else n % 2}"] for n in range(80)}
    known.served = Served.of(["W-0", "W-1"], lost)
    assert by.sum() < len(table)
    with pytest.raises(AssertionError, match=r"load 'default', replica 'W-1' has not recovered from kill on W-0"):
        world.figures.wait_until_recovered(hold=timedelta(seconds=10), timeout=timedelta(0), replica="W-1")
