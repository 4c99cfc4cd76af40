*** Settings ***
Documentation     A member of a cluster of three ends, and comes back: no request of a disaggregated graph notices.
...
...               Covers upstream's `test_etcd_ha_failover`, disaggregated, on Dynamo's mocker.

Resource          ../../resources/etcd.resource

Suite Setup       A Graph With Etcd Is Deployed    mocker-vllm-disagg.yaml    members=3
Suite Teardown    Everything Is As Before
Test Timeout      1 minute

Test Tags         etcd    backend:vllm    discovery:etcd    origin:2:etcd-leader-failover


*** Variables ***
${WORKER}    VllmDecodeWorker


*** Test Cases ***
Requests Succeed While The Leader Dies
    Given Requests Are Coming In
    When The Leader Dies
    Then Every Request Has Succeeded
    And Nothing Has Restarted

Requests Succeed While Each Member Dies And Comes Back
    [Template]    Requests Succeed While A Member Is Away
    etcd-0    kept
    etcd-1    kept
    etcd-2    kept
