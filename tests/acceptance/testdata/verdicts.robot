*** Settings ***
Documentation     What checks compare with, what is told of replicas that end, and what a known defect excuses.

Library           Obstacles.py
Library           DynamoFaultLibrary

Suite Setup       Deploy Graph    position-agg.yaml    replicas=2    migration_limit=3
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
A Replica That There Is Not Cannot Have Exited
    Service Should Exit By Itself    PositionWorker    9

A Worker That A Fault Has Ended Did Not Exit By Itself
    Kill Worker    PositionWorker    0    graceful=True
    Service Should Exit By Itself    PositionWorker    0

A Restart Before The First Check Is Seen
    Kill Worker    PositionWorker    0    respawn=True
    Service Should Not Have Restarted    PositionWorker

Nothing Has Restarted Since The Test Began
    Service Should Not Have Restarted    PositionWorker
    Get Migrations    ==    0

A Label That Has Not Come Yet Is Waited For
    Wait Until Graph Is Ready
    ${request}    Start Request    completion    max_tokens=200
    Get Metric
    ...    Frontend
    ...    dynamo_frontend_requests_total{status="success",request_type="stream"}
    ...    >=
    ...    1
    ...    timeout=20 s
    Request Should Have Succeeded    ${request}

A Misspelled Metric Is Answered With Its Like
    Get Metric    Frontend    dynamo_frontend_request_total

A Timeout Of Nothing Is Refused
    Wait Until Graph Is Ready    timeout=0

A Known Defect May Be An Answer That Does Not Come
    [Tags]    robot:skip-on-failure
    Stall Process    PositionWorker    replica=0
    Stall Process    PositionWorker    replica=1
    ${request}    Start Request    completion    max_tokens=10
    Wait For Request    ${request}    timeout=200 ms

A Known Defect Hides No Graph That Does Not Come Up
    [Tags]    robot:skip-on-failure
    Deploy Graph    position-agg.yaml    args=${{{'--no-such-option': '1'}}}

A Known Defect Hides No Load That There Is Not
    [Tags]    robot:skip-on-failure
    Get Request Count    load=none

A Known Defect Hides No Unknown Keyword
    [Tags]    robot:skip-on-failure
    Get Whatever There Is

A Known Defect Hides No Wrong Argument
    [Tags]    robot:skip-on-failure
    Get Known Workers    timeout=soon

A Frontend That Is Killed From Outside Is Told
    Kill From Outside    Frontend
    Look Away For A Second
    Wait Until Graph Is Ready    timeout=1 h
