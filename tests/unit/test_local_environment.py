"""Variables of a container on this machine are those that a pod would have."""

import os
from typing import Any

import pytest

from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.platforms.local.environment import Variables, container_variables, quantity
from DynamoFaultLibrary.platforms.local.pod import Pod, make_pod

CONFIG = {
    "apiVersion": "v1",
    "kind": "ConfigMap",
    "metadata": {"name": "settings"},
    "data": {"SPEED": "10", "model.path": "/models/x", "1st": "no name of a variable"},
}
SECRET = {"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "keys"}, "data": {"TOKEN": "YWJj"}}


def pod_of(container: dict[str, Any], spec: dict[str, Any] | None = None, **component: Any) -> Pod:
    template = {"metadata": {"labels": {"app": "mine"}}, "spec": {"containers": [{"name": "main", **container}]}}
    worker = {"name": "Worker", "type": "worker", "podTemplate": template, **component}
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg.x"},
        "spec": {"components": [worker], **(spec or {})},
    }
    graph = Graph(document, "graph.yaml", [CONFIG, SECRET])
    return make_pod(graph, graph.service("Worker"), 1, "agg-1234-worker-1", "10.0.0.7")


def variables(container: dict[str, Any], known: dict[str, str] | None = None, **pod: Any) -> Variables:
    made = pod_of(container, **pod)
    return container_variables(made, made.containers()[-1], known or {}, lambda name, value, is_secret: f"<{value}>")


def entry(name: str, **source: Any) -> dict[str, Any]:
    return {"name": name, "valueFrom": source}


def test_entries_refer_to_those_before_them_and_to_what_the_platform_gives() -> None:
    env = [
        {"name": "A", "value": "1"},
        {"name": "B", "value": "$(A)-$(POD_NAME)-$(LATER)-$$(A)"},
        {"name": "LATER", "value": "2"},
        {"name": "EMPTY"},
        {"name": "FLAG", "value": True},
    ]
    found = variables({"env": env}, {"POD_NAME": "pod"})
    assert found.values == {"A": "1", "B": "1-pod-$(LATER)-$(A)", "LATER": "2", "EMPTY": "", "FLAG": "true"}
    assert found.missing == {}


def test_the_containers_own_entries_win_over_envfrom_and_those_over_nothing() -> None:
    container = {
        "envFrom": [{"configMapRef": {"name": "settings"}}, {"prefix": "P_", "secretRef": {"name": "keys"}}],
        "env": [{"name": "SPEED", "value": "20"}],
    }
    found = variables(container, spec={"env": [{"name": "GRAPH", "value": "$(SPEED)"}]})
    assert found.values == {"SPEED": "20", "model.path": "/models/x", "P_TOKEN": "abc", "GRAPH": "10"}


def test_keys_of_config_maps_and_secrets_are_read() -> None:
    env = [
        entry("SPEED", configMapKeyRef={"name": "settings", "key": "SPEED"}),
        entry("TOKEN", secretKeyRef={"name": "keys", "key": "TOKEN"}),
    ]
    assert variables({"env": env}).values == {"SPEED": "10", "TOKEN": "abc"}


def test_what_is_not_there_is_named_and_never_left_as_a_reference() -> None:
    env = [
        entry("HF_TOKEN", secretKeyRef={"name": "hf", "key": "HF_TOKEN"}),
        entry("KEY", secretKeyRef={"name": "keys", "key": "NONE"}),
        entry("MAYBE", configMapKeyRef={"name": "none", "key": "x", "optional": True}),
        {"name": "URL", "value": "https://$(HF_TOKEN)@host"},
    ]
    found = variables({"env": env, "envFrom": [{"secretRef": {"name": "gone"}}]})
    assert found.values == {}
    assert found.missing == {
        "envFrom gone": "Secret 'gone' is not in the graph's file",
        "HF_TOKEN": "Secret 'hf' is not in the graph's file (key 'HF_TOKEN')",
        "KEY": "Secret 'keys' has no key 'NONE'",
        "MAYBE": "ConfigMap 'none' is not in the graph's file (key 'x')",
        "URL": "Secret 'hf' is not in the graph's file (key 'HF_TOKEN')",
    }
    assert found.optional == {"MAYBE"}


