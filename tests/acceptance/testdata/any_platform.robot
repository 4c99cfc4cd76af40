*** Settings ***
Documentation     A graph is hit in each way that a platform has to know. Nothing here depends on which one it is.

Library           DynamoFaultLibrary    platform=${PLATFORM}    seed=1

Suite Setup       Deploy Graph    position-agg.yaml    network=isolated
Suite Teardown    Delete Graph
Test Timeout      3 minutes


*** Variables ***
${PLATFORM}    local


*** Test Cases ***
A Graph Under Load Recovers From All
    Start Load    concurrency=4    duration=2 min    output_tokens=8
    Wait For Load Requests    40
    ${kill} =    A Graph Is Hit In Three Ways
    Wait Until Graph Is Ready
    Wait For Load Requests    40
    Wait Until Recovered
    Stop Load
    Figures Tell What Happened    ${kill}

The Worker That Serves A Request Is Found
    ${request} =    Start Request    chat    max_tokens=2000    streaming=True
    Wait For Tokens    ${request}    5
    Stall Process    PositionWorker    serving=${request}
    Resume Process    PositionWorker
    Wait For Tokens    ${request}    10
    Kill Replica    PositionWorker    serving=${request}    respawn=True
    Request Should Have Failed    ${request}

A Frontend Dies And Comes Back
    Kill Replica    Frontend    graceful=True
    ${record} =    Send Completion    allow_failure=True
    Should Be Equal As Strings    ${record.outcome}    connection
    Recover All Faults
    Send Completion    max_tokens=4
    Wait Until Graph Is Ready

Processes Are Known By Their Command Lines
    Get Command Line    PositionWorker    contains    engines.position    replica=1
    Run Keyword And Expect Error
    ...    no process of PositionWorker-1 matches 'nobody'; running are *engines.position*
    ...    Terminate Process    PositionWorker    nobody    SIGKILL    1
    Terminate Process    PositionWorker    engines.position    SIGKILL    1    respawn=True
    Wait Until Graph Is Ready

What A Platform Lacks Skips The Test
    Partition Network    FRONTEND_WORKER    mode=reject
    Heal Network Partition


*** Keywords ***
A Graph Is Hit In Three Ways
    [Documentation]    It is killed, stalled and cut off; returns the first fault.
    ${kill} =    Kill Worker    PositionWorker    0
    Wait For Load Requests    10
    Recover Fault    ${kill}
    ${stall} =    Stall Process    PositionWorker    replica=1    duration=500 ms
    Wait Until Fault Is Over    ${stall}
    ${cut} =    Partition Network    FRONTEND_WORKER    target_replica=0
    Heal Network Partition    ${cut}
    No Fault Should Be Active
    RETURN    ${kill}

Figures Tell What Happened
    [Documentation]    The load got its answers, but for those that the fault has cost it.
    [Arguments]    ${kill}
    Load Should Have Been Stopped
    Get Success Rate    >    0.5
    Get Success Rate    ==    1    part=after
    Get Recovery Time    <    1 min    fault=${kill}
    Get Request Count    >    0    replica=PositionWorker-0
    Get Request Count    >    0    replica=PositionWorker-1
    Service Log Should Contain    PositionWorker    request received
    Service Log Should Not Contain    PositionWorker    nobody writes this
    Service Should Not Have Restarted    Frontend
