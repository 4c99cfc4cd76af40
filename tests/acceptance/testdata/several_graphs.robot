*** Settings ***
Documentation     Two graphs at once: faults, requests, logs and figures stay with the graph that they belong to.

Library           DynamoFaultLibrary

Suite Setup       Two Graphs
Suite Teardown    Delete All Graphs
Test Timeout      2 minutes


*** Test Cases ***
A Fault Hits The Graph That It Is Meant For
    Given A Request Is Streaming On Each Graph
    When Kill Worker    PositionWorker    serving=${BLUE}
    Then Request Should Have Succeeded    ${BLUE}
    And Request Should Have Succeeded    ${GREEN}
    And Get Migrations    ==    1    graph=blue
    And Get Migrations    ==    0    graph=green
    And Get Migrations    ==    0
    And Service Should Not Have Restarted    PositionWorker    graph=green

A Load Is Cut At The Faults Of Its Graph
    Given Wait Until Graph Is Ready    graph=blue
    And A Load Runs On Each Graph
    When A Worker Of The Blue Graph Stalls For A Moment
    Then Get Request Count    >    0    load=left    part=before
    And Run Keyword And Expect Error    no fault has been injected into graph 'green'*
    ...    Get Request Count    >    0    load=right    part=before

A Requests Graph Is Not Another One
    ${blue}    Start Request    max_tokens=4    graph=blue
    Run Keyword And Expect Error    request * went to blue, not to graph 'green'
    ...    Kill Worker    PositionWorker    serving=${blue}    graph=green

An Alias Is Taken
    Run Keyword And Expect Error    alias 'blue' is taken by a graph that is deployed; there are ?'blue', 'green'?
    ...    Deploy Graph    position-agg.yaml    alias=blue

One Graph Is Deleted
    ${blue}    Get Frontend Url    graph=blue
    ${last}    Get Frontend Url
    Delete Graph    graph=green
    ${left}    Get Frontend Url
    Should Not Be Equal    ${last}    ${blue}
    Should Be Equal    ${left}    ${blue}
    Run Keyword And Expect Error    no graph 'green' is deployed; there are ?'blue'?    Get Frontend Url    graph=green


*** Keywords ***
Two Graphs
    [Documentation]    The second one is the default.
    Deploy Graph    position-agg.yaml    alias=blue    migration_limit=3
    Deploy Graph    position-agg.yaml    alias=green    migration_limit=3

A Request Is Streaming On Each Graph
    [Documentation]    So that a fault may hit either.
    ${BLUE}    Start Request    max_tokens=300    graph=blue
    ${GREEN}    Start Request    max_tokens=300
    Wait For Tokens    ${BLUE}    20
    Wait For Tokens    ${GREEN}    20
    VAR    ${BLUE}    ${BLUE}    scope=TEST
    VAR    ${GREEN}    ${GREEN}    scope=TEST

A Load Runs On Each Graph
    [Documentation]    They end with the test.
    Start Load    left    concurrency=2    duration=1 minute    output_tokens=16    graph=blue
    Start Load    right    concurrency=2    duration=1 minute    output_tokens=16    graph=green
    Wait For Load Requests    10    load=left
    Wait For Load Requests    10    load=right

A Worker Of The Blue Graph Stalls For A Moment
    [Documentation]    The green graph has nothing to resume.
    Stall Process    PositionWorker    replica=0    graph=blue
    Run Keyword And Expect Error    no process of service 'PositionWorker' is stalled*
    ...    Resume Process    PositionWorker    graph=green
    Resume Process    PositionWorker    graph=blue
    Wait For Load Requests    10    load=left
