*** Settings ***
Documentation     A fault that the suite's setup injects is in effect in each test.

Library           DynamoFaultLibrary

Suite Setup       A Stalled Graph
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
The First Test Finds The Fault
    A Worker Is Stalled

The Second Test Finds It Too
    A Worker Is Stalled
    Recover All Faults
    No Fault Should Be Active


*** Keywords ***
A Stalled Graph
    [Documentation]    One of two workers is stopped.
    Deploy Graph    position-agg.yaml
    Stall Process    PositionWorker    replica=0

A Worker Is Stalled
    [Documentation]    One fault is active.
    ${active}    List Active Faults
    Length Should Be    ${active}    1
