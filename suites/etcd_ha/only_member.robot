*** Settings ***
Documentation    The only etcd dies: Dynamo survives an interruption shorter than its leases, and ends by itself else.
...
...              Covers upstream's `test_etcd_non_ha_shutdown`: frontend and workers must exit within 30 s. Leases last
...              3 s here instead of 10 s.

Resource         ../../resources/etcd.resource

Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        etcd    discovery:etcd


*** Test Cases ***
Frontend And Workers Exit By Themselves
    [Tags]    backend:position    origin:2:etcd-loss
    Given A Graph With Etcd Is Deployed    position-agg.yaml    members=1
    When The Only Member Dies
    Then Service Should Exit By Itself    PositionWorker
    And Service Should Exit By Itself    Frontend

Frontend, Prefill And Decode Workers Exit By Themselves
    [Tags]    backend:vllm    origin:2:etcd-loss
    Given A Graph With Etcd Is Deployed    mocker-vllm-disagg.yaml    members=1
    When The Only Member Dies
    Then Service Should Exit By Itself    VllmPrefillWorker
    And Service Should Exit By Itself    VllmDecodeWorker
    And Service Should Exit By Itself    Frontend

A Short Interruption Goes Unnoticed
    [Tags]    backend:position    origin:2:etcd-recovery
    Given A Graph With Etcd Is Deployed    position-agg.yaml    members=1
    And Requests Are Coming In
    When The Only Member Dies
    And The Service Has Noticed    Frontend
    And Etcd Is Back
    Then Every Request Has Succeeded
    And Nothing Has Restarted
    And A New Worker Is Found
