"""A new model reaches every place that names the old one; what it does not reach is told."""

from typing import Any

import pytest
import yaml

from DynamoFaultLibrary.errors import GraphError
from DynamoFaultLibrary.graph import Graph
from DynamoFaultLibrary.graph.edits import Change, Edits, apply_edits

OLD = "acme/small"


def graph(components: str, companions: str = "", spec: str = "") -> Graph:
    """A graph of v1beta1; a component is `name: {type: …, main: {…}}` in short."""
    entries = []
    for name, fields in yaml.safe_load(components).items():
        main = {"name": "main", **fields.pop("main", {})}
        pod = {"containers": [main, *fields.pop("beside", [])], **fields.pop("pod", {})}
        entries.append({"name": name, **fields, "podTemplate": {"spec": pod}})
    document = {
        "apiVersion": "nvidia.com/v1beta1",
        "kind": "DynamoGraphDeployment",
        "metadata": {"name": "g"},
        "spec": {**(yaml.safe_load(spec) or {}), "components": entries},
    }
    return Graph(document, "g.yaml", list(yaml.safe_load_all(companions)) if companions else [])


def edit(made: Graph) -> list[tuple[str, str]]:
    """Places that were reached; none is left."""
    changes = apply_edits(made, Edits(model="new"))
    assert [change for change in changes if change.why_not] == []
    assert OLD not in made.to_yaml() + yaml.safe_dump_all(made.companions)
    return [(change.service, change.place) for change in changes]


VLLM = "W: {type: worker, main: {command: [python3, -m, dynamo.vllm], args: [--model, acme/small]}}"


@pytest.mark.parametrize(
    ("main", "place"),
    [
        ("{command: [python3, -m, dynamo.vllm], args: [--model, acme/small]}", "args"),
        ("{command: [python3, -m, dynamo.sglang, --model-path=acme/small]}", "command"),
        (
            "{command: [sh, -c], args: ['exec python3 -m dynamo.vllm --model acme/small | tee x']}",
            "shell script in args[0]",
        ),
        ("{command: [python3, -m, dynamo.vllm], args: [--model, $(M)], env: [{name: M, value: acme/small}]}", "env M"),
        ("{command: [sh, -c, 'python3 -m dynamo.vllm --model \"$M\"'], env: [{name: M, value: acme/small}]}", "env M"),
    ],
)
def test_a_worker_gets_it_where_it_names_its_own(main: str, place: str) -> None:
    made = graph(f"W: {{type: worker, main: {main}}}")
    assert ("W", place) in edit(made)
    assert made.service("W").argument("--model") == "new"


def test_all_served_names_give_way() -> None:
    made = graph(
        "W: {type: worker, main: {command: [python3, -m, dynamo.vllm], "
        "args: [--model, /models/x, --served-model-name, acme/small, short, --seed, 1]}}"
    )
    edit(made)
    assert made.service("W").args == ["--model", "new", "--served-model-name", "new", "--seed", "1"]


def test_a_worker_that_names_none_gets_the_option_of_its_engine() -> None:
    made = graph("W: {type: worker, main: {command: [python3, -m, dynamo.mocker], args: [--block-size, 4]}}")
    edit(made)
    assert made.service("W").args == ["--block-size", "4", "--model-path", "new"]


def test_frontend_router_planner_and_reference_follow() -> None:
    made = graph(
        f"""
        F: {{type: frontend, main: {{args: [-m, dynamo.frontend, --model-name, acme/small]}}}}
        R: {{main: {{command: [python3, -m, dynamo.global_router], args: [--model-name, acme/small]}}}}
        P:
          type: planner
          main:
            command: [python3, -m, dynamo.planner]
            args: [--config, '{{"backend": "vllm",  "model_name": "acme/small", "ttft": 2.0}}']
        S:
          type: planner
          main: {{command: [sh, -c], args: ['python3 -m dynamo.planner --config=''{{"model_name":"x"}}''']}}
        E: {{type: epp, main: {{env: [{{name: DYN_MODEL_NAME, value: acme/small}}]}}}}
        {VLLM}
        """.replace("\n        ", "\n")
    )
    made.service("W").document["modelRef"] = {"name": OLD}
    places = edit(made)
    assert places == [
        ("F", "args"),
        ("R", "args"),
        ("P", "args"),
        ("S", "shell script in args[0]"),
        ("E", "env DYN_MODEL_NAME"),
        ("W", "args"),
        ("W", "modelRef.name"),
    ]
    assert made.service("P").argument("--config") == '{"backend": "vllm",  "model_name": "new", "ttft": 2.0}'
    assert made.service("S").argument("--config") == '{"model_name":"new"}'


