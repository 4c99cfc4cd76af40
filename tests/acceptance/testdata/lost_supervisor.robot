*** Settings ***
Documentation     Somebody kills the supervisor: its deployments are gone, and the next one works.

Library           Obstacles.py
Library           DynamoFaultLibrary

Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
The Loss Is Told
    Deploy Graph    position-agg.yaml
    Stall Process    PositionWorker    replica=0
    Kill The Supervisor
    Run Keyword And Expect Error
    ...    the supervisor is gone (*), and what it had started with it: position-agg-*; 'Deploy Graph' starts another*
    ...    Kill Worker    PositionWorker    1
    Run Keyword And Expect Error
    ...    deployment 'position-agg-*' is gone: its supervisor was killed; call 'Deploy Graph' again
    ...    Kill Worker    PositionWorker    1
    No Fault Should Be Active

The Next Deployment Works
    Deploy Graph    position-agg.yaml
    Kill Worker    PositionWorker    1
    Recover All Faults
    Send Completion
