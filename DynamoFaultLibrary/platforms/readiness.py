"""When a deployment is ready: its frontend knows every replica, and answers well several times in a row."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from time import sleep
from typing import Any

import httpx

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import DeploymentError

INTERVAL = 0.02
"""Seconds between two looks."""


@dataclass(frozen=True)
class Expectation:
    """What to wait for: so many serving `generate` endpoints, then so many consecutive good responses."""

    instances: int
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
            instances = _serving_instances(client)
            if len(instances) != self.expected.instances:
                self.seen = f"{len(instances)} of {self.expected.instances} instances in /health"
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


def _serving_instances(client: httpx.Client) -> list[dict[str, Any]]:
    answer = client.get("/health").json()
    return [instance for instance in answer.get("instances", []) if instance.get("endpoint") == "generate"]
