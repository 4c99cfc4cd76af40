*** Settings ***
Documentation    A stalled worker, on any platform; somebody kills robot meanwhile.

Library          DynamoFaultLibrary    platform=${PLATFORM}

Test Timeout     1 minute


*** Variables ***
${PLATFORM}    local


*** Test Cases ***
A Worker Is Stalled
    Deploy Graph    position-agg.yaml
    Stall Process    PositionWorker    replica=0    duration=10 min
    Wait Until Fault Is Over
