*** Settings ***
Documentation     Upstream's first fault tolerance test, step by step (origin 1, `test_request_migration_vllm`).
...
...               Two things are done better: which worker serves the long request is read from the logs instead of
...               guessed from round-robin, and the kill waits for tokens instead of 0.5 s. The mocker runs ten times
...               as fast as its model of a GPU, so that 8,000 tokens take seconds.

Resource          ../../resources/migration.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    migration_limit=3    args=${FASTER}
Suite Teardown    Everything Is As Before
Test Timeout      2 minutes

Test Tags         migration    backend:vllm    plane:tcp    end:killed    migration:on    origin:1:worker-failure


*** Variables ***
&{FASTER}           --speedup-ratio=10
${WORKER}           VllmWorker
${ANSWER TOKENS}    ${8000}
${KILL AT}          ${500}


*** Test Cases ***
A Long Completion Survives The Death Of The Primary Worker
    Given Both Workers Answer Who Are You
    And A Request Is Being Served    completion    streaming
    When The Worker That Serves It Is Killed
    Then The Answer Is Complete
    And Migrations Are Exactly    1
    And The Frontend Has Logged The Migration

A Long Prompt Survives Too
    VAR    ${ANSWER TOKENS}    ${2000}    scope=TEST
    Given A Request Is Being Served    completion    streaming    input_tokens=8000
    When The Worker That Serves It Is Killed
    Then The Answer Is Complete
    And Migrations Are Exactly    1


*** Keywords ***
Both Workers Answer Who Are You
    [Documentation]    Round-robin: two requests of 100 tokens reach both workers.
    FOR    ${_}    IN RANGE    2
        Send Completion    Who are you?    max_tokens=100
    END
    Service Log Should Contain    ${WORKER}    request received    whole=True

The Frontend Has Logged The Migration
    [Documentation]    Origin 1, step 9; today's wording has a comma for the dots.
    Service Log Should Contain    Frontend    Stream disconnected.*recreating stream
