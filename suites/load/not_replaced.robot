*** Settings ***
Documentation    A worker dies while clients keep all workers busy, and nobody replaces it. Something answers again
...              at once, as recovery time says; but half of the throughput is gone, as full recovery says.

Resource         ../../resources/load.resource

Test Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    migration_limit=3    args=${FOUR AT A TIME}
Test Teardown    Everything Is As Before
Test Timeout     ${TIME LIMIT}

Test Tags        load    backend:vllm    plane:tcp


*** Variables ***
&{FOUR AT A TIME}    --max-num-seqs=4


*** Test Cases ***
One Worker Does Not Do The Work Of Two
    Given Busy Workers
    When A Worker Is Killed And Not Replaced
    Then Get Recovery Time    <    ${PATIENCE}
    But The Service Level Does Not Come Back
    And The Other Worker Goes On Alone


*** Keywords ***
Busy Workers
    [Documentation]    Twice as many clients as the workers serve at a time.
    Steady Load    clients=16    output_tokens=32

A Worker Is Killed And Not Replaced
    [Documentation]    SIGKILL to one of two; the load goes on for long enough to tell what it has lost.
    Wait For Load Requests    100
    Kill Worker    VllmWorker    0    respawn=False
    Run Keyword And Expect Error    *% of its throughput*    Wait Until Recovered    timeout=15 s
    Stop Load

The Service Level Does Not Come Back
    [Documentation]    "not reached: 50 % of the throughput at the end".
    Run Keyword And Expect Error    *is not reached: * of the throughput at the end*    Get Full Recovery Time

The Other Worker Goes On Alone
    [Documentation]    It serves every request since, and each waits for longer than before.
    ${before}    Get Latency    50    part=before    replica=VllmWorker-1
    Get Latency    50    >    ${before}    part=during    replica=VllmWorker-1
    Get Good Request Count    >    50    part=during    replica=VllmWorker-1
