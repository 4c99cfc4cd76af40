*** Settings ***
Documentation    Two prefill workers and one decode worker: a prefill worker ends while it works; migration is on.
...
...              Covers upstream's `test_request_migration_<backend>_prefill`. The graph has the other prefill worker,
...              but Dynamo 1.4.2 does not try it.

Resource         ../../resources/disaggregated.resource

Test Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml    migration_limit=3    replicas=${TWO PREFILL}
...                  args=${SLOWER}    env=${NO GRACE}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        migration    backend:vllm    plane:tcp    migration:on    origin:2:migration


*** Test Cases ***
A Request Survives The Death Of Its Prefill Worker
    [Documentation]    Known defect: a prefill is not migrated (upstream's own test expects that to fail, too).
    [Tags]    end:killed    defect:prefill-not-migrated    robot:skip-on-failure
    Given A Request Is In Prefill
    When Its Prefill Worker Is Killed
    Then The Answer Is Complete

The Client Is Told Of The Death Of The Prefill Worker
    [Tags]    end:killed
    Given A Request Is In Prefill
    When Its Prefill Worker Is Killed
    Then The Client Is Told
    And Migrations Are Exactly    0

A Request Outlives The Shutdown Of Its Prefill Worker
    [Tags]    end:shutdown
    Given A Request Is In Prefill
    When Its Prefill Worker Is Shut Down
    Then The Answer Is Complete
