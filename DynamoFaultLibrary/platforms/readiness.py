"""When a deployment is ready: its frontend knows each worker and no other, and answers well several times in a row."""

import re
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import timedelta
from time import sleep
from urllib.error import HTTPError

from DynamoFaultLibrary.clock import monotonic
from DynamoFaultLibrary.errors import Unready
from DynamoFaultLibrary.platforms.http import get_json, get_text, post_json

INTERVAL = 0.02
"""Seconds between two looks."""

ALIVE_INTERVAL = 0.1
"""Seconds between two looks at the processes: each costs them CPU that they need to come up."""

TIMEOUT = 10.0
"""Seconds that one answer may take."""

_WORKER_ID = re.compile(r'worker_id="([0-9a-f]+)"')


@dataclass(frozen=True)
class Expectation:
    """What to wait for: the workers with these metrics URLs, then so many consecutive good responses.

    `others` are metrics URLs of services that the frontend may know and need not, such as routers. `unnamed` is the
    number of instances that the workers have beside those that their metrics name: a process names one alone.
    """

    workers: Sequence[str]
    responses: int
    timeout: timedelta
    others: Sequence[str] = ()
    unnamed: int = 0


def wait_until_ready(url: str, expected: Expectation, check_alive: Callable[[], None]) -> str:
    """Wait for the frontend at `url` and return the model that it serves. `check_alive` raises when hope is lost.

    Raises:
        Unready: the time is over; the message says what was last seen.
    """
    deadline = monotonic() + expected.timeout.total_seconds()
    probe = _Probe(url, expected)
    next_check = 0.0
    while True:
        if monotonic() >= next_check:
            check_alive()
            next_check = monotonic() + ALIVE_INTERVAL
        if probe.is_ready():
            return probe.model
        if monotonic() > deadline:
            limit = expected.timeout.total_seconds()
            raise Unready(f"{url} was not ready within {limit:g} s; last seen: {probe.seen}")
        sleep(INTERVAL)


class _Probe:
    """One look after the other at a frontend, and what the last one saw."""

    def __init__(self, url: str, expected: Expectation) -> None:
        self.url = url
        self.expected = expected
        self.model = ""
        self.seen = "no answer"
        self._instances: dict[str, int] = {}

    def is_ready(self) -> bool:
        try:
            return self._knows_the_workers() and self._lists_a_model() and self._answers()
        except HTTPError as error:
            body = error.read().decode(errors="replace")
            self.seen = f"status {error.code} of {error.url}: {body[:200]}"
        except (OSError, ValueError) as error:
            self.seen = f"{type(error).__name__}: {error}"
        return False

    def _knows_the_workers(self) -> bool:
        known = known_instances(self.url)
        for url in self.expected.workers:
            if url not in self._instances and (instance := _instance_of(url)) is not None:
                self._instances[url] = instance
        running = set(self._instances.values())
        if known != running:
            known -= self._others()
        strangers, unnamed = len(known - running), self.expected.unnamed
        self.seen = (
            f"{len(known & running)} of {len(self.expected.workers)} workers known to the frontend, "
            f"and {max(strangers - unnamed, 0)} that are gone"
        )
        if strangers < unnamed:
            self.seen += f", and {strangers} of {unnamed} more instances of theirs"
        return running <= known and len(running) == len(self.expected.workers) and strangers == unnamed

    def _others(self) -> set[int]:
        """Instances that are no workers; one that does not answer yet is not known to the frontend either."""
        found = set()
        for url in self.expected.others:
            with suppress(OSError):
                found.add(_instance_of(url))
        return {instance for instance in found if instance is not None}

    def _lists_a_model(self) -> bool:
        models = get_json(f"{self.url}/v1/models", TIMEOUT).get("data", [])
        self.seen = f"{len(models)} models in /v1/models"
        self.model = str(models[0]["id"]) if models else ""
        return bool(models)

    def _answers(self) -> bool:
        for _ in range(self.expected.responses):
            post_json(
                f"{self.url}/v1/completions", {"model": self.model, "prompt": "ready ?", "max_tokens": 1}, TIMEOUT
            )
        return True


def known_instances(url: str) -> set[int]:
    """Instance ids whose `generate` endpoint the frontend routes to."""
    instances = get_json(f"{url}/health", TIMEOUT).get("instances", [])
    return {int(instance["instance_id"]) for instance in instances if instance.get("endpoint") == "generate"}


def _instance_of(metrics_url: str) -> int | None:
    """A worker's instance id: the label ``worker_id`` of its metrics, there in hexadecimal."""
    found = _WORKER_ID.search(get_text(metrics_url, TIMEOUT))
    return int(found.group(1), 16) if found else None
