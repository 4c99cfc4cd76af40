*** Settings ***
Documentation     What the library refuses, renews and notices about faults.

Library           Obstacles.py
Library           DynamoFaultLibrary    allowed_services=${ALLOWED}    max_faults=1

Suite Setup       Deploy Graph    position-agg.yaml    replicas=3
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Variables ***
@{ALLOWED}    PositionWorker


*** Test Cases ***
A Service Beyond The Blast Radius Is Refused
    Kill Replica    Frontend    0

A Second Fault Is Refused
    Stall Process    PositionWorker    replica=0
    Stall Process    PositionWorker    replica=1

A Request That Has Ended Meets No Fault
    ${request}    Start Request    max_tokens=4
    Wait For Request    ${request}
    Kill Worker    PositionWorker    serving=${request}

A Request That Ends Early Has Not The Tokens
    ${request}    Start Request    max_tokens=4
    Wait For Tokens    ${request}    5

A Load That Still Runs Has No Verdict
    Start Load    duration=1 min    concurrency=1
    Load Should Have Zero Errors

A Time To Live Of Nothing Is Refused
    Stall Process    PositionWorker    replica=0    duration=0 s

A Time To Live Of A Month Is Refused
    Kill Worker    PositionWorker    0    ttl=30 days

A Renewal Of A Month Is Refused
    ${fault}    Stall Process    PositionWorker    replica=0
    Renew Fault    ${fault}    30 days

A Wait Of A Month Is Refused
    Kill Worker    PositionWorker    0    timeout=30 days

A Frontend Is No Worker
    Kill Worker    Frontend    0

A Process That Is Stalled Already Is Refused
    [Documentation]    Else its second stall would let it go on while the first is listed as active.
    Stall Process    PositionWorker    replica=0    duration=60 s
    Stop Counting Faults
    Stall Process    PositionWorker    replica=0    duration=1 s

An Unknown Fault Cannot Be Recovered
    Recover Fault    kill-worker-00000000

A Fault Comes Off At Its Expiry
    Stall Process    PositionWorker    replica=0    duration=300 ms
    Wait Until Keyword Succeeds    3 s    50 ms    No Fault Should Be Active

A Renewed Fault Stays
    ${fault}    Stall Process    PositionWorker    replica=0    duration=500 ms
    Renew Fault    ${fault}    1 min
    ${active}    List Active Faults
    Should Be Equal    ${active}    ${{[$fault]}}
    Run Keyword And Expect Error    no fault should be active*    No Fault Should Be Active
    Resume Process    PositionWorker
    Run Keyword And Expect Error    *has come off already*    Renew Fault    ${fault}    1 min

Without A Ledger No Fault Is Injected
    Fill The Disk Of The Ledger
    Kill Worker    PositionWorker    0
    [Teardown]    Give The Ledger Back

The Worker Of The Test Before Is Alive
    Kill Worker    PositionWorker    0    respawn=True
    Wait Until Graph Is Ready

A Known Defect Hides No Fault That Was Refused
    [Tags]    robot:skip-on-failure
    Kill Replica    Frontend    0

A Known Defect Is Skipped
    [Tags]    robot:skip-on-failure
    ${request}    Start Request    max_tokens=4
    Request Should Have Failed    ${request}
