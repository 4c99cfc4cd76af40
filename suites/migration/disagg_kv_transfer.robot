*** Settings ***
Documentation    One prefill and two decode workers: a decode worker is killed while it waits for the KV cache.
...
...              Migration is on. Covers upstream's `test_request_migration_<backend>_kv_transfer`.

Resource         ../../resources/disaggregated.resource

Test Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml    migration_limit=3    args=${SLOWER}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        migration    backend:vllm    plane:tcp    end:killed    migration:on    origin:2:migration


*** Test Cases ***
A Request Survives The Death Of The Decode Worker That Waits For It
    [Documentation]    Known defect: the migrated request fails at once, `destination handoff ended before completion`.
    [Tags]    defect:death-in-kv-transfer    robot:skip-on-failure
    Given A Request Is In Prefill
    When Its Decode Worker Is Killed
    Then The Answer Is Complete

The Client Is Told Of The Death Of The Decode Worker That Waits For It
    Given A Request Is In Prefill
    When Its Decode Worker Is Killed
    Then The Client Is Told
    And Get Migrations    ==    1    kind=attempted
