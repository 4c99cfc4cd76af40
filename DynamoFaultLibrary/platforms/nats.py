"""A NATS server as its monitoring port tells of it (``/varz``, ``/jsz``, ``/healthz``)."""

from dataclasses import dataclass

from DynamoFaultLibrary.errors import DeploymentError
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
