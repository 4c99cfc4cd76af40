*** Settings ***
Documentation    Stalls a worker, says so, and waits to be ended from outside.

Library          OperatingSystem
Library          DynamoFaultLibrary


*** Test Cases ***
A Worker Is Stalled For Long
    Deploy Graph    position-agg.yaml
    Stall Process    PositionWorker    replica=0
    Create File    ${OUTPUT DIR}/stalled
    Wait Until Removed    ${OUTPUT DIR}/stalled    timeout=1 min
    [Teardown]    Delete Graph
