*** Settings ***
Documentation    Prefill and decode workers do not reach each other (origin 2, `WORKER_WORKER`).
...
...              The mocker's decode worker fetches the KV cache from the prefill worker's bootstrap port.

Resource         ../../resources/network.resource

Test Setup       A Graph On Hosts Of Its Own    mocker-vllm-disagg.yaml
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        network    backend:vllm    plane:tcp    partition:worker-worker    origin:2:worker-worker


*** Variables ***
${ANSWER TOKENS}    ${50}


*** Test Cases ***
A Request Waits For A Short Silence To End
    [Tags]    cut:drop
    Given Prefill And Decode Workers Are Cut Off From Each Other    duration=2 s
    When A Request Is Sent
    Then The Answer Is Complete Within    12 s

A Request Is Served Although Its KV Cache Does Not Come
    [Documentation]    Known defect: it hangs as long as the silence lasts, and has no timeout of its own.
    [Tags]    cut:drop    defect:silent-kv-transfer    robot:skip-on-failure
    Given Prefill And Decode Workers Are Cut Off From Each Other
    When A Request Is Sent
    Then The Answer Is Complete Within    ${PATIENCE}

A Request Is Served Although The Prefill Worker Refuses
    [Documentation]    Known defect: the frontend takes the refusal between the workers for decode workers that it
    ...    cannot reach itself, tries each once, and has no worker left: status 503.
    [Tags]    cut:reject    defect:refused-kv-transfer    robot:skip-on-failure
    Given Prefill And Decode Workers Are Cut Off From Each Other    mode=reject
    When A Request Is Sent
    Then The Answer Is Complete Within    ${PATIENCE}

Requests Are Served Again After A Refusal
    [Documentation]    The frontend shuns the decode workers for some seconds after the network has healed.
    [Tags]    cut:reject
    Given Prefill And Decode Workers Are Cut Off From Each Other    mode=reject
    And A Request Is Sent
    And Request Should Have Failed    ${REQUEST}    http_error
    When The Partition Heals
    Then Wait Until Graph Is Ready    timeout=20 s


*** Keywords ***
Prefill And Decode Workers Are Cut Off From Each Other
    [Documentation]    Each from each other; the frontend reaches all.
    [Arguments]    &{options}
    ${fault}    Partition Network    WORKER_WORKER    &{options}
    VAR    ${PARTITION}    ${fault}    scope=TEST

A Request Is Sent
    [Documentation]    A streamed completion.
    ${started}    Start Request    completion    max_tokens=${ANSWER TOKENS}
    VAR    ${REQUEST}    ${started}    scope=TEST
