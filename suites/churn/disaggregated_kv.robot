*** Settings ***
Documentation    Workers come and go under load with the KV router, disaggregated: how many requests hang for ever?
...
...              Upstream's open issue 13088 says about 1.6 %: no error, no answer, no timeout. A request counts as
...              hung when nothing ended it within `${HUNG AFTER}`; the log names each. `-v ROUNDS:50` makes it minutes.

Resource         ../../resources/graph.resource

Test Setup       A Graph Is Deployed
...                  mocker-vllm-disagg.yaml
...                  router_mode=kv
...                  migration_limit=3
...                  replicas=${REPLICAS}
...                  args=${FASTER}
Test Teardown    Everything Is As Before
Test Timeout     30 minutes

Test Tags        churn    backend:vllm    topology:disagg    router:kv    plane:tcp


*** Variables ***
&{FASTER}        --speedup-ratio=4
&{REPLICAS}      VllmPrefillWorker=${2}    VllmDecodeWorker=${2}
${ROUNDS}        3
${HUNG AFTER}    30 s


*** Test Cases ***
No Request Hangs For Ever
    [Tags]    robot:skip-on-failure    defect:13088
    Given Clients Send Requests All The Time
    When Workers Come And Go
    Then No Request Has Hung

The Service Survives
    Given Clients Send Requests All The Time
    When Workers Come And Go
    And Wait Until Graph Is Ready
    Then A New Load Is Served Without Errors


*** Keywords ***
Clients Send Requests All The Time
    [Documentation]    At a steady rate, however many fail or hang; nothing is retried.
    Start Load
    ...    churn
    ...    request_rate=12
    ...    concurrency=500
    ...    duration=1 hour
    ...    output_tokens=64
    ...    timeout=${HUNG AFTER}
    Wait For Load Requests    32    churn

Workers Come And Go
    [Documentation]    In each round a decode and a prefill worker, chosen at random, are killed and started again.
    FOR    ${_}    IN RANGE    ${ROUNDS}
        Kill Worker    VllmDecodeWorker    replica=random    respawn=True
        Wait For Load Requests    16    churn
        Kill Worker    VllmPrefillWorker    replica=random    respawn=True
        Wait For Load Requests    16    churn
    END
    Stop Load    churn

No Request Has Hung
    [Documentation]    What ended in an error has at least ended; what hung is named in the log.
    ${answered}    Get Good Request Count    load=churn
    ${failed}    Get Error Count    load=churn
    ${hung}    Get Error Count    load=churn    error_class=timeout
    VAR    ${total}    ${${answered} + ${failed}}
    ${share}    Evaluate    '%.2f %%' % (100 * $hung / $total)
    Log    ${hung} of ${total} requests hung (${share}), ${failed} failed in all    console=True
    Should Be Equal As Integers    ${hung}    0    ${hung} of ${total} requests hung (${share})    values=False

A New Load Is Served Without Errors
    [Documentation]    Once the dead workers are forgotten.
    Start Load    afterwards    request_count=40
    Wait For Load Completion    afterwards
    Load Should Have Zero Errors    afterwards
