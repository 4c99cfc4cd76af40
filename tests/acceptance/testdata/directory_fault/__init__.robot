*** Settings ***
Documentation     A fault that a directory's setup injects is in effect in each of its suites.

Library           DynamoFaultLibrary

Suite Setup       A Stalled Graph
Suite Teardown    A Graph That Is Deleted


*** Keywords ***
A Stalled Graph
    [Documentation]    One of two workers is stopped.
    Deploy Graph    position-agg.yaml
    Stall Process    PositionWorker    replica=0

A Graph That Is Deleted
    [Documentation]    The fault was there to the end.
    Recover All Faults
    Delete Graph
