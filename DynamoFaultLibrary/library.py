"""The library class: options, components, and the listener that takes faults off."""

from collections.abc import Callable
from typing import Any

from robot import result, running
from robot.api import SkipExecution, logger
from robot.api.deco import library
from robotlibcore import DynamicCore

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import FaultLibraryError, Unsupported
from DynamoFaultLibrary.faults.injector import DEFAULT_TTL, ActiveFault
from DynamoFaultLibrary.keywords import robot_context
from DynamoFaultLibrary.keywords.calling import GRAPH, bind, judge, meant, takes_graph, with_graph
from DynamoFaultLibrary.keywords.cancellation import CancellationKeywords
from DynamoFaultLibrary.keywords.checks import CheckKeywords
from DynamoFaultLibrary.keywords.component import CONVERTERS
from DynamoFaultLibrary.keywords.context import Context
from DynamoFaultLibrary.keywords.cuda import CudaKeywords
from DynamoFaultLibrary.keywords.deployment import DeploymentKeywords
from DynamoFaultLibrary.keywords.ends import note_unordered_ends, tell_unordered_ends
from DynamoFaultLibrary.keywords.etcd import EtcdKeywords
from DynamoFaultLibrary.keywords.excuses import is_symptom, unexcused
from DynamoFaultLibrary.keywords.faults import FaultKeywords
from DynamoFaultLibrary.keywords.figures import FigureKeywords
from DynamoFaultLibrary.keywords.importing import parse_options
from DynamoFaultLibrary.keywords.load_checks import LoadCheckKeywords
from DynamoFaultLibrary.keywords.loads import LoadKeywords
from DynamoFaultLibrary.keywords.nats import NatsKeywords
from DynamoFaultLibrary.keywords.network import NetworkKeywords
from DynamoFaultLibrary.keywords.observation import observe_all
from DynamoFaultLibrary.keywords.requests import RequestKeywords
from DynamoFaultLibrary.keywords.running import RunningKeywords
from DynamoFaultLibrary.keywords.services import ServiceKeywords
from DynamoFaultLibrary.keywords.story import save_faults, tell_test
from DynamoFaultLibrary.pabot import end_with_pabot
from DynamoFaultLibrary.plugins import LOCAL

VERSION = "0.1.0"