def test_containers_beside_the_main_one_follow() -> None:
    made = graph(
        """
        W:
          type: worker
          frontendSidecar: door
          main: {command: [dynamo-vllm-sidecar], args: [--vllm-endpoint, here]}
          beside: [{name: door, args: [-m, dynamo.frontend, --model-name, acme/small]}]
          pod:
            initContainers:
              - {name: engine, restartPolicy: Always, command: [sh, -c], args: ['exec "$RS" serve acme/small --host x']}
        """
    )
    assert edit(made) == [("W", "container door: args"), ("W", "container engine: args")]


CONFIG = """
kind: ConfigMap
metadata: {name: conf}
data:
  agg.yaml: |
    # weights
    model-path: acme/small  # keep
    served-model-name: "shown"
    speculative:
      model: acme/draft
  agg.json: '{"model": "acme/small", "draft": {"model": "acme/draft"}}'
"""


def test_an_engines_configuration_follows_and_keeps_its_text() -> None:
    made = graph(
        """
        W:
          type: worker
          main: {command: [python3, -m, dynamo.sglang], args: [--config, /etc/conf/agg.yaml]}
          pod: {volumes: [{name: c, configMap: {name: conf}}]}
        """,
        CONFIG,
    )
    before = dict(made.companions[0]["data"])
    assert edit(made) == [("W", "ConfigMap conf, agg.yaml"), ("W", "ConfigMap conf, agg.json")]
    after = made.companions[0]["data"]
    assert after["agg.yaml"] == before["agg.yaml"].replace("acme/small", "new").replace("shown", "new")
    assert after["agg.json"] == before["agg.json"].replace("acme/small", "new")


def test_variables_of_config_maps_and_of_the_graph_follow() -> None:
    made = graph(
        """
        W:
          type: worker
          main:
            command: [python3, -m, dynamo.vllm]
            args: [--model, $(A), --served-model-name, $(B)]
            envFrom: [{configMapRef: {name: names}}]
        """,
        "{kind: ConfigMap, metadata: {name: names}, data: {A: acme/small}}",
        "env: [{name: B, value: acme/small}]",
    )
    assert {("all services", "env B"), ("W", "ConfigMap names, A")} <= set(edit(made))
    assert made.service("W").argument("--served-model-name") == "new"


def test_a_variable_that_is_a_part_of_other_values_stays_and_is_told() -> None:
    made = graph(
        """
        W:
          type: worker
          main:
            command: [sh, -c]
            args: ['test -r "${M}/config.json" && exec python3 -m dynamo.vllm --model "${M}"']
            env: [{name: M, value: acme/small}]
        """
    )
    changes = apply_edits(made, Edits(model="new"))
    assert made.service("W").container["args"] == [
        'test -r "${M}/config.json" && exec python3 -m dynamo.vllm --model new'
    ]
    assert changes[-1] == Change(
        "W", "model=new", "podTemplate.spec.containers[main].env[M].value", "it still names 'acme/small'"
    )


@pytest.mark.parametrize(
    "extra",
    [
        '--speculative-config, \'{"model": "acme/small"}\'',
        "--tokenizer, acme/small",
        "--lora-modules, a=acme/small",
    ],
)
def test_other_models_stay_and_are_told(extra: str) -> None:
    made = graph(
        f"W: {{type: worker, main: {{command: [python3, -m, dynamo.vllm], args: [--model, acme/small, {extra}]}}}}"
    )
    told = [change for change in apply_edits(made, Edits(model="new")) if change.why_not]
    assert [(change.service, change.place, change.why_not) for change in told] == [
        ("W", "podTemplate.spec.containers[main].args[3]", "it still names 'acme/small'")
    ]


def test_a_draft_of_another_name_is_another_model() -> None:
    made = graph(VLLM.replace("acme/small]", "acme/small, --draft, acme/small-draft, --other, x-acme/small]"))
    changes = apply_edits(made, Edits(model="new"))
    assert changes == [Change("W", "model=new", "args")]
    assert made.service("W").args[2:] == ["--draft", "acme/small-draft", "--other", "x-acme/small"]


@pytest.mark.parametrize(
    ("components", "message"),
    [
        ("F: {type: frontend}", "model=new has no effect: graph 'g' has no worker service (g.yaml)"),
        (
            "W: {type: worker, main: {command: [python, worker.py]}}",
            "model=new reaches no worker of graph 'g': 'W': it names no model, and what its program calls it is not "
            "known",
        ),
        ("W: {type: worker}", "model=new cannot be set on service 'W': it has neither command nor args"),
        (
            "W: {type: worker, main: {command: [bash, serve.sh]}}",
            "model=new cannot be set on service 'W': it runs a script file with bash",
        ),
    ],
)
def test_a_model_that_reaches_nothing_is_refused(components: str, message: str) -> None:
    with pytest.raises(GraphError) as raised:
        apply_edits(graph(components), Edits(model="new"))
    assert str(raised.value) == message


