"""What this machine keeps of deployments: all of it is let go, whatever fails on the way."""

from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.errors import RecoveryError
from DynamoFaultLibrary.ledger import Ledger
from DynamoFaultLibrary.platforms.local.machine import LocalDeployment, Machine


class Network:
    """One that may not go."""

    def __init__(self, problem: str = "") -> None:
        self.problem = problem
        self.is_closed = False

    def add_host(self, name: str) -> Any:
        raise NotImplementedError

    def close(self) -> None:
        self.is_closed = True
        if self.problem:
            raise RecoveryError(self.problem)


def test_all_networks_are_closed_though_one_does_not_go(ledger: Ledger) -> None:
    """What could not be undone by the ledger kept all networks open, and the first network those after it."""
    machine, networks = Machine(ledger), [Network("its leg is still there"), Network()]
    for number, network in enumerate(networks):
        machine.deployments[f"d{number}"] = LocalDeployment(Path("work"), network)

    assert machine._bury() == (
        ", and what it had started with it: d0, d1; its leg is still there; 'Deploy Graph' starts another"
    )
    assert [network.is_closed for network in networks] == [True, True]


def test_a_supervisor_that_leaves_something_keeps_no_network_open(ledger: Ledger) -> None:
    """Nor does a network: what went wrong is raised when all are closed."""
    machine, networks = Machine(ledger), [Network("its leg is still there"), Network()]
    for number, network in enumerate(networks):
        machine.deployments[f"d{number}"] = LocalDeployment(Path("work"), network)
    supervisor = Network("a directory is still there")
    machine._supervisor = supervisor  # type: ignore[assignment]
    with pytest.raises(RecoveryError):
        machine.close()
    assert [each.is_closed for each in [supervisor, *networks]] == [True, True, True]
    machine.close()
