*** Settings ***
Documentation     The failure scenarios of origin 3 on an aggregated graph: two workers behind one frontend.
...
...               Dynamo has no processor any more: tokenization moved into the frontend, so that scenario kills the
...               frontend. The mocker has no engine process of its own: `vllm_worker` kills the worker's process by its
...               name.

Resource          ../../resources/scenarios.resource

Suite Teardown    The Table Of Failures Is Written
Test Setup        A Graph Is Deployed    mocker-vllm-agg.yaml    migration_limit=3    args=${FASTER}
Test Teardown     Everything Is As Before
Test Timeout      2 minutes

Test Tags         scenario    backend:vllm    topology:agg    plane:tcp


*** Variables ***
&{FASTER}    --speedup-ratio=4


*** Test Cases ***
Agg Decode Worker
    [Tags]    origin:3:decode-worker
    Given Clients Send Requests
    When Replicas Die    VllmWorker
    Then The Service Recovers

Agg Frontend
    [Tags]    origin:3:frontend
    Given Clients Send Requests
    When Replicas Die    Frontend
    Then The Service Recovers

Agg Processor
    [Tags]    origin:3:processor
    Given Clients Send Requests
    When Replicas Die    Frontend
    Then The Service Recovers

Agg Vllm Worker
    [Tags]    origin:3:vllm-worker
    Given Clients Send Requests
    When Engine Processes Die    VllmWorker    dynamo.mocker
    Then The Service Recovers

Agg None
    [Tags]    origin:3:none
    Given Clients Send Requests
    When Nothing Dies
    Then All Requests Succeed
