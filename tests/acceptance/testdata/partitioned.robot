*** Settings ***
Documentation    Partitions the network, says so, and waits to be ended from outside.

Library          OperatingSystem
Library          DynamoFaultLibrary


*** Test Cases ***
The Network Is Partitioned For Long
    Deploy Graph    position-agg.yaml    network=isolated
    Partition Network    FRONTEND_WORKER
    Create File    ${OUTPUT DIR}/partitioned
    Wait Until Removed    ${OUTPUT DIR}/partitioned    timeout=1 min
    [Teardown]    Delete Graph
