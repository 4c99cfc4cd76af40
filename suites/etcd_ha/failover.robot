*** Settings ***
Documentation     A member of a cluster of three ends, and comes back: no request notices.
...
...               Covers upstream's `test_etcd_ha_failover`, aggregated, with a load throughout instead of one request
...               after each fault.

Resource          ../../resources/etcd.resource

Suite Setup       A Graph With Etcd Is Deployed    position-agg.yaml    members=3
Suite Teardown    Everything Is As Before
Test Timeout      1 minute

Test Tags         etcd    backend:position    discovery:etcd    origin:2:etcd-leader-failover


*** Test Cases ***
Requests Succeed While The Leader Dies
    [Tags]    tier:smoke
    Given Requests Are Coming In
    When The Leader Dies
    Then Every Request Has Succeeded
    And Nothing Has Restarted

Requests Succeed While The Leader Is Shut Down
    Given Requests Are Coming In
    When The Leader Is Shut Down
    Then Every Request Has Succeeded
    And Nothing Has Restarted

Requests Succeed While Each Member Is Replaced
    [Template]    Requests Succeed While A Member Is Away
    etcd-0    fresh
    etcd-1    fresh
    etcd-2    fresh

Two Lost Members Come Back In Time
    [Tags]    origin:2:etcd-recovery
    Given Requests Are Coming In
    And Two Of Three Members Die
    When Etcd Is Back
    Then Every Request Has Succeeded
    And Nothing Has Restarted

A New Worker Is Found Though A Member Is Away
    [Documentation]    Known defect: a worker that starts tries one member alone, and exits when that is the dead one.
    [Tags]    defect:start-without-a-member    robot:skip-on-failure
    Given Kill Etcd Member    follower
    When A New Worker Is Found
    Then A Request Succeeds
