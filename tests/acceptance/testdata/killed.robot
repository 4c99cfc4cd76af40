*** Settings ***
Documentation    A loaded graph with a stalled worker; somebody ends the run in the middle of it.

Library          DynamoFaultLibrary

Test Timeout     1 minute


*** Test Cases ***
A Worker Is Stalled Under Load
    Deploy Graph    position-agg.yaml
    Start Load    concurrency=2    duration=1 s    output_tokens=8
    Stall Process    PositionWorker    replica=0
    Resume Process    PositionWorker
    Wait For Load Completion
    [Teardown]    Delete Graph
