*** Settings ***
Documentation    One test of each kind that a user writes first.

Library          DynamoFaultLibrary    seed=7

Test Timeout     1 minute


*** Test Cases ***
A Stream Survives The Death Of Its Worker
    Deploy Graph    position-agg.yaml    migration_limit=3
    ${request}    Start Request    chat    max_tokens=200
    Wait For Tokens    ${request}    50
    Kill Worker    PositionWorker    serving=${request}
    Request Should Have Succeeded    ${request}
    Get Migrations    ==    1
    Get Longest Token Gap    <    2 s    request=${request}
    Service Log Should Contain    Frontend    recreating stream
    Service Log Should Not Contain    Frontend    Cannot recreate stream

The Next Test Finds The Worker Again
    [Documentation]    The end of the test before has taken the fault off.
    No Fault Should Be Active
    Start Load    concurrency=4    request_count=60    output_tokens=16
    Stall Process    PositionWorker    replica=0    duration=1 s
    Wait For Load Completion
    Load Should Have Zero Errors
    Load Should Have At Least Requests    60
    Get Error Count    ==    0    error_class=truncated
    Get Recovery Time    <    10 s
    Get Latency    99    <    10 s

A Killed Worker Comes Back When Asked To
    ${fault}    Kill Worker    PositionWorker    0    respawn=True
    ${active}    List Active Faults
    Should Be Empty    ${active}
    Wait Until Graph Is Ready

A Process Is Ended By Name And Recovered By Id
    ${fault}    Terminate Process    PositionWorker    engines.position    SIGINT    1
    ${active}    List Active Faults
    Should Be Equal    ${active}[0]    ${fault}
    Recover Fault    ${fault}
    Recover Fault    ${fault}
    Recover All Faults
    No Fault Should Be Active

A Load Has Figures
    Start Load    figures    concurrency=2    requests_per_client=3    output_tokens=8    request_rate=50
    Stop Load    figures
    Get Time To First Token    50    <    2 s    load=figures
    Get Inter Token Latency    50    <    1 s    load=figures
    Get Longest Token Gap    >    0 s    load=figures
    Get Request Count    <=    6    load=figures
    Get Error Count    ==    0    load=figures

A Stalled Worker Goes On
    Stall Process    PositionWorker    engines.position    0
    Resume Process    PositionWorker
    ${record}    Send Completion    max_tokens=8
    Should Be Equal As Strings    ${record.outcome}    ok
    [Teardown]    Delete Graph