def test_images_of_dynamo_change_and_others_are_told() -> None:
    made = graph(
        """
        F: {type: frontend, main: {image: "frontend:1"}}
        E: {type: epp, main: {image: "epp:1"}}
        W:
          type: worker
          main: {image: "vllm:1", command: [dynamo-vllm-sidecar]}
          beside: [{name: log, image: "fluent:1", command: [fluentd]}]
        """
    )
    changes: list[Any] = [(item.service, item.place, item.why_not) for item in apply_edits(made, Edits(image="mine:2"))]
    assert changes == [
        ("F", "image", ""),
        ("E", "image", "a service of role epp has its own image"),
        ("W", "image", ""),
        ("W", "container log: image", "it does not run a program of Dynamo"),
    ]
    assert [made.service(name).image for name in "FEW"] == ["mine:2", "epp:1", "mine:2"]


SPACES = """
kind: ConfigMap
metadata: {name: c, namespace: other}
data: {M: wrong/one, x.yaml: "model: wrong/one"}
---
kind: DynamoModel
metadata: {name: m, namespace: other}
spec: {baseModelName: acme/small}
---
kind: ConfigMap
metadata: {name: c, namespace: mine}
data: {M: acme/small, x.yaml: "model: acme/small"}
"""


def test_a_config_map_of_another_namespace_is_left_alone() -> None:
    main = "{command: [python3, -m, dynamo.vllm], args: [--model, $(M)], envFrom: [{configMapRef: {name: c}}]}"
    made = graph(f"W: {{type: worker, main: {main}, pod: {{volumes: [{{configMap: {{name: c}}}}]}}}}", SPACES)
    made.document["metadata"]["namespace"] = "mine"
    made = Graph(made.document, "g.yaml", made.companions)
    assert made.service("W").argument("--model") == "acme/small"
    changes = apply_edits(made, Edits(model="new"))
    assert [change for change in changes if change.why_not] == []
    assert [item.get("data") for item in made.companions] == [
        {"M": "wrong/one", "x.yaml": "model: wrong/one"},
        None,
        {"M": "new", "x.yaml": "model: new"},
    ]
    assert made.companions[1]["spec"] == {"baseModelName": OLD}


def test_a_served_name_that_is_a_common_word_is_not_sought_in_other_variables() -> None:
    extra = "acme/small, --served-model-name, vllm], env: [{name: BACKEND, value: vllm}, {name: MODEL_ID, value: vllm}]"
    made = graph(VLLM.replace("acme/small]", extra))
    apply_edits(made, Edits(model="new"))
    assert made.service("W").environment == {"BACKEND": "vllm", "MODEL_ID": "new"}


@pytest.mark.parametrize("text", ["hf://acme/small", "http://x/acme/small/y", "/models/acme/small", "a=acme/small"])
def test_an_old_model_in_an_address_is_told(text: str) -> None:
    made = graph(VLLM.replace("acme/small]", f"acme/small], env: [{{name: SOURCE, value: '{text}'}}]"))
    assert [change.place for change in apply_edits(made, Edits(model="new")) if change.why_not] == [
        "podTemplate.spec.containers[main].env[SOURCE].value"
    ]


@pytest.mark.parametrize(
    ("env", "then"),
    [
        ("{name: M, valueFrom: {secretKeyRef: {name: s, key: k}}}", [{"name": "M", "value": "new"}]),
        (
            "{name: B, value: acme/small}, {name: M, value: $(B)}",
            [{"name": "B", "value": "new"}, {"name": "M", "value": "$(B)"}],
        ),
    ],
)
def test_a_variable_that_names_it_is_set_and_its_reference_stays(env: str, then: list[object]) -> None:
    made = graph(f"W: {{type: worker, main: {{command: [python3, -m, dynamo.vllm, --model, $(M)], env: [{env}]}}}}")
    assert ("W", "env M") in edit(made)
    assert made.service("W").container["env"] == then
    assert made.service("W").container["command"][-1] == "$(M)"


def test_a_model_of_the_operator_gets_it_too() -> None:
    made = graph(VLLM, "kind: DynamoModel\nmetadata: {name: m}\nspec: {baseModelName: acme/small}\n")
    assert edit(made) == [("W", "args"), ("DynamoModel m", "spec.baseModelName")]
    assert made.companions[0]["spec"] == {"baseModelName": "new"}
