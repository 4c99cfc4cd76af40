*** Settings ***
Documentation    A worker is shut down and its time to finish is too short for what it serves.
...
...              Upstream's documentation of migration (#14872) promises that such a request goes on with another
...              worker. At the least the client must learn that its answer is not whole.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    migration_limit=3    env=${HASTE}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        migration    backend:vllm    plane:tcp    end:shutdown    migration:on    origin:2:migration


*** Variables ***
&{HASTE}            DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS=0    DYN_RUNTIME_GRACEFUL_SHUTDOWN_TIMEOUT_SECS=1
${WORKER}           VllmWorker
${ANSWER TOKENS}    ${900}


*** Test Cases ***
An Answer That Its Worker Cannot Finish Is Not Cut Short In Silence
    [Documentation]    Known defect of the mocker in Dynamo 1.4.2: the stream ends early with status 200 and finish
    ...    reason `stop`, as if it were whole; nothing migrates.
    [Tags]    endpoint:completion    mode:streaming    defect:truncation    robot:skip-on-failure
    Given A Request Is Being Served    completion    streaming
    When The Worker That Serves It Is Shut Down
    Then The Answer Is Complete
    And Migrations Are Exactly    1
