*** Settings ***
Documentation    Sixty clients hang up at once: no worker keeps a request, and the next one is served.
...
...              Covers upstream's `test_trtllm_cancel_burst_recovery`, on Dynamo's mocker.

Resource         ../../resources/cancellation.resource

Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        cancellation    backend:vllm    plane:tcp    origin:2:cancellation-storm


*** Test Cases ***
Aggregated
    [Setup]    A Graph Is Deployed    mocker-vllm-agg.yaml
    VAR    ${WORKER}    VllmWorker    scope=TEST
    Given Many Requests Are Being Served    60
    When All Clients Hang Up
    Then Nothing Is In Flight
    And A Request Succeeds

Disaggregated
    [Setup]    A Graph Is Deployed    mocker-vllm-disagg.yaml
    VAR    ${WORKER}    VllmDecodeWorker    scope=TEST
    Given Many Requests Are Being Served    60
    When All Clients Hang Up
    Then Nothing Is In Flight
    And A Request Succeeds
