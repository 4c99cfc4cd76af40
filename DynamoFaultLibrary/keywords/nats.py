"""Keywords for the NATS server of the request and event planes."""

import signal
from datetime import timedelta

from robot.api.deco import keyword

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.faults.nats import EndOfNats, NatsFault
from DynamoFaultLibrary.keywords.calling import on_graph
from DynamoFaultLibrary.keywords.injecting import InjectingComponent
from DynamoFaultLibrary.keywords.observation import begin_observation
from DynamoFaultLibrary.platforms.base import ControlPlane, Ending, Pausing, require
from DynamoFaultLibrary.platforms.effects import End
from DynamoFaultLibrary.platforms.nats import NatsServer
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import NATS
from DynamoFaultLibrary.times import check_fault_time


class NatsKeywords(InjectingComponent):
    """Kill, stop, restart, stall and start NATS."""

    @keyword(tags=["Fault", "NATS"])
    @on_graph
    def kill_nats(self, *, timeout: timedelta = timedelta(seconds=30), ttl: timedelta | None = None) -> str:
        """Kills the NATS server with SIGKILL, and returns the id of the fault.

        It must have ended within ``timeout``; after ``ttl`` (default: the library's ``fault_ttl``) it is started again.

        Evidence: that of `Kill Worker`, and nobody answers at its monitoring port. Undo: the server is started at its
        old ports with the data that it had, and is healthy, another server by its id, with all streams that JetStream
        had on disk.

        Example:
        | `Kill Nats` |
        | `Start Nats` |
        """
        return self._end("Kill Nats", End(timeout=timeout), ttl)

    @keyword(tags=["Fault", "NATS"])
    @on_graph
    def stop_nats(self, *, timeout: timedelta = timedelta(seconds=30), ttl: timedelta | None = None) -> str:
        """Shuts the NATS server down with SIGTERM, and returns the id of the fault. The rest is as in `Kill Nats`."""
        return self._end("Stop Nats", End(signal.SIGTERM, timeout=timeout), ttl)

    @keyword(tags=["Fault", "NATS"])
    @on_graph
    def restart_nats(self, *, graceful: bool = False, timeout: timedelta = timedelta(seconds=30)) -> str:
        """Kills the NATS server (with ``graceful``: shuts it down) and starts it again at once; returns the fault's id.

        Evidence: that of `Kill Worker`, and the server that answers then is another one by its id, with all streams
        that JetStream had on disk. The fault is irreversible but made good.
        """
        number = signal.SIGTERM if graceful else signal.SIGKILL
        return self._end("Restart Nats", End(number, stays_dead=False, timeout=timeout), None)

    @keyword(tags=["Fault", "NATS"])
    @on_graph
    def stall_nats(self, *, duration: timedelta | None = None) -> str:
        """Stops the NATS server with SIGSTOP: its connections stay open, nothing answers. Returns the id of the fault.

        After ``duration`` (default: the library's ``fault_ttl``) it goes on by itself; `Start Nats` lets it go on
        earlier.

        Evidence: that of `Stall Process`, and nothing answers at its monitoring port. Undo: SIGCONT; it is healthy.
        """
        victim, deployment = self._running(), self.context.deployment
        effect = require(self.context.platform, Pausing).plan_pause(deployment, victim, None)
        fault = NatsFault("Stall Nats", deployment, [[victim]], effect, "duration", server=self._server())
        return self._inject(fault, "SIGSTOP", duration)

    @keyword(tags=["Recovery", "NATS"])
    @on_graph
    def start_nats(self) -> None:
        """Starts a NATS server that was killed, stopped or stalled, and returns when it is healthy again."""
        name = self._server().name
        ours = [active for active in self.active_here() if isinstance(active.fault, NatsFault)]
        if not ours:
            raise FaultError(f"{name} was not killed, stopped or stalled")
        self.recover_together(ours)

    def _end(self, kind: str, end: End, ttl: timedelta | None) -> str:
        check_fault_time("timeout", end.timeout)
        victim, deployment = self._running(), self.context.deployment
        effect = require(self.context.platform, Ending).plan_end(deployment, victim, end)
        fault = EndOfNats(kind, deployment, [[victim]], effect, server=self._server())
        return self._inject(fault, end.signal_name, ttl)

    def _inject(self, fault: NatsFault, signal_name: str, ttl: timedelta | None) -> str:
        begin_observation(self.context)
        return self.inject(fault, ttl, None, f"{signal_name} to {fault.victim.name}")

    def _server(self) -> NatsServer:
        deployment = self.context.deployment
        urls = require(self.context.platform, ControlPlane).member_urls(deployment, NATS)
        if not urls:
            raise FaultError(
                f"deployment '{deployment.name}' has no NATS; deploy the graph with request_plane=nats or "
                "event_plane=nats"
            )
        return NatsServer(*next(iter(urls.items())))

    def _running(self) -> Replica:
        name = self._server().name
        replicas = self.context.platform.replicas(self.context.deployment, NATS)
        if not replicas:
            raise FaultError(f"{name} does not run: it was killed or stopped already")
        return replicas[0]
