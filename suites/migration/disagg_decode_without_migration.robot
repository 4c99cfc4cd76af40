*** Settings ***
Documentation    One prefill and two decode workers: a decode worker is killed while it generates; migration is off.
...
...              Covers upstream's `test_request_migration_<backend>_decode` x `migration_disabled`.

Resource         ../../resources/disaggregated.resource

Test Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml    migration_limit=0
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Is Lost With Its Decode Worker

Test Tags        migration    backend:vllm    plane:tcp    end:killed    migration:off    origin:2:migration


*** Test Cases ***
A Streamed Chat
    [Tags]    endpoint:chat    mode:streaming
    chat    streaming
A Unary Completion
    [Tags]    endpoint:completion    mode:unary
    completion    unary