@library(scope="GLOBAL", version=VERSION, doc_format="ROBOT", converters=CONVERTERS)
class DynamoFaultLibrary(DynamicCore):  # type: ignore[misc]  # PythonLibCore ships no types
    """Tests the fault tolerance of NVIDIA Dynamo: deploy a graph, load it, break it, prove what happened.

    Two promises: *a fault keyword never lies* (it passes only with evidence that the fault took effect), and *a fault
    always comes off* (at the end of the test, at its expiry, and also after ``kill -9`` of the run).

    %TOC%

    = A first test =

    | *** Settings ***
    | Library           DynamoFaultLibrary
    |
    | *** Test Cases ***
    | A Stream Survives The Death Of Its Worker
    |     Deploy Graph    position-agg.yaml    migration_limit=3
    |     ${request} =    Start Request    chat    max_tokens=300
    |     Wait For Tokens    ${request}    100
    |     Kill Worker    PositionWorker    serving=${request}
    |     Request Should Have Succeeded    ${request}
    |     Get Migrations    ==    1
    |     [Teardown]    Delete Graph

    = Faults =

    A keyword with the tag ``Fault`` writes the fault with its undo into a ledger on disk before it injects it, proves
    that it took effect, and records the evidence. Faults come off at the end of the test that injected them; a fault
    that cannot be undone fails its test. A fault that a suite's setup injected stays for all tests of the suite and of
    the suites below it; call `Recover All Faults` in its teardown, which fails when one does not come off. At the end
    all faults are undone first, and then verified together. A supervisor process outside robot
    undoes them, and ends all that was started, when robot dies in whatever way, and when their time to live is over.

    Each fault has a time after which it comes off by itself: ``duration`` of keywords that hold something up (a stall,
    a partition), ``ttl`` of the others. The two mean the same: above 0 and at most 24 h, by default the import's
    ``fault_ttl``. `Renew Fault` gives a fault that is in effect more time, `Wait Until Fault Is Over` waits for its
    end, `Get Fault` tells its times. Keywords that inject a fault return its id; others take it as ``fault``.

    A test with the tag ``robot:skip-on-failure`` stands for a known defect of the system under test. Excused are
    failed assertions and what was waited for in vain. The test fails all the same when it is broken itself: its graph
    is not deployed, a fault is not injected, proven or undone, a load has no records, an argument is wrong.

    A replica that ends though no fault of this library has ended it is told in the log, in the timeline (at the time at
    which it ended), and by keywords that fail in that test.

    = Several graphs =

    `Deploy Graph` may be called more than once. Keywords that mean a graph take ``graph``, the ``alias`` that it was
    deployed with; without it they mean the graph that was deployed last. A graph without an alias has its own name,
    with a number if that is taken (``position-agg``, ``position-agg-2``). Loads and requests remember their graph: a
    keyword with ``serving=${request}`` or ``load=`` means that one, and the parts of a load are cut at the last fault
    that hit its graph. `Delete Graph` deletes one, `Delete All Graphs` all of them.

    = Loads =

    `Start Load` sends requests from a process of its own and records each one. What happened is asked for afterwards,
    or while it runs: `Get Latency`, `Get Success Rate`, `Get Recovery Time` and others. A load that a test has started
    ends with the test.

    A request is good when it brought all tokens that were asked for. Latency counts from the start of a request, with
    ``request_rate`` from its place in the schedule. The inter-token latency of a request is the mean time from token to
    token after the first one. *Recovery time* is the time from the moment a fault took effect to the end of the first
    of five good responses in a row. A request is *lost* when it was in flight at the injection and failed.

    = Full recovery =

    A load that answers again at half its speed has not recovered. Its service level is what it got before the fault,
    from 20 good answers or more: their throughput, the p95 of their latency, and the share of requests that failed. It
    has recovered fully from the first moment after which it keeps 90 % of that throughput, 1.25 times that latency at
    most, and at most one percentage point more failures, to the end of what was recorded, in each stretch of 5 s:
    `Get Full Recovery Time`, `Wait Until Recovered`. docs/load.md has the details.

    A second fault is measured by the level before the first one, unless the load was seen to recover fully in between;
    the log says which level was taken. The first one is judged up to the injection of the second. A
    load must begin before the fault: one that began after it has no recovery.

    = Parts of a load =

    Getters and checks of loads take ``part``:

    | ``before`` | Requests that ended before the last fault was injected |
    | ``during`` | Requests that were in flight at some time between its injection and its end |
    | ``after`` | Requests that started after its end; none while it is in effect |
    | a phase | Requests that started after `Start Phase` with that name, up to the next phase |

    ``fault=<id>`` names another fault than the last one; keywords that inject a fault return its id. The tables of
    log.html and ``dynamo-fault report`` are cut at the last fault as well. Rates count good
    responses that ended in the time of the part. A fault that was made good at once ends with that.

    ``replica=PositionWorker-0`` looks at what one replica served; its number is enough where the graph has one worker
    service. After a migration a request counts for the replica that finished it; one that failed without an answer
    counts for none. A part without a request fails a getter or check: there is nothing to judge.

    = Assertions =

    Getters take an operator and an expected value, such as ``==``, ``!=``, ``<``, ``>``, ``<=``, ``>=``, ``validate``
    or ``then``: see [https://github.com/MarketSquare/AssertionEngine|AssertionEngine]. Without them they just return
    the value. Times are written as Robot Framework writes them: ``2 s``, ``150 ms``, ``1 min 30 s``. In an expression
    for ``validate`` or ``then``, a time is a Python timedelta: ``value.total_seconds() < 2``.

    = Results =

    ``results/<run>/<suite>/`` in the output directory (or in the output directory itself, if that is called
    ``results``) holds ``timeline.jsonl``, the logs of all replicas
    (``<Service>/<Service>-<index>.log``) and what their metrics said last (``.metrics``), the graph as deployed,
    ``faults.json``, and for each load ``load/<name>/`` with its records (``requests.jsonl``), what it was asked for
    (``load.json``) and its figures in aiperf's schema (``profile_export_aiperf.json``, ``.csv``). Single requests are
    in ``load/requests/``. The first graph of a suite uses this folder itself, each other one a folder below it that is
    called by its alias (``blue/load/<name>/``). log.html links them; ``dynamo-fault report <directory>`` puts loads
    side by side.

    = Environment variables =

    | ``DYNAMO_FAULT_STATE`` | Directory of ledgers and work files; default ``$XDG_STATE_HOME/dynamo-fault`` |
    | ``DYNAMO_PYTHON`` | Python that runs Dynamo; default: the one that runs robot |
    | ``DYNAMO_FAULT_RUN`` | Name of the run in ledger and results; ``dynamo-fault run`` sets it |

    A robot that imports the library twice, with different arguments, has two instances of it. Each has a ledger, a
    supervisor and results of its own, the second one with ``.import-2`` at the end of the run's name.
    """

    ROBOT_LISTENER_API_VERSION = 3  # PythonLibCore registers whatever has this as a listener

    def __init__(
        self,
        platform: Any = LOCAL,
        *,
        seed: Any = None,
        fault_ttl: Any = DEFAULT_TTL,
        allowed_services: Any = None,
        allowed_namespaces: Any = None,
        allowed_nodes: Any = None,
        max_faults: Any = None,
    ) -> None:
        """Arguments of the import.

        | *Argument* | *Meaning* |
        | ``platform`` | Where graphs run: ``local``, or a platform that another installed package brings along |
        | ``seed`` | A whole number, makes random choices repeatable; default: a new one, logged when it is used |
        | ``fault_ttl`` | Time after which a fault comes off by itself, unless its keyword says otherwise |
        | ``allowed_services``, ``allowed_nodes`` | What faults may touch: names with commas between, or a list; default: all |
        | ``allowed_namespaces`` | The same; platform ``local`` has no namespaces |
        | ``max_faults`` | How many faults may be active at once; default: any number |

        A fault beyond these limits is refused, and the message says why.
        """  # noqa: E501  # a table's row is a line
        given = {
            "platform": platform,
            "seed": seed,
            "fault_ttl": fault_ttl,
            "allowed_services": allowed_services,
            "allowed_namespaces": allowed_namespaces,
            "allowed_nodes": allowed_nodes,
            "max_faults": max_faults,
        }
        self.context = Context(parse_options(given))
        self._test_began_s = 0.0
        self._failed_with_symptom = False
        self._broken: set[int] = set()
        """Results of this library's keywords that failed in this test, but not for what the system under test did."""
        components = [
            DeploymentKeywords,
            RequestKeywords,
            LoadKeywords,
            FaultKeywords,
            CudaKeywords,
            CancellationKeywords,
            EtcdKeywords,
            NatsKeywords,
            ServiceKeywords,
            RunningKeywords,
            NetworkKeywords,
            FigureKeywords,
            LoadCheckKeywords,
            CheckKeywords,
        ]
        super().__init__([component(self.context) for component in components])

    def run_keyword(self, name: str, args: list[Any], kwargs: dict[str, Any] | None = None) -> Any:
        """Run a keyword; what this machine cannot do skips the test.

        A failure also tells which replicas have ended in this test without anybody's order.
        """
        self._failed_with_symptom = False
        named = dict(kwargs or {})
        alias = named.pop(GRAPH, None) if takes_graph(self.keywords[name]) else None
        bound = bind(super().get_keyword_arguments(name), args, named)
        try:
            judge({**bound, GRAPH: alias} if alias == "" else bound, self.get_keyword_types(name))
            with self.context.chosen(meant(self.context, self.keywords[name], bound, alias)):
                return super().run_keyword(name, args, named)
        except Unsupported as reason:
            raise SkipExecution(str(reason)) from reason
        except BaseException as error:
            self._failed_with_symptom = is_symptom(error, self.get_keyword_tags(name))
            if isinstance(error, FaultLibraryError | AssertionError):
                message = str(error)
                ends = tell_unordered_ends(self.context, self._test_began_s, message)
                error.args = (("\n" if "\n" in message else "; ").join([message, *ends]),)
            raise

    def get_keyword_arguments(self, name: str) -> list[Any]:
        """Arguments of a keyword, with ``graph`` where it means one."""
        arguments: list[Any] = super().get_keyword_arguments(name)
        return with_graph(arguments) if takes_graph(self.keywords.get(name, print)) else arguments

    def get_keyword_types(self, name: str) -> dict[str, Any]:
        """Types of the arguments of a keyword."""
        types: dict[str, Any] = super().get_keyword_types(name)
        return {**types, GRAPH: str | None} if takes_graph(self.keywords.get(name, print)) else types

    # Listener

    def start_suite(self, data: running.TestSuite, outcome: result.TestSuite) -> None:
        """Never outlive the pabot that has started this robot."""
        if robot_context.variable("PABOTQUEUEINDEX") is not None:
            end_with_pabot()

    def start_test(self, data: running.TestCase, outcome: result.TestCase) -> None:
        """A new test: it sees only what happens from now on."""
        self._test_began_s = monotonic()
        self._broken.clear()
        self.context.begin_test(outcome.full_name)
        observe_all(self.context)

    def end_library_keyword(
        self, data: running.Keyword, implementation: running.LibraryKeyword, outcome: result.Keyword
    ) -> None:
        """Remember failures that no known defect looks like; see `keywords.excuses`."""
        is_ours = implementation.owner.instance is self  # by whatever name it was imported
        if outcome.failed and is_ours and not self._failed_with_symptom:
            self._broken.add(id(outcome))
        self._failed_with_symptom = False

    def end_test(self, data: running.TestCase, outcome: result.TestCase) -> None:
        """Take the test's faults off, whatever it did; then tell its story in the log."""
        try:
            self._end_test(outcome)
        finally:
            self.context.end_test()

    def _end_test(self, outcome: result.TestCase) -> None:
        note_unordered_ends(self.context)
        problems = self._recover(lambda fault: fault.scope == outcome.full_name)
        broken = unexcused(outcome, self._broken)
        if broken:
            problems.insert(0, f"this is not a known defect of the system: {'; '.join(dict.fromkeys(broken))}")
        if problems:
            outcome.status = "FAIL"
            outcome.message = "\n\n".join(filter(None, [outcome.message, *problems]))
        story = tell_test(self.context, outcome.full_name, self._test_began_s)
        if story:
            logger.info(story, html=True)
        save_faults(self.context)

    def end_suite(self, data: running.TestSuite, outcome: result.TestSuite) -> None:
        """Take off what a suite's setup or teardown injected. Robot has no way to fail a suite here: it is an error."""
        for problem in self._recover(lambda fault: fault.belongs_to_suite(outcome.full_name)):
            logger.error(problem)
        save_faults(self.context)
        self.context.end_suite(outcome.full_name)

    def close(self) -> None:
        """The library goes out of scope: end everything."""
        self.context.close()

    def _recover(self, belongs: Callable[[ActiveFault], bool]) -> list[str]:
        return self.context.injector.recover_all(belongs) if self.context.faults else []