def test_a_variable_that_is_given_after_all_is_not_missing() -> None:
    env = [entry("TOKEN", secretKeyRef={"name": "hf", "key": "x"}), {"name": "TOKEN", "value": "mine"}]
    found = variables({"env": env})
    assert (found.values, found.missing) == ({"TOKEN": "mine"}, {})


@pytest.mark.parametrize(
    ("path", "value"),
    [
        ("metadata.name", "agg-1234-worker-1"),
        ("metadata.namespace", "default"),
        ("metadata.labels['app']", "mine"),
        ("metadata.labels['none']", ""),
        ("status.podIP", "10.0.0.7"),
        ("status.hostIP", "127.0.0.1"),
        ("spec.nodeName", "localhost"),
    ],
)
def test_fields_are_those_that_a_pod_would_see(path: str, value: str) -> None:
    assert variables({"env": [entry("X", fieldRef={"fieldPath": path})]}).values == {"X": value}


def test_a_pods_uid_is_its_own_and_stays_the_same() -> None:
    first, again = (variables({"env": [entry("X", fieldRef={"fieldPath": "metadata.uid"})]}) for _ in range(2))
    assert first.values == again.values
    assert len(first.values["X"]) == 36


def test_a_field_that_nobody_knows_is_missing() -> None:
    found = variables({"env": [entry("X", fieldRef={"fieldPath": "status.moon"})]})
    assert found.missing == {"X": "a pod's field 'status.moon' is not known here"}


@pytest.mark.parametrize(
    ("reference", "value"),
    [
        ({"resource": "limits.cpu"}, "2"),
        ({"resource": "limits.cpu", "divisor": "1m"}, "1500"),
        ({"resource": "requests.memory", "divisor": "1Mi"}, "2048"),
        ({"resource": "requests.cpu"}, str(os.cpu_count())),
    ],
)
def test_resource_fields_are_rounded_up_to_their_divisor(reference: dict[str, str], value: str) -> None:
    resources = {"limits": {"cpu": "1500m"}, "requests": {"memory": "2Gi"}}
    found = variables({"env": [entry("X", resourceFieldRef=reference)], "resources": resources})
    assert found.values == {"X": value}


@pytest.mark.parametrize(("text", "number"), [("1", 1), ("500m", 0.5), ("2Gi", 2**31), ("x", None), ("1q", None)])
def test_quantities(text: str, number: float | None) -> None:
    assert quantity(text) == number


def test_ports_are_given_anew_where_they_are_numbers() -> None:
    env = [
        {"name": "A_PORT", "value": "5600"},
        {"name": "B_PORT", "value": "tcp://x:1"},
        {"name": "SUPPORT", "value": "1"},
    ]
    assert variables({"env": env}).values == {"A_PORT": "<5600>", "B_PORT": "tcp://x:1", "SUPPORT": "1"}


def test_a_service_of_v1alpha1_has_variables_and_a_secret_of_its_own() -> None:
    worker = {
        "componentType": "worker",
        "envFromSecret": "keys",
        "envs": [{"name": "SHARED", "value": "service"}],
        "extraPodSpec": {"mainContainer": {"env": [{"name": "OWN", "value": "$(SHARED)"}]}},
    }
    document = {
        "apiVersion": "nvidia.com/v1alpha1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "agg"},
        "spec": {"envs": [{"name": "SHARED", "value": "graph"}], "services": {"Worker": worker}},
    }
    graph = Graph(document, "graph.yaml", [SECRET])
    pod = make_pod(graph, graph.service("Worker"), 0, "agg-0", "127.0.0.1")
    found = container_variables(pod, pod.containers()[-1], {}, lambda name, value, is_secret: value)
    assert found.values == {"TOKEN": "abc", "SHARED": "service", "OWN": "service"}


def test_the_operator_gives_a_pod_its_names() -> None:
    assert pod_of({}).operator_environment() == {
        "DYN_SYSTEM_USE_ENDPOINT_HEALTH_STATUS": '["generate"]',
        "DYN_NAMESPACE": "default-agg-x",
        "DYN_COMPONENT": "worker",
        "DYN_PARENT_DGD_K8S_NAME": "agg.x",
        "DYN_PARENT_DGD_K8S_NAMESPACE": "default",
        "POD_NAME": "agg-1234-worker-1",
        "POD_NAMESPACE": "default",
        "POD_UID": pod_of({}).fields()["metadata.uid"],
    }
    assert pod_of({}, globalDynamoNamespace=True).operator_environment()["DYN_NAMESPACE"] == "dynamo"
