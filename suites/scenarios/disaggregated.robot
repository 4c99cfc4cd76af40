*** Settings ***
Documentation     The failure scenarios of origin 3 on a disaggregated graph: prefill and decode workers.

Resource          ../../resources/scenarios.resource

Suite Teardown    The Table Of Failures Is Written
Test Setup        A Graph Is Deployed
...                   mocker-vllm-disagg.yaml
...                   migration_limit=3
...                   args=${FASTER}
...                   replicas=${REPLICAS}
Test Teardown     Everything Is As Before
Test Timeout      2 minutes

Test Tags         scenario    backend:vllm    topology:disagg    plane:tcp


*** Variables ***
&{FASTER}      --speedup-ratio=4
&{REPLICAS}    VllmPrefillWorker=${2}    VllmDecodeWorker=${2}


*** Test Cases ***
Disagg Decode Worker
    [Tags]    origin:3:decode-worker
    Given Clients Send Requests
    When Replicas Die    VllmDecodeWorker
    Then The Service Recovers

Disagg Prefill Worker
    [Tags]    origin:3:prefill-worker
    Given Clients Send Requests
    When Replicas Die    VllmPrefillWorker
    Then The Service Recovers

Disagg Frontend
    [Tags]    origin:3:frontend
    Given Clients Send Requests
    When Replicas Die    Frontend
    Then The Service Recovers

Disagg Vllm Worker
    [Tags]    origin:3:vllm-worker
    Given Clients Send Requests
    When Engine Processes Die    VllmDecodeWorker    dynamo.mocker
    Then The Service Recovers

Disagg None
    [Tags]    origin:3:none
    Given Clients Send Requests
    When Nothing Dies
    Then All Requests Succeed
