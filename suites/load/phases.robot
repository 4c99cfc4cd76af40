*** Settings ***
Documentation     The phases standard, overflow and recovery (origin 2, `TestPhase`): each request belongs to the one in
...               which it started, and each figure can be asked for by phase.
...
...               The engine serves four requests at a time, as many as there are steady clients. In the overflow each
...               of their requests queues behind those of 48 others, so it takes a dozen times as long as before,
...               however fast the machine is.

Resource          ../../resources/load.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    replicas=1    args=${FOUR AT A TIME}
Suite Teardown    Everything Is As Before
Test Timeout      ${TIME LIMIT}

Test Tags         load    backend:vllm    plane:tcp    origin:2:phases


*** Variables ***
&{FOUR AT A TIME}    --max-num-seqs=4    --speedup-ratio=2


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
    [Documentation]    The phase begins when the flood has come, and ends before it goes. At most four requests of the
    ...    recovery still meet the flood, ten times as many do not.
    Start Load    flood    concurrency=48    duration=10 minutes    output_tokens=32
    Start Phase    overflow
    Wait For Load Requests    8
    Start Phase    recovery
    Stop Load    flood
    Wait For Load Requests    40
    Stop Load

The Service Was Slower In The Overflow
    [Documentation]    The median latency, by phase: at least three times as long.
    ${standard}    Get Latency    50    part=standard
    ${recovery}    Get Latency    50    part=recovery
    Get Latency    50    >    ${standard * 3}    part=overflow
    Get Latency    50    >    ${recovery * 3}    part=overflow
