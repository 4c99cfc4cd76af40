*** Settings ***
Documentation     When faults come off, and what is told of it.

Library           DynamoFaultLibrary

Suite Setup       Deploy Graph    position-agg.yaml    replicas=2
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
A Stall Lasts As Long As It Was Asked To
    Start Load    duration=4 s    concurrency=2
    ${id}    Stall Process    PositionWorker    replica=0    duration=1 s
    Wait For Load Completion
    ${fault}    Get Fault    ${id}
    Should Be Equal    ${fault.state}    recovered
    Should Be True    0.9 < $fault.lasted.total_seconds() < 2
    Should Be True    $fault.injected_at <= $fault.effective_at <= $fault.proven_at < $fault.came_off_at
    Get Request Count    >    0    part=after

The End Of A Fault Is Waited For
    ${id}    Stall Process    PositionWorker    replica=0    duration=1 min
    Run Keyword And Expect Error
    ...    Stall Process ${id} on PositionWorker-0 is still in effect after 0.2 s; it comes off by itself at *
    ...    Wait Until Fault Is Over    ${id}    timeout=200 ms
    Renew Fault    ${id}    300 ms
    Wait Until Fault Is Over    fault=${id}    timeout=10 s
    No Fault Should Be Active
    Run Keyword And Expect Error
    ...    no process of service 'PositionWorker' is stalled*
    ...    Resume Process    PositionWorker

A Stall And A Kill Come Off Together
    Stall Process    PositionWorker    replica=0
    Kill Worker    replica=1

The Graph Is Whole After Both
    No Fault Should Be Active
    Wait Until Graph Is Ready    1 s

A Stall Ends With Its Process
    ${stall}    Stall Process    PositionWorker    replica=0
    ${kill}    Kill Worker    PositionWorker    0
    ${active}    List Active Faults
    Should Be Equal    ${active}    ${{[$kill]}}
    ${fault}    Get Fault    ${stall}
    Should Be Equal    ${fault.detail}    its processes have ended
    Recover Fault    fault=${kill}

One Start Makes Good All Ends Of A Replica
    Terminate Process    PositionWorker    engines.position    SIGKILL    0
    Recover All Faults
    Kill Replica    PositionWorker    0    ttl=500 ms
    Wait Until Fault Is Over
    Wait Until Graph Is Ready
    No Fault Should Be Active

A Kill That Expires While Its Graph Is Deleted
    Kill Worker    PositionWorker    0    ttl=300 ms
    Delete Graph
    Deploy Graph    position-agg.yaml
    Wait Until Graph Is Ready
    No Fault Should Be Active
