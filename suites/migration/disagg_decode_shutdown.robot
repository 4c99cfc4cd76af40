*** Settings ***
Documentation    One prefill and two decode workers: a decode worker is shut down while it generates; migration is on.
...
...              It finishes what it serves, and nothing migrates. Covers upstream's
...              `test_request_migration_<backend>_decode` x `graceful_shutdown`.

Resource         ../../resources/disaggregated.resource

Test Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml    migration_limit=3    env=${NO GRACE}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        migration    backend:vllm    plane:tcp    end:shutdown    migration:on    origin:2:migration


*** Test Cases ***
A Streamed Chat Outlives The Shutdown Of Its Decode Worker
    [Tags]    endpoint:chat    mode:streaming
    Given A Request Is In Decode    chat    streaming
    When The Worker That Serves It Is Shut Down
    Then The Answer Is Complete
    And Migrations Are Exactly    0
