"""Keywords for requests whose client hangs up."""

import re
from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults.cancellation import CancelRequests
from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.injecting import InjectingComponent
from DynamoFaultLibrary.keywords.observation import begin_observation, wait_for
from DynamoFaultLibrary.load.client import Request
from DynamoFaultLibrary.load.records import Outcome
from DynamoFaultLibrary.platforms.log_store import flushed, places, text_of
from DynamoFaultLibrary.times import check_fault_time


class CancellationKeywords(InjectingComponent):
    """Cancel Request, Request Should Have Been Cancelled."""

    @keyword(tags=["Fault", "Request"])
    @on_graph
    def cancel_request(self, *requests: Request, timeout: timedelta = timedelta(seconds=5)) -> str:
        """Closes the client's socket of requests in flight, of one or of many at once. Returns the id of the fault.

        Evidence, within ``timeout``: each request was in flight still; the frontend's counter
        ``dynamo_frontend_model_cancellation_total`` has grown by as many, for each endpoint and type of request
        (``unary`` or ``stream``); and the workers have noticed as many, in ``dynamo_component_cancellation_total`` or
        in ``dynamo_component_errors_total{error_type="publish_response"}``: some cancellations Dynamo 1.4.2 counts only
        there. A request that no worker has received yet cannot be cancelled with evidence. The fault has no undo.

        Example:
        | ${request} = | `Start Request` | chat | max_tokens=900 |
        | `Wait For Tokens` | ${request} | 5 |
        | `Cancel Request` | ${request} |
        | `Request Should Have Been Cancelled` | ${request} |
        """
        if not requests:
            raise FaultError("no request is named; give those that the client shall hang up on")
        check_fault_time("timeout", timeout)
        begin_observation(self.context)
        effect = CancelRequests(self.context.platform, self.context.deployment, requests, timeout)
        fault = Fault("Cancel Request", self.context.deployment, (), effect)
        return self.inject(fault, None, None, f"the client hangs up on {fault.target['replica']}")

    @keyword(tags=["Check", "Request"])
    @on_graph
    def request_should_have_been_cancelled(self, request: Request, timeout: timedelta = timedelta(seconds=5)) -> None:
        """Fails unless the client has hung up on the request, and the frontend's log says of it ``cancelled``.

        The line may still come within ``timeout``.
        """
        record = request.wait(timeout)
        if record.outcome is not Outcome.CANCELLED:
            raise AssertionError(f"{request} should have been cancelled, but was {record.summary()}")
        frontend = self.context.deployment.graph.frontend.name
        logs = self.context.platform.logs(self.context.deployment, frontend)
        line = re.compile(rf'request completed .*error_type=cancelled .*x_request_id="{re.escape(request.id)}"')

        def told(complete: bool = False) -> bool:
            return any(line.search(text_of(log)) for log in (flushed(logs) if complete else logs))

        if not wait_for(self.context, told, timeout) and not told(complete=True):
            raise AssertionError(f"the frontend has not logged that {request} was cancelled: {places(logs)}")
