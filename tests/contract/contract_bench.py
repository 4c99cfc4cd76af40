"""Platforms that the contract holds for, and one of them at work."""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar

import httpx
import pytest

from DynamoFaultLibrary.errors import Unsupported
from DynamoFaultLibrary.faults.injector import Injector
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.platforms.base import Deployment, Ending, Platform, require
from DynamoFaultLibrary.platforms.effects import End
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import DeploySettings, NetworkMode

MEMORY = Path(__file__).parent / "memory"
"""Where platform `memory` is installed, as in a site-packages of its own."""
WORKER = "PositionWorker"
ISOLATED = DeploySettings(network=NetworkMode.ISOLATED)
PLATFORMS = {
    "local": ("local", DeploySettings()),
    "local-isolated": ("local", ISOLATED),
    "memory": ("memory", ISOLATED),
}
"""By a name for people: the platform, and how its graphs are deployed. Another one joins by a line here."""
ONE_EACH = list({platform: name for name, (platform, _) in reversed(PLATFORMS.items())}.values())
"""The first line of each platform, for what does not depend on how a graph is deployed."""

Capability = TypeVar("Capability")


@dataclass
class Bench:
    """A platform at work, in a run of its own."""

    platform: Platform
    settings: DeploySettings
    ledger: Ledger
    results: Path
    injector: Injector = field(init=False)

    def __post_init__(self) -> None:
        self.injector = Injector(self.ledger, self.platform)

    def able(self, capability: type[Capability]) -> Capability:
        """The platform as `capability`; the test is skipped where it lacks that."""
        try:
            return require(self.platform, capability)
        except Unsupported as reason:
            pytest.skip(str(reason))

    def deploy(self, name: str = "position-agg.yaml", settings: DeploySettings | None = None) -> Deployment:
        """A graph that is up."""
        graph = Manifest.load(find_graph(name)).graph()
        try:
            return self.platform.deploy(graph, settings or self.settings, self.results / os.urandom(4).hex())
        except Unsupported as reason:
            pytest.skip(str(reason))

    def workers(self, deployment: Deployment) -> list[Replica]:
        return self.platform.replicas(deployment, WORKER)

    def frontend(self, deployment: Deployment) -> Replica:
        return self.platform.replicas(deployment, "Frontend")[0]


def complete(deployment: Deployment, prompt: str = "one two") -> str:
    """What the deployment answers."""
    body = {"model": deployment.model, "prompt": prompt, "max_tokens": 3}
    answer = httpx.post(f"{deployment.url}/v1/completions", json=body).raise_for_status()
    return str(answer.json()["choices"][0]["text"])


def kill(platform: Platform, deployment: Deployment, victim: Replica) -> None:
    """End a replica, and see that it has ended; nobody starts it again."""
    effect = require(platform, Ending).plan_end(deployment, victim, End(stays_dead=True))
    effect.apply()
    effect.prove()
