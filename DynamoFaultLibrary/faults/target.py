"""Which replica and which of its processes a fault hits."""

import random
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.platforms.base import Deployment, Observing
from DynamoFaultLibrary.platforms.log_store import Log, flushed, places, text_of
from DynamoFaultLibrary.platforms.logs import ARRIVAL, SERVING, check_logged
from DynamoFaultLibrary.platforms.replicas import Replica

RANDOM = "random"
SERVING_TIMEOUT = timedelta(seconds=5)


@dataclass(frozen=True)
class Chooser:
    """Picks replicas; the seed makes a random choice repeatable."""

    platform: Observing
    deployment: Deployment
    random: random.Random
    why_gone: Callable[[str], str] = lambda name: ""
    """Says of a replica that does not run why, as far as is known."""

    def by_index(self, service: str, wanted: int | str) -> Replica:
        """The replica of that index or name, or a random one.

        Raises:
            FaultError: there is no such replica, or none at all.
        """
        replicas = self.platform.replicas(self.deployment, service)
        name = str(wanted) if str(wanted).startswith(f"{service}-") else f"{service}-{wanted}"
        why = f"; {gone}" if (gone := self.why_gone(name)) else ""
        if not replicas:
            ended = [end for end in self.platform.ended(self.deployment) if end.replica.service == service]
            why = "".join(f"; {self.why_gone(end.replica.name) or end}" for end in ended) or why
            lacking = [each for each in self.deployment.plan.missing if each.service == service]
            why += "".join(f"; not on this machine: {each.what}: {each.why}" for each in lacking)
            raise FaultError(f"service '{service}' of deployment '{self.deployment.name}' has no running replica{why}")
        if wanted == RANDOM:
            return self.random.choice(replicas)
        for replica in replicas:
            if name == replica.name:
                return replica
        indices = [replica.index for replica in replicas]
        raise FaultError(
            f"service '{service}' has no running replica {wanted!r}; running are {indices}, or 'random'{why}"
        )

    def serving(self, service: str, request_id: str) -> Replica:
        """The replica of `service` that serves a request.

        The frontend logs its id of a request beside our ``x_request_id`` when it receives the request, and a worker
        logs the same id when its turn comes; after a migration the worker that received it last is the one.

        Raises:
            FaultError: none is found within 5 s.
            DeploymentError: the graph's log settings hide those lines.
        """
        graph = self.deployment.graph
        check_logged(graph, graph.frontend.name, ARRIVAL)
        if service in graph.services:
            check_logged(graph, service, SERVING)
        found: list[Replica] = []

        def look() -> bool:
            found[:] = self._receivers(service, request_id)
            return bool(found)

        if not wait_until(look, SERVING_TIMEOUT, self.platform.poll_s):
            raise FaultError(
                f"no running replica of '{service}' has received request '{request_id}' within "
                f"{SERVING_TIMEOUT.total_seconds():g} s; see {places(self._frontend_logs())}"
            )
        return found[-1]

    def _frontend_logs(self) -> Sequence[Log]:
        return self.platform.logs(self.deployment, self.deployment.graph.frontend.name)

    def _receivers(self, service: str, request_id: str) -> list[Replica]:
        """Running replicas that received the request, the last receiver last."""
        marker = re.compile(rf'request received request_id=([0-9a-f-]{{36}}) .*x_request_id="{re.escape(request_id)}"')
        texts = (text_of(log) for log in flushed(self._frontend_logs()))
        match = next((found for text in texts if (found := marker.search(text))), None)
        if match is None:
            return []
        received = re.compile(rf"^(\S+) .*request received request_id={match.group(1)}", re.MULTILINE)
        times: list[tuple[str, Replica]] = []
        replicas = self.platform.replicas(self.deployment, service)
        flushed(replica.log for replica in replicas)  # another one may have received it later
        for replica in replicas:
            stamps = received.findall(text_of(replica.log))
            times += [(stamps[-1], replica)] if stamps else []
        return [replica for _, replica in sorted(times, key=lambda pair: pair[0])]
