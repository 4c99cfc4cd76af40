*** Settings ***
Documentation     The phases standard, overflow and recovery (origin 2, `TestPhase`): each request belongs to the one in
...               which it started, and each figure can be asked for by phase.

Resource          ../../resources/load.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    replicas=1
Suite Teardown    Everything Is As Before
Test Timeout      1 minute

Test Tags         load    backend:vllm    plane:tcp    origin:2:phases


*** Test Cases ***
An Overflow Slows The Service Down, And It Recovers
    Given Steady Load Through All Phases
    When A Flood Comes And Goes
    Then The Service Was Slower In The Overflow
    And Get Success Rate    ==    1    part=recovery
    And Load Should Have Zero Errors


*** Keywords ***
Steady Load Through All Phases
    [Documentation]    Four clients, from before the flood to after it.
    Start Phase    standard
    Steady Load    clients=4    output_tokens=16

A Flood Comes And Goes
    [Documentation]    Eight times as many clients for a moment.
    Start Phase    overflow
    Start Load    flood    concurrency=96    request_count=192    output_tokens=64
    Wait For Load Completion    flood
    Start Phase    recovery
    Wait For Load Requests    20
    Stop Load

The Service Was Slower In The Overflow
    [Documentation]    The median latency, by phase.
    ${standard}    Get Latency    50    part=standard
    ${recovery}    Get Latency    50    part=recovery
    Get Latency    50    >    ${standard}    part=overflow
    Get Latency    50    >    ${recovery}    part=overflow
