*** Settings ***
Documentation    A worker does not reach NATS (origin 2, `WORKER_NATS`), over which its requests come.
...
...              Tokens travel over a connection from worker to frontend, so a stream needs NATS only to begin. The
...              frontend waits `DYN_NATS_REQUEST_TIMEOUT_SECS` (10 s unless set) for a worker to take a request.

Resource         ../../resources/network.resource

Test Setup       A Graph On Hosts Of Its Own    request_plane=nats    event_plane=nats    env=${TIMEOUT}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        network    backend:position    plane:nats    partition:worker-nats    origin:2:worker-nats


*** Variables ***
&{TIMEOUT}    DYN_NATS_REQUEST_TIMEOUT_SECS=2


*** Test Cases ***
A Stream That Has Begun Does Not Need NATS
    [Tags]    cut:drop
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From NATS
    Then The Answer Is Complete
    And Migrations Are Exactly    0
    And The Longest Pause Is Short    streaming

New Requests Find A Worker That NATS Reaches
    [Tags]    cut:drop
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From NATS
    Then Other Requests Are Answered    4 s
    And Service Log Should Contain    Frontend    NATS request to .* failed

A Worker That NATS Refuses Serves Again When It Is Let In
    [Documentation]    It connects again by itself.
    [Tags]    cut:reject
    Given A Stream Is Being Served
    And The Worker That Serves It Is Cut Off From NATS    mode=reject
    When The Partition Heals
    Then The Answer Is Complete
    And Other Requests Are Answered    4 s

A Reset Connection To NATS Is Made Again
    [Tags]    cut:reset
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From NATS    mode=reset
    Then The Answer Is Complete
    And Other Requests Are Answered    2 s
