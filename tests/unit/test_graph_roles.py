"""What a service is for, and how many GPUs it needs: by type and by what it runs, never by its name."""

from typing import Any

import pytest

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph, Role
from DynamoFaultLibrary.graph.service import AlphaService, BetaService


def alpha(command: list[str], env: dict[str, str] | None = None, **fields: Any) -> AlphaService:  # YAML
    service = AlphaService("Frontend", {**fields, "extraPodSpec": {"mainContainer": {"command": command}}})
    for name, value in (env or {}).items():
        service.set_variable(name, value)
    return service


@pytest.mark.parametrize(
    ("fields", "role"),
    [
        ({"componentType": "frontend"}, Role.FRONTEND),
        ({"componentType": "frontend", "subComponentType": "x"}, Role.FRONTEND),
        ({"componentType": "worker"}, Role.WORKER),
        ({"componentType": "worker", "subComponentType": "prefill"}, Role.PREFILL),
        ({"componentType": "decode"}, Role.DECODE),
        ({"componentType": "planner", "subComponentType": "decode"}, Role.PLANNER),
        ({"componentType": "epp"}, Role.EPP),
        ({}, Role.OTHER),
    ],
)
def test_a_type_tells_the_role(fields: dict[str, str], role: Role) -> None:
    assert alpha([], **fields).role is role


@pytest.mark.parametrize(
    ("command", "role"),
    [
        (["python3", "-m", "dynamo.frontend"], Role.FRONTEND),
        (["sh", "-c", "exec python3 -m dynamo.frontend --http-port 1"], Role.FRONTEND),
        (["python3", "-m", "dynamo.planner"], Role.PLANNER),
        (["python3", "-m", "dynamo.global_planner"], Role.PLANNER),
        (["python3", "-m", "dynamo.router"], Role.ROUTER),
        (["python3", "-m", "dynamo.global_router"], Role.ROUTER),
        (["python3", "-m", "dynamo.vllm"], Role.WORKER),
        (["dynamo-vllm-sidecar"], Role.WORKER),
        (["python3", "-m", "DynamoFaultLibrary.engines.position"], Role.WORKER),
        (["python3", "-m", "dynamo.vllm", "--disaggregation-mode", "prefill"], Role.PREFILL),
        (["sh", "-c", "python3 -m dynamo.sglang --disaggregation-mode=decode | tee x"], Role.DECODE),
        (["python3", "-m", "dynamo.vllm", "--disaggregation-mode", "pd"], Role.WORKER),
        (["python3", "-m", "dynamo.mocker", "--is-prefill-worker"], Role.PREFILL),
        (["python3", "-m", "dynamo.mocker", "--is-decode-worker"], Role.DECODE),
        (["python3", "-m", "dynamo.sglang", "--multimodal-encode-worker"], Role.ENCODE),
        (["redis-server"], Role.OTHER),
    ],
)
@pytest.mark.parametrize("kind", ["", "main", "worker"])
def test_what_a_service_runs_tells_the_role_where_its_type_does_not(command: list[str], role: Role, kind: str) -> None:
    wanted = Role.WORKER if kind == "worker" and role is Role.OTHER else role
    assert alpha(command, componentType=kind).role is wanted


def test_a_mode_in_a_variable_tells_the_role() -> None:
    command = ["python3", "-m", "dynamo.trtllm"]
    assert alpha(command, {"DYN_TRTLLM_DISAGGREGATION_MODE": "prefill"}).role is Role.PREFILL
    assert alpha(command, {"DYN_VLLM_MULTIMODAL_ENCODE_WORKER": "true"}).role is Role.ENCODE
    assert alpha(command, {"DYN_VLLM_MULTIMODAL_ENCODE_WORKER": "0"}).role is Role.WORKER


def graph(*services: tuple[str, dict[str, Any]], companions: list[Any] | None = None) -> Graph:  # YAML
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": {"services": dict(services)},
    }
    return Graph(document, "g.yaml", companions or [])


def test_workers_and_others_are_told_apart() -> None:
    made = graph(
        ("A", {"componentType": "frontend"}),
        ("B", {"componentType": "worker"}),
        ("C", {"componentType": "planner"}),
        ("D", {"componentType": "worker", "subComponentType": "prefill"}),
        ("E", {"componentType": "epp"}),
    )
    assert [service.name for service in made.workers] == ["B", "D"]
    assert [service.name for service in made.others] == ["C", "E"]


