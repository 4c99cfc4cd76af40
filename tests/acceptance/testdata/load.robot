*** Settings ***
Documentation     Loads: what their getters say and refuse. Tests that begin with Bad fail, and their messages are read.

Library           DynamoFaultLibrary    seed=11

Suite Setup       Deploy Graph    position-agg.yaml    migration_limit=3
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
A Fault Under Load
    Given A Load In Two Phases With A Stalled Worker Between
    When Stop Load
    Then Load Should Have Zero Errors
    And Each Part Has Requests
    And Requests Took Longer During The Fault
    And Get Recovery Time    <    10 s

Bad Load Without A Good Response
    Start Load    timeout=1 ms    request_count=3

Bad Rate
    Start Load    request_rate=0

Bad Share
    Start Load    cancellation_rate=30

Bad Prefix
    Start Load    prefix_tokens=20    input_tokens=10

Bad Part
    [Setup]    A Small Load
    Get Latency    50    part=sometimes

Bad Part Without A Fault
    [Setup]    A Small Load
    Get Latency    50    part=during

Bad Phase Name
    Start Phase    during

Bad Wait
    [Setup]    A Small Load
    Wait For Load Requests    5

Bad Errors
    Start Load    concurrency=1    duration=1 minute    output_tokens=16
    Kill Worker    PositionWorker    replica=0
    Kill Worker    PositionWorker    replica=1
    Wait Until Keyword Succeeds    20 s    50 ms    Get Error Count    >    2
    Stop Load
    Load Should Have At Most Errors    2

Bad Verdict On A Running Load
    [Setup]    Wait Until Graph Is Ready
    Start Load    concurrency=1    duration=1 minute    output_tokens=16
    Load Should Have Zero Errors


*** Keywords ***
A Load In Two Phases With A Stalled Worker Between
    [Documentation]    The load goes on; its fault has come off.
    Start Load    concurrency=4    duration=1 minute    output_tokens=16
    Start Phase    standard
    Wait For Load Requests    10
    Stall Process    PositionWorker    replica=0
    Wait For Load Requests    2
    Resume Process    PositionWorker
    Start Phase    recovery
    Wait For Load Requests    10

Requests Took Longer During The Fault
    [Documentation]    The stalled worker had some: they waited for it.
    ${usual}    Get Latency    50    part=before
    Get Latency    100    >    ${usual}    part=during

Each Part Has Requests
    [Documentation]    By phase, and by fault.
    Get Good Request Count    >=    10    part=standard
    Get Good Request Count    >=    10    part=recovery
    Get Good Request Count    >    0    part=before
    Get Good Request Count    >    0    part=during
    Get Good Request Count    >    0    part=after

A Small Load
    [Documentation]    Four requests, all of them good.
    Start Load    request_count=4    output_tokens=8
    Wait For Load Completion
