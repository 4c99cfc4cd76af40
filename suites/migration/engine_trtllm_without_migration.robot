*** Settings ***
Documentation    Workers of engine type trtllm are killed while they serve; migration is off (limit 0).
...
...              Covers upstream's test_no_request_migration_trtllm_worker_failure.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    mocker-trtllm-agg.yaml    migration_limit=0
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Is Lost With Its Worker

Test Tags        migration    backend:trtllm    plane:tcp    end:killed    migration:off    origin:2:migration


*** Variables ***
${WORKER}    TRTLLMWorker


*** Test Cases ***
A Streamed Completion
    [Tags]    endpoint:completion    mode:streaming
    completion    streaming
A Unary Chat
    [Tags]    endpoint:chat    mode:unary
    chat    unary
