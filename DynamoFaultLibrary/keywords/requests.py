"""Keywords for single requests."""

import itertools
from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import LoadError
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.component import Component
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.records import Endpoint, Outcome, Record, RequestSpec
from DynamoFaultLibrary.load.workload import prompt_of
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.reports.timeline import EventKind
from DynamoFaultLibrary.times import check_above_zero, check_time

_POSITION_ENGINE = "DynamoFaultLibrary.engines.position"


class RequestKeywords(Component):
    """Send, start, await and judge single requests."""

    _numbers = itertools.count(1)

    @keyword(tags=["Request"])
    @on_graph
    def send_completion(
        self,
        prompt: str | None = None,
        *,
        input_tokens: int = 8,
        max_tokens: int = 16,
        streaming: bool = False,
        seed: int | None = None,
        timeout: timedelta = timedelta(seconds=240),
        allow_failure: bool = False,
    ) -> Record:
        """Sends a request to ``/v1/completions``, waits for its end and returns its record. See `Start Request`.

        Fails when the request failed, as in `Request Should Have Succeeded`. With ``allow_failure=True`` the record is
        returned whatever it says.

        Example:
        | ${record} = | `Send Completion` | max_tokens=100 |
        | Log | ${record.latency_s} |
        | ${record} = | `Send Completion` | allow_failure=True |
        | Should Be Equal | ${record.status} | ${503} |
        """
        request: Request = self.start_request(
            Endpoint.COMPLETION,
            prompt=prompt,
            input_tokens=input_tokens,
            max_tokens=max_tokens,
            streaming=streaming,
            seed=seed,
            timeout=timeout,
        )
        return self._end_of(request, allow_failure)

    @keyword(tags=["Request"])
    @on_graph
    def send_chat_completion(
        self,
        prompt: str | None = None,
        *,
        input_tokens: int = 8,
        max_tokens: int = 16,
        streaming: bool = False,
        seed: int | None = None,
        timeout: timedelta = timedelta(seconds=240),
        allow_failure: bool = False,
    ) -> Record:
        """Sends a request to ``/v1/chat/completions``, waits for its end, returns its record. See `Send Completion`."""
        request: Request = self.start_request(
            Endpoint.CHAT,
            prompt=prompt,
            input_tokens=input_tokens,
            max_tokens=max_tokens,
            streaming=streaming,
            seed=seed,
            timeout=timeout,
        )
        return self._end_of(request, allow_failure)

    @keyword(tags=["Request"])
    @on_graph
    def start_request(
        self,
        endpoint: Endpoint = Endpoint.COMPLETION,
        *,
        prompt: str | None = None,
        input_tokens: int = 8,
        max_tokens: int = 900,
        streaming: bool = True,
        seed: int | None = None,
        timeout: timedelta = timedelta(seconds=240),
    ) -> Request:
        """Starts a request in a process of its own and returns at once, with a handle for the other keywords.

        | *Argument* | *Meaning* |
        | ``endpoint`` | ``completion`` or ``chat`` |
        | ``prompt`` | The text; default: ``input_tokens`` words |
        | ``max_tokens`` | Tokens to generate; end-of-sequence is ignored, so a good answer has them all |
        | ``streaming`` | Whether tokens come one by one |
        | ``seed`` | The sampling seed; temperature is 0 |
        | ``timeout`` | Time for the whole request |

        Nothing is retried. The record goes to ``load/requests/requests.jsonl`` in the results.

        Example:
        | ${request} = | `Start Request` | chat | max_tokens=900 |
        | `Wait For Tokens` | ${request} | 100 |
        | `Kill Worker` | VllmWorker | serving=${request} |
        | `Wait For Request` | ${request} |
        | `Request Should Have Succeeded` | ${request} |
        """
        check_above_zero(input_tokens=input_tokens, max_tokens=max_tokens)
        check_time("timeout", timeout)
        deployment = self.context.deployment
        begin_observation(self.context)
        sender = self.context.sender
        spec = RequestSpec(
            id=f"request-{next(self._numbers)}",
            url=deployment.url,
            endpoint=endpoint,
            model=deployment.model,
            prompt=prompt if prompt is not None else prompt_of(input_tokens),
            max_tokens=max_tokens,
            streaming=streaming,
            timeout_s=timeout.total_seconds(),
            seed=seed,
            check_sequence=prompt is None and answers_are_known(deployment),
        )
        request = Request(spec, sender, deployment=deployment.name)
        self.note(EventKind.LOAD, f"{request} starts")
        sender.command("request", spec=spec.to_json())
        self.context.requests.append(request)
        return request

    @keyword(tags=["Request", "Wait"])
    def wait_for_tokens(self, request: Request, tokens: int, timeout: timedelta = timedelta(seconds=60)) -> None:
        """Waits until a streamed request has received so many tokens; fails when it ends before that.

        Example:
        | `Wait For Tokens` | ${request} | 100 | timeout=10 s |
        """
        if not request.spec.streaming:
            raise LoadError(f"{request} is not streamed, so its tokens come all at once: nothing tells how many it has")
        request.wait_for_tokens(tokens, timeout)
        self.info(f"{request} has received {tokens} tokens")

    @keyword(tags=["Request", "Wait"])
    def wait_for_request(self, request: Request, timeout: timedelta = timedelta(minutes=30)) -> Record:
        """Waits for the end of a request and returns its record.

        ``timeout`` limits this wait; the request has a limit of its own, see `Start Request`.

        Attributes of a record: ``outcome``, ``status``, ``error``, ``text``, ``finish_reason``, ``output_tokens``,
        ``latency_s``, ``ttft_s``, ``gaps_s``, ``longest_gap_s``.
        """
        known = request.record is not None
        record = request.wait(timeout)
        if not known:
            kind = EventKind.GOOD if record.is_ok else EventKind.FAULT
            self.note(kind, f"{request.id} ended {record.summary()}", record.ended_monotonic_s)
        return record

    @keyword(tags=["Request", "Check"])
    def request_should_have_succeeded(self, request: Request, timeout: timedelta = timedelta(minutes=30)) -> None:
        """Fails unless the request brought all tokens that were asked for.

        A status of 200 and a finish reason are not enough: fewer tokens make it ``truncated``. On the position engine
        each token is compared with the one that must stand in its place.
        """
        record = self.wait_for_request(request, timeout)
        if not record.is_ok:
            raise AssertionError(f"{request} should have succeeded, but was {record.summary()}")

    @keyword(tags=["Request", "Check"])
    def request_should_have_failed(
        self, request: Request, *outcomes: Outcome, timeout: timedelta = timedelta(minutes=30)
    ) -> None:
        """Fails unless the request failed, in one of the given error classes if there are any.

        Example:
        | `Request Should Have Failed` | ${request} | stream_error | http_error |
        """
        for outcome in outcomes:
            if not outcome.is_error:
                meant = "Have Been Cancelled" if outcome is Outcome.CANCELLED else "Have Succeeded"
                raise LoadError(f"outcome '{outcome.value}' is no failure; see 'Request Should {meant}'")
        record = self.wait_for_request(request, timeout)
        if not record.outcome.is_error or (outcomes and record.outcome not in outcomes):
            wanted = " or ".join(outcome.value for outcome in outcomes) or "any error"
            raise AssertionError(f"{request} should have failed with {wanted}, but was {record.summary()}")

    def _end_of(self, request: Request, allow_failure: bool) -> Record:
        if not allow_failure:
            self.request_should_have_succeeded(request)
        record: Record = self.wait_for_request(request)
        return record


def answers_are_known(deployment: Deployment) -> bool:
    """Whether the workers are position engines, so that each token can be checked."""
    workers = deployment.graph.workers
    return bool(workers) and all(worker.module == _POSITION_ENGINE for worker in workers)
