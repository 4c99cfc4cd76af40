*** Settings ***
Documentation    NATS restarts under load, and no request may fail: Dynamo 1.4.2 does not achieve that.
...
...              Frontend and workers return to NATS on their own. A request that comes when the frontend is back and
...              its worker is not finds nobody who listens.

Resource         ../../resources/nats.resource

Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags    nats
...          backend:position
...          plane:nats
...          origin:2:nats-restart
...          defect:requests-after-nats
...          robot:skip-on-failure


*** Test Cases ***
Requests Succeed Without Migration
    [Documentation]    Known defect: such a request fails with status 500.
    [Tags]    migration:off
    Given A Graph Is Deployed    position-agg.yaml    request_plane=nats    event_plane=nats
    And Requests Are Coming In
    When Restart Nats
    Then Every Request Has Succeeded

Requests Succeed With Migration
    [Documentation]    Known defect: each worker that was tried in vain counts as down for a while, and when all are,
    ...    requests are refused with status 503.
    [Tags]    migration:on
    Given A Graph Is Deployed    position-agg.yaml    request_plane=nats    event_plane=nats    migration_limit=3
    And Requests Are Coming In
    When Restart Nats
    Then Every Request Has Succeeded