def test_of_two_frontends_the_one_of_another_project_is_another_service() -> None:
    weights = {"componentType": "frontend", "extraPodSpec": {"mainContainer": {"command": ["/app/weights"]}}}
    assert graph(("Weights", weights), ("Door", {"componentType": "frontend"})).frontend.name == "Door"
    assert graph(("Weights", weights)).frontend.name == "Weights"
    helper = {"componentType": "frontend", "extraPodSpec": {"mainContainer": {"args": ["-m", "dynamo.planner.x"]}}}
    assert [item.name for item in graph(("Helper", helper), ("Door", {"componentType": "frontend"})).others] == [
        "Helper"
    ]


@pytest.mark.parametrize(
    ("fields", "gpus"),
    [
        ({"resources": {"limits": {"gpu": "4"}, "requests": {"gpu": "2"}}}, 4),
        ({"resources": {"requests": {"gpu": 2}}}, 2),
        ({"resources": {"limits": {"cpu": "2"}}}, 0),
        ({"resources": {"limits": {"gpu": "8"}}, "multinode": {"nodeCount": 2}}, 16),
        ({"resources": {"limits": {"custom": {"nvidia.com/gpu": "1", "rdma/ib": "8"}}}}, 1),
        ({"extraPodSpec": {"mainContainer": {"resources": {"limits": {"gpu.intel.com/xe": "2"}}}}}, 2),
        ({"extraPodSpec": {"mainContainer": {"resources": {"limits": {"gpu.intel.com/millicores": "99"}}}}}, 0),
        ({"extraPodSpec": {"mainContainer": {"resources": {"limits": {"amd.com/gpu": 1}}}}}, 1),
        ({}, 0),
    ],
)
def test_gpus_of_a_replica_are_counted_on_all_its_nodes(fields: dict[str, Any], gpus: int) -> None:
    assert AlphaService("W", fields).gpus == gpus


def test_gpus_of_engines_beside_a_sidecar_count() -> None:
    engine = {"name": "engine", "restartPolicy": "Always", "resources": {"limits": {"nvidia.com/gpu": "2"}}}
    once = {"name": "once", "resources": {"limits": {"nvidia.com/gpu": "9"}}}
    beta = BetaService("W", {"podTemplate": {"spec": {"initContainers": [engine, once]}}})
    assert beta.gpus == 2
    beta.editable_container["resources"] = {"limits": {"nvidia.com/gpu": "8"}}
    assert beta.gpus == 10


@pytest.mark.parametrize(("device", "gpus"), [("gpu.nvidia.com", 3), ("compute-domain.nvidia.com", 0)])
def test_claimed_gpus_count(device: str, gpus: int) -> None:
    template = {
        "kind": "ResourceClaimTemplate",
        "metadata": {"name": "three"},
        "spec": {"spec": {"devices": {"requests": [{"exactly": {"deviceClassName": device, "count": 3}}]}}},
    }
    pod = {
        "mainContainer": {"resources": {"claims": [{"name": "gpus"}]}},
        "resourceClaims": [{"name": "gpus", "resourceClaimTemplateName": "three"}],
    }
    made = graph(("W", {"componentType": "worker", "extraPodSpec": pod}), companions=[template])
    assert made.service("W").gpus == gpus


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        (
            {"resources": {"limits": {"gpu": "${N}"}}},
            "gpu of service 'W' must be a whole number of 0 or more, not '${N}'",
        ),
        ({"multinode": {"nodeCount": 0}}, "nodeCount of service 'W' must be a whole number of 1 or more, not 0"),
    ],
)
def test_a_count_that_is_none_is_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(GraphError) as raised:
        _ = AlphaService("W", fields).gpus
    assert str(raised.value) == message


def test_a_claim_of_another_shape_is_refused() -> None:
    template = {"kind": "ResourceClaim", "metadata": {"name": "c"}, "spec": {"devices": {"requests": ["x"]}}}
    pod = {
        "mainContainer": {"resources": {"claims": [{"name": "g"}]}},
        "resourceClaims": [{"name": "g", "resourceClaimName": "c"}],
    }
    with pytest.raises(GraphError, match=r"^spec.devices.requests\[0\] of ResourceClaim 'c' must be a map of fields"):
        graph(("W", {"componentType": "worker", "extraPodSpec": pod}), companions=[template])
