*** Settings ***
Documentation    Workers of engine type sglang are killed while they serve; migration is off (limit 0).
...
...              Covers upstream's test_no_request_migration_sglang_worker_failure.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    mocker-sglang-agg.yaml    migration_limit=0
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Is Lost With Its Worker

Test Tags        migration    backend:sglang    plane:tcp    end:killed    migration:off    origin:2:migration


*** Variables ***
${WORKER}    SglangWorker


*** Test Cases ***
A Streamed Completion
    [Tags]    endpoint:completion    mode:streaming
    completion    streaming
A Unary Chat
    [Tags]    endpoint:chat    mode:unary
    chat    unary
