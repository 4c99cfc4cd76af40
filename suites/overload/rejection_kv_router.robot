*** Settings ***
Documentation     Busy thresholds with the KV router, set while it runs (upstream's `SetBusyThreshold`).

Library           RequestsLibrary
Resource          ../../resources/overload.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    router_mode=kv    args=${SMALL CACHE}
Suite Teardown    Everything Is As Before
Test Timeout      1 minute

Test Tags         overload    backend:vllm    plane:tcp    router:kv    origin:2:phases


*** Variables ***
&{SMALL CACHE}    --num-gpu-blocks-override=64    --block-size=16    --speedup-ratio=4


*** Test Cases ***
A Threshold That Is Set While It Runs Rejects A Flood
    Given A Threshold Is Set    ${0.5}
    And A Few Clients Are Served Well
    When A Flood Of Requests Arrives
    And The Flood Is Over
    Then Requests Of The Flood Are Rejected
    And The Service Is As Good As Before


*** Keywords ***
A Threshold Is Set
    [Documentation]    Dynamo's REST endpoint; it answers with the thresholds that are in force.
    [Arguments]    ${threshold}
    ${url}    Get Frontend Url
    ${model}    Get Served Model
    VAR    &{body}    model=${model}    active_decode_blocks_threshold=${threshold}
    ${answer}    POST    ${url}/busy_threshold    json=${body}
    Should Be Equal    ${answer.json()}[active_decode_blocks_threshold]    ${threshold}
