*** Settings ***
Documentation     NATS dies, restarts or hangs under load, and both the request and the event plane run on it.
...
...               NATS carries a request to its worker; the answer comes back by tcp, so a stream outlives its death.
...               A request that is sent meanwhile waits for DYN_NATS_REQUEST_TIMEOUT_SECS, here 3 s instead of 10 s,
...               twice with migration.

Resource          ../../resources/nats.resource

Suite Setup       A Graph Is Deployed    position-agg.yaml    request_plane=nats    event_plane=nats
...                   migration_limit=3    env=${IMPATIENT}
Suite Teardown    Everything Is As Before
Test Setup        Wait Until Graph Is Ready
Test Timeout      1 minute

Test Tags         nats    backend:position    plane:nats    migration:on


*** Variables ***
&{IMPATIENT}    DYN_NATS_REQUEST_TIMEOUT_SECS=3


*** Test Cases ***
A Stream Outlives NATS
    [Tags]    tier:smoke    origin:2:nats-loss
    Given A Stream Is Being Served
    When Kill Nats
    Then The Request Succeeds
    And Start Nats
    And Wait Until Graph Is Ready

The Graph Recovers When NATS Is Killed And Restarted
    [Tags]    origin:2:nats-restart
    Given Requests Are Coming In
    When Restart Nats
    Then Requests Succeed Again Within    10 s
    And Nothing Has Restarted

The Graph Recovers When NATS Is Shut Down And Restarted
    [Tags]    origin:2:nats-restart
    Given Requests Are Coming In
    When Restart Nats    graceful=True
    Then Requests Succeed Again Within    10 s
    And Nothing Has Restarted

Requests Wait For A Hanging NATS
    [Tags]    origin:2:nats-stall
    Given Requests Are Coming In
    And Stall Nats
    And A Request Is Sent
    When Start Nats
    Then The Request Succeeds
    And Every Request Has Succeeded
    And Nothing Has Restarted

A Request Fails In Time Without NATS
    [Tags]    origin:2:nats-loss
    Given Kill Nats
    When A Request Is Sent
    Then The Request Fails
    And Nothing Has Restarted
