*** Settings ***
Documentation     A saturated service loses one of its two workers.

Library           DynamoFaultLibrary

Suite Setup       Deploy Graph    mocker-vllm-agg.yaml    migration_limit=3    args=${FOUR AT A TIME}
Suite Teardown    Delete Graph
Test Timeout      2 minutes


*** Variables ***
&{FOUR AT A TIME}    --max-num-seqs=4
&{A SECOND}          --token-time=0.05


*** Test Cases ***
Bad Replica
    Clients Keep The Workers Busy
    Stop Load
    Get Latency    95    <    10 s    replica=VllmWorker-9

Bad Comparison
    Clients Keep The Workers Busy
    Get Latency    50    <    soon

Bad Percentile
    Clients Keep The Workers Busy
    Get Latency    0.95    <    10 s

Bad Share
    Clients Keep The Workers Busy
    Get Success Rate    >=    90

Good Percentage
    Clients Keep The Workers Busy
    Get Success Rate    >=    90%
    ${seconds}    Get Latency    50    then    value.total_seconds()
    Should Be True    isinstance(${seconds}, float)

Bad Baseline
    Start Load    concurrency=1    duration=1 minute
    Stall Process    VllmWorker    replica=0    duration=30 s
    Wait Until Recovered

A Killed Worker Is Not Replaced. So Half Of The Throughput Is Gone    # robocop: off=NAME01
    Clients Keep The Workers Busy
    Kill Worker    VllmWorker    0
    Run Keyword And Expect Error
    ...    load 'default' has not recovered from Kill Worker on VllmWorker-0: after 15 s it has * % of its throughput*
    ...    Wait Until Recovered
    ...    timeout=15 s
    Stop Load
    Get Recovery Time    <    15 s
    Run Keyword And Expect Error
    ...    full recovery * from Kill Worker on VllmWorker-0 is not reached: * of the throughput at the end*
    ...    Get Full Recovery Time
    ...    <
    ...    10 s
    Log Failure Table

A Killed Worker Is Replaced
    [Documentation]    Answers take a second of the engine's own time, so that a busy machine does not show.
    [Setup]    Deploy Graph    position-agg.yaml    migration_limit=3    args=${A SECOND}
    Start Load    concurrency=8    duration=5 minutes    output_tokens=20    retries=12
    Wait For Load Requests    40
    Kill Worker    PositionWorker    0    respawn=True
    Wait Until Recovered    timeout=60 s
    Stop Load
    Get Good Request Count    >    0    part=after    replica=PositionWorker-0
    Get Latency    50    >    0 s    part=after    replica=1
    ${one}    Get Good Request Count    replica=PositionWorker-0
    ${other}    Get Good Request Count    replica=PositionWorker-1
    Get Good Request Count    ==    ${one + ${other}}
    [Teardown]    Delete Graph


*** Keywords ***
Clients Keep The Workers Busy
    [Documentation]    Twice as many clients as the workers serve at a time.
    Start Load    concurrency=16    duration=5 minutes    output_tokens=32
    Wait For Load Requests    100
