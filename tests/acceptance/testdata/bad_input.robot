*** Settings ***
Documentation    What users get wrong. Each test here fails, and the test that runs this reads the messages.

Library          DynamoFaultLibrary
Library          Obstacles.py

Test Timeout     1 minute


*** Test Cases ***
Graph File Is Missing
    Deploy Graph    no-such-graph.yaml

Graph File Is Not Yaml
    Deploy Graph    ${CURDIR}/graphs/not_yaml.yaml

Graph File Holds No Graph
    Deploy Graph    ${CURDIR}/graphs/not_a_graph.yaml

Service Is Unknown
    Deploy Graph    position-agg.yaml    replicas=${{{'VllmWorker': 2}}}

Replicas Are Zero
    Deploy Graph    position-agg.yaml    replicas=0

Replicas Are Negative
    Deploy Graph    position-agg.yaml    replicas=-1

Port Is Taken
    ${port}    Occupy A Port
    Deploy Graph    position-agg.yaml    http_port=${port}

Worker Dies At Start
    Deploy Graph    position-agg.yaml    args=${{{'--no-such-option': '1'}}}

Interpreter Is Missing
    Deploy Graph    position-agg.yaml    interpreter=/no/such/python

Timeout Is Reached
    Deploy Graph    position-agg.yaml    timeout=50 ms

Etcd Members Are Two
    Deploy Graph    position-agg.yaml    discovery=etcd    etcd_members=2

Etcd Members Are Of No Etcd
    Deploy Graph    position-agg.yaml    etcd_members=3

Image Is For A Cluster
    Deploy Graph    position-agg.yaml    image=dynamo:1

Port Is Beyond All
    Deploy Graph    position-agg.yaml    http_port=70000

Timeout Is Nothing
    Deploy Graph    position-agg.yaml    timeout=0

Graph Is Misspelled
    Deploy Graph    postion-agg.yaml

Router Modes Are Two
    Deploy Graph    position-agg.yaml    router_mode=random    frontend_args=${{{'--router-mode': 'kv'}}}

Frontend Is A Script That Runs Another
    Deploy Graph    ${CURDIR}/graphs/evaluated.yaml    router_mode=kv

Log Hides Who Serves
    [Setup]    Deploy Graph    position-agg.yaml    env=${{{'DYN_LOG': 'error'}}}
    ${request}    Start Request    max_tokens=4
    Kill Worker    PositionWorker    serving=${request}
    [Teardown]    Delete Graph

Log Hides Migrations
    [Setup]    Deploy Graph    position-agg.yaml    env=${{{'DYN_LOG': 'error'}}}
    Get Migrations
    [Teardown]    Delete Graph

No Graph Is Deployed
    Start Request

Process Name Matches Nothing
    [Setup]    Deploy Graph    position-agg.yaml
    Terminate Process    PositionWorker    VLLM::EngineCore    SIGKILL    0
    [Teardown]    Delete Graph

Replica Is Unknown
    [Setup]    Deploy Graph    position-agg.yaml
    Kill Worker    PositionWorker    7
    [Teardown]    Delete Graph

Fault Service Is Unknown
    [Setup]    Deploy Graph    position-agg.yaml
    Kill Worker    NoSuchService
    [Teardown]    Delete Graph

Signal Is Unknown
    [Setup]    Deploy Graph    position-agg.yaml
    Terminate Process    PositionWorker    position    SIGFOO
    [Teardown]    Delete Graph

Signal Does Not End A Process
    [Setup]    Deploy Graph    position-agg.yaml
    Terminate Process    PositionWorker    position    SIGSTOP
    [Teardown]    Delete Graph

Nothing Is Stalled
    [Setup]    Deploy Graph    position-agg.yaml
    Resume Process    PositionWorker
    [Teardown]    Delete Graph

Load Is Unknown
    Get Request Count    load=none

Load Has Two Ends
    [Setup]    Deploy Graph    position-agg.yaml
    Start Load    request_count=1    duration=1 s
    [Teardown]    Delete Graph

Log Is Of No Service
    [Setup]    Deploy Graph    position-agg.yaml
    Service Log Should Not Contain    NoSuchService    panic
    [Teardown]    Delete Graph

Log Is Empty
    [Setup]    Deploy Graph    position-agg.yaml
    Empty The Logs Of    Frontend
    Service Log Should Not Contain    Frontend    panic
    [Teardown]    Delete Graph
