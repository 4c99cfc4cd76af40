*** Settings ***
Documentation    One prefill and two decode workers: a decode worker is killed while it generates; migration is on.
...
...              Covers upstream's `test_request_migration_<backend>_decode` x `migration_enabled`.

Resource         ../../resources/disaggregated.resource

Test Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml    migration_limit=3
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Survives The Death Of Its Decode Worker

Test Tags        migration    backend:vllm    plane:tcp    end:killed    migration:on    origin:2:migration


*** Test Cases ***
A Streamed Completion
    [Tags]    endpoint:completion    mode:streaming
    completion    streaming
A Unary Completion
    [Tags]    endpoint:completion    mode:unary
    completion    unary
A Streamed Chat
    [Tags]    endpoint:chat    mode:streaming
    chat    streaming
A Unary Chat
    [Tags]    endpoint:chat    mode:unary
    chat    unary
