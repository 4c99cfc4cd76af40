"""The NATS server ends or stalls; its monitoring port (``/varz``, ``/jsz``, ``/healthz``) tells of its state."""

from dataclasses import dataclass, field
from typing import ClassVar

from DynamoFaultLibrary.clock import seconds_text, wait_until
from DynamoFaultLibrary.errors import DeploymentError, EvidenceMissing, RecoveryError
from DynamoFaultLibrary.faults.process import RECOVERY_TIMEOUT, KillReplica, StallProcesses
from DynamoFaultLibrary.platforms.http import get_json, get_text

TIMEOUT = 1.0
"""Seconds that one answer of the monitoring port may take."""
POLL = 0.01


@dataclass(frozen=True)
class NatsState:
    """One life of a server (a restart gives it another id), and the last sequence number of each stream on its disk."""

    server_id: str
    streams: dict[str, int]

    def __str__(self) -> str:
        streams = ", ".join(f"{name} up to {last}" for name, last in self.streams.items())
        return f"server {self.server_id[:8]} with JetStream streams: {streams or 'none'}"


@dataclass(frozen=True)
class NatsServer:
    """A server by the URL of its monitoring port."""

    name: str
    url: str

    @property
    def is_healthy(self) -> bool:
        """Whether it says so itself."""
        try:
            get_text(f"{self.url}/healthz", TIMEOUT)
        except OSError:
            return False
        return True

    def state(self) -> NatsState:
        """What it is and keeps.

        Raises:
            DeploymentError: it does not tell.
        """
        try:
            server_id = str(get_json(f"{self.url}/varz", TIMEOUT)["server_id"])
            accounts = get_json(f"{self.url}/jsz?accounts=1&streams=1&config=1", TIMEOUT).get("account_details", [])
        except (OSError, ValueError, KeyError) as error:
            raise DeploymentError(f"{self.name} does not tell its state at {self.url}: {error}") from error
        streams = [stream for account in accounts for stream in account.get("stream_detail") or []]
        on_disk = [stream for stream in streams if stream.get("config", {}).get("storage") == "file"]
        return NatsState(server_id, {stream["name"]: int(stream["state"]["last_seq"]) for stream in on_disk})


@dataclass
class KillNats(KillReplica):
    """The server dies, and whoever was connected with it loses that connection."""

    kind: ClassVar[str] = "Kill Nats"
    server: NatsServer = field(kw_only=True)
    _before: NatsState = field(init=False)

    def __post_init__(self) -> None:
        super().__post_init__()
        self._before = self.server.state()

    def prove(self) -> list[str]:
        evidence = super().prove()
        if self.respawn:
            return [*evidence, self._back()]
        if self.server.is_healthy:
            raise EvidenceMissing(f"{self.replica.name} has ended, but another server answers at {self.server.url}")
        return [*evidence, f"nobody answers at {self.server.url}"]

    def recover(self) -> str:
        replica = self.platform.respawn(self.deployment, self.replica)
        return f"{replica.name} runs as pid {replica.process.pid}; {self._back()}"

    def _back(self) -> str:
        """Wait for the server's next life, and see that it has kept what was on its disk."""
        if not wait_until(lambda: self.server.is_healthy, RECOVERY_TIMEOUT, POLL):
            limit = seconds_text(RECOVERY_TIMEOUT.total_seconds())
            raise RecoveryError(f"{self.replica.name} is not healthy {limit} after its start (log: {self.replica.log})")
        now = self.server.state()
        if now.server_id == self._before.server_id:
            raise EvidenceMissing(f"{self.replica.name} still is server {now.server_id}, so it was not restarted")
        lost = [name for name, last in self._before.streams.items() if now.streams.get(name, -1) < last]
        if lost:
            raise RecoveryError(f"{self.replica.name} has lost JetStream's {lost}: it was {self._before}, it is {now}")
        return f"{now}; it was {self._before}"


class StopNats(KillNats):
    """The server is shut down in good order: SIGTERM, and it ends by itself."""

    kind = "Stop Nats"


class RestartNats(KillNats):
    """The server dies and is started again at once."""

    kind = "Restart Nats"


@dataclass
class StallNats(StallProcesses):
    """The server stops answering while its connections stay open."""

    kind: ClassVar[str] = "Stall Nats"
    server: NatsServer = field(kw_only=True)

    def prove(self) -> list[str]:
        evidence = super().prove()
        if self.server.is_healthy:
            raise EvidenceMissing(f"{self.replica.name} is stopped, but a server answers at {self.server.url}")
        return [*evidence, f"nothing answers at {self.server.url}"]

    def recover(self) -> str:
        done = super().recover()
        if not wait_until(lambda: self.server.is_healthy, RECOVERY_TIMEOUT, POLL):
            raise RecoveryError(f"{self.replica.name} goes on, but is not healthy (log: {self.replica.log})")
        return f"{done}; it is healthy"
