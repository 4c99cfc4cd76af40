"""When a deployment is ready: its frontend knows each worker and no other, and answers well several times in a row."""

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta
from time import sleep

import httpx

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import DeploymentError

INTERVAL = 0.02
"""Seconds between two looks."""

_WORKER_ID = re.compile(r'worker_id="([0-9a-f]+)"')


@dataclass(frozen=True)
class Expectation:
    """What to wait for: the workers with these metrics URLs, then so many consecutive good responses."""

    workers: Sequence[str]
    responses: int
    timeout: timedelta


def wait_until_ready(url: str, expected: Expectation, check_alive: Callable[[], None]) -> str:
    """Wait for the frontend at `url` and return the model that it serves. `check_alive` raises when hope is lost.

    Raises:
        DeploymentError: the time is over; the message says what was last seen.
    """
    deadline = monotonic() + expected.timeout.total_seconds()
    probe = _Probe(url, expected)
    with httpx.Client(base_url=url, timeout=10, trust_env=False) as client:
        while True:
            check_alive()
            if probe.is_ready(client):
                return probe.model
            if monotonic() > deadline:
                limit = expected.timeout.total_seconds()
                raise DeploymentError(f"{url} was not ready within {limit:g} s; last seen: {probe.seen}")
            sleep(INTERVAL)


class _Probe:
    """One look at a frontend, and what the last one saw."""

    def __init__(self, url: str, expected: Expectation) -> None:
        self.url = url
        self.expected = expected
        self.model = ""
        self.seen = "no answer"

    def is_ready(self, client: httpx.Client) -> bool:
        try:
            known = _known_instances(client)
            running = {_instance_of(client, url) for url in self.expected.workers}
            if known != running or len(running) < len(self.expected.workers):
                self.seen = (
                    f"{len(known & running)} of {len(self.expected.workers)} workers known to the frontend, "
                    f"and {len(known - running)} that are gone"
                )
                return False
            models = [str(model["id"]) for model in client.get("/v1/models").json().get("data", [])]
            if not models:
                self.seen = "no model in /v1/models"
                return False
            self.model = models[0]
            for count in range(self.expected.responses):
                answer = client.post(
                    "/v1/completions", json={"model": self.model, "prompt": "ready ?", "max_tokens": 1}
                )
                if answer.status_code != 200:
                    self.seen = f"status {answer.status_code} after {count} good responses: {answer.text[:200]}"
                    return False
        except (httpx.HTTPError, ValueError) as error:
            self.seen = f"{type(error).__name__}: {error}"
            return False
        return True


def _known_instances(client: httpx.Client) -> set[int]:
    """Instance ids whose `generate` endpoint the frontend routes to."""
    instances = client.get("/health").json().get("instances", [])
    return {int(instance["instance_id"]) for instance in instances if instance.get("endpoint") == "generate"}


def _instance_of(client: httpx.Client, metrics_url: str) -> int | None:
    """A worker's instance id: the label ``worker_id`` of its metrics, there in hexadecimal."""
    found = _WORKER_ID.search(client.get(metrics_url).text)
    return int(found.group(1), 16) if found else None
