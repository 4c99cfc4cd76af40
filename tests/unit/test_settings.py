"""Settings that cannot be meant, or that a platform would ignore, are refused before anything starts."""

from dataclasses import fields
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.graph import Manifest
from DynamoFaultLibrary.graph.edits import Edits
from DynamoFaultLibrary.graph.shipped import find_graph
from DynamoFaultLibrary.ledger import Ledger, Owner
from DynamoFaultLibrary.platforms.local.platform import LocalPlatform
from DynamoFaultLibrary.platforms.settings import (
    DeploySettings,
    Discovery,
    EventPlane,
    NetworkMode,
    RequestPlane,
    check_settings,
)

OWN: dict[str, Any] = {
    "network": NetworkMode.ISOLATED,
    "edits": Edits(image="dynamo:1"),
    "interpreter": "/opt/python",
    "http_port": 8000,
}
"""A value of each setting that not all platforms have."""
NONE: frozenset[str] = frozenset()
LOCALS = LocalPlatform.settings


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"http_port": 0}, "http_port must be from 1 to 65535, not 0"),
        ({"http_port": -1}, "http_port must be from 1 to 65535, not -1"),
        ({"http_port": 70000}, "http_port must be from 1 to 65535, not 70000"),
        ({"timeout": timedelta(0)}, "timeout must be above 0, not 0 s"),
        ({"timeout": timedelta(seconds=-5)}, "timeout must be above 0, not -5 s"),
        ({"ready_responses": 0}, "ready_responses must be 1 or more, not 0"),
        ({"etcd_members": 3}, "etcd_members=3 has no effect without discovery=etcd"),
        ({"etcd_members": 1}, "etcd_members=1 has no effect without discovery=etcd"),
        ({"etcd_members": 1, "discovery": Discovery.FILE}, "etcd_members=1 has no effect without discovery=etcd"),
        *(
            ({"discovery": Discovery.ETCD, "etcd_members": members}, f"etcd_members must be 1, 3 or 5, not {members}")
            for members in (0, 2, 4, 7, -1)
        ),
    ],
)
def test_a_setting_without_a_meaning_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(DeploymentError) as raised:
        check_settings(DeploySettings(**settings), "local", LOCALS)
    assert str(raised.value) == message


def test_a_setting_that_a_platform_has_otherwise_is_refused() -> None:
    """It was said that only platforms where replicas may share a host take it, of one where they always do."""
    with pytest.raises(DeploymentError) as raised:
        check_settings(DeploySettings(network=NetworkMode.ISOLATED), "moon", {"network=shared"})
    assert str(raised.value) == "network=isolated has no effect on platform 'moon': it is always network=shared"


@pytest.mark.parametrize(
    ("field", "message"),
    [
        (
            "network",
            "network=isolated has no effect on platform 'moon': only platforms where replicas may share a host",
        ),
        ("edits", "image=dynamo:1 has no effect on platform 'moon': only platforms that run containers"),
        (
            "interpreter",
            "interpreter=/opt/python has no effect on platform 'moon': only platforms that start processes",
        ),
        ("http_port", "http_port=8000 has no effect on platform 'moon': only platforms whose frontends listen on this"),
    ],
)
def test_a_setting_that_a_platform_does_not_have_is_refused(field: str, message: str) -> None:
    name = message.partition("=")[0]
    with pytest.raises(DeploymentError) as raised:
        check_settings(DeploySettings(**{field: OWN[field]}), "moon", OWN.keys() - {name})
    assert str(raised.value).startswith(message)
    check_settings(DeploySettings(**{field: OWN[field]}), "moon", {name})


def test_what_is_not_given_is_never_refused() -> None:
    check_settings(DeploySettings(), "moon", NONE)


def test_what_all_platforms_have_is_never_refused() -> None:
    settings = DeploySettings(
        Discovery.ETCD, 3, RequestPlane.NATS, EventPlane.NATS, ready_responses=1, timeout=timedelta(seconds=1)
    )
    check_settings(settings, "moon", NONE)
    assert {field.name for field in fields(settings)} - OWN.keys() == {
        *("discovery", "etcd_members", "request_plane", "event_plane", "ready_responses", "timeout")
    }


def test_a_value_that_says_what_the_platform_does_anyway_is_not_refused() -> None:
    own = {"network=isolated"}
    check_settings(DeploySettings(network=NetworkMode.ISOLATED), "moon", own)
    with pytest.raises(DeploymentError, match=r"^network=shared has no effect on platform 'moon': "):
        check_settings(DeploySettings(network=NetworkMode.SHARED), "moon", own)
    for mode in NetworkMode:
        check_settings(DeploySettings(network=mode), "local", LOCALS)


@pytest.mark.parametrize("is_plan", [True, False])
def test_platform_local_refuses_them_before_anything_starts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, is_plan: bool
) -> None:
    monkeypatch.setenv("DYNAMO_FAULT_STATE", str(tmp_path / "state"))
    platform = LocalPlatform(Ledger("refusals", Owner.current()))
    graph = Manifest.load(find_graph("position-agg.yaml")).graph()
    settings = DeploySettings(edits=OWN["edits"])
    with pytest.raises(DeploymentError, match=r"^image=dynamo:1 has no effect on platform 'local'"):
        platform.plan(graph, settings) if is_plan else platform.deploy(graph, settings, tmp_path / "results")
    assert not platform.has_supervisor
    assert not (tmp_path / "results").exists()
