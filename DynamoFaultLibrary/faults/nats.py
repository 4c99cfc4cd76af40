"""The NATS server ends or stalls."""

from collections.abc import Hashable
from dataclasses import dataclass, field

from DynamoFaultLibrary.clock import seconds_text, wait_until
from DynamoFaultLibrary.errors import EvidenceMissing, RecoveryError
from DynamoFaultLibrary.faults.injector import Fault
from DynamoFaultLibrary.platforms.nats import POLL, NatsServer, NatsState


@dataclass
class NatsFault(Fault):
    """The server hangs, and is healthy again afterwards."""

    server: NatsServer = field(kw_only=True)

    def prove(self) -> list[str]:
        evidence = super().prove()
        if self.server.is_healthy:
            raise EvidenceMissing(f"{self.victim.name} is stopped, but a server answers at {self.server.url}")
        return [*evidence, f"nothing answers at {self.server.url}"]

    def verify(self) -> str:
        if not wait_until(lambda: self.server.is_healthy, self.deployment.settings.timeout, POLL):
            raise RecoveryError(f"{self.victim.name} goes on, but is not healthy (log: {self.victim.log})")
        return "it is healthy"


@dataclass
class EndOfNats(NatsFault):
    """The server ends, and whoever was connected with it loses that connection."""

    _before: NatsState = field(init=False)

    def __post_init__(self) -> None:
        self._before = self.server.state()

    def prove(self) -> list[str]:
        evidence = Fault.prove(self)
        if self.effect.compensation:
            return [*evidence, self.verify()]
        if self.server.is_healthy:
            raise EvidenceMissing(f"{self.victim.name} has ended, but another server answers at {self.server.url}")
        return [*evidence, f"nobody answers at {self.server.url}"]

    def verify(self) -> str:
        """Wait for the server's next life, and see that it has kept what was on its disk."""
        timeout = self.deployment.settings.timeout
        if not wait_until(lambda: self.server.is_healthy, timeout, POLL):
            limit = seconds_text(timeout.total_seconds())
            raise RecoveryError(f"{self.victim.name} is not healthy {limit} after its start (log: {self.victim.log})")
        now = self.server.state()
        if now.server_id == self._before.server_id:
            raise EvidenceMissing(f"{self.victim.name} still is server {now.server_id}, so it was not restarted")
        lost = [name for name, last in self._before.streams.items() if now.streams.get(name, -1) < last]
        if lost:
            raise RecoveryError(f"{self.victim.name} has lost JetStream's {lost}: it was {self._before}, it is {now}")
        return f"{now}; it was {self._before}"

    @property
    def verification(self) -> Hashable:
        return id(self)
