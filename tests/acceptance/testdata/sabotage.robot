*** Settings ***
Documentation     Every fault keyword once; the run is sabotaged, so each must fail.

Library           DynamoFaultLibrary

Suite Setup       Deploy Graph    position-agg.yaml
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
Kill Worker
    Kill Worker    PositionWorker    0    timeout=300 ms

Kill Worker Gracefully
    Kill Worker    PositionWorker    0    graceful=True    timeout=300 ms

Kill Worker And Respawn It
    Kill Worker    PositionWorker    0    respawn=True    timeout=300 ms

Kill Replica
    Kill Replica    Frontend    0    timeout=300 ms

Terminate Process
    Terminate Process    PositionWorker    engines.position    SIGINT    0    timeout=300 ms

Cancel Request
    ${request}    Start Request    chat    max_tokens=900
    Wait For Tokens    ${request}    1
    Cancel Request    ${request}    timeout=300 ms

Stall Process
    Stall Process    PositionWorker    replica=0

Partition Network
    [Setup]    Deploy Graph    position-agg.yaml    network=isolated
    Partition Network    FRONTEND_WORKER
    [Teardown]    Delete Graph

Partition Network That Resets
    [Setup]    Deploy Graph    position-agg.yaml    network=isolated
    ${request}    Start Request
    Wait For Tokens    ${request}    10
    Partition Network    FRONTEND_WORKER    serving=${request}    mode=reset
    [Teardown]    Delete Graph
