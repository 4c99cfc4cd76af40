*** Settings ***
Documentation     A run to be compared: a load that loses a worker, and a test that may be told to fail.

Library           DynamoFaultLibrary

Suite Setup       Deploy Graph    position-agg.yaml    migration_limit=3
Suite Teardown    Delete Graph
Test Timeout      2 minutes


*** Variables ***
${BROKEN}    no


*** Test Cases ***
A Load Loses A Worker
    Start Load    concurrency=4    request_count=200    output_tokens=20
    Wait For Load Requests    50
    Kill Worker    PositionWorker    0    respawn=True
    Wait For Load Completion
    Get Request Count    ==    200

It May Be Broken
    Should Be Equal    ${BROKEN}    no    it was told to fail    values=False
