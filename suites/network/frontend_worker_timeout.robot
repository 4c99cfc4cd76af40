*** Settings ***
Documentation    Frontend and worker do not reach each other (origin 2, `FRONTEND_WORKER`); Dynamo's timeout is set.
...
...              `DYN_HTTP_BACKEND_STREAM_TIMEOUT_SECS` is opt-in: it ends a stream that brings nothing, and takes
...              its worker out of the rotation for a while (upstream's #7929 and #8011).

Resource         ../../resources/network.resource

Test Setup       A Graph On Hosts Of Its Own    env=${TIMEOUT}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        network    backend:position    plane:tcp    partition:frontend-worker    origin:2:frontend-worker


*** Variables ***
&{TIMEOUT}       DYN_HTTP_BACKEND_STREAM_TIMEOUT_SECS=2
${QUARANTINE}    backend response inactivity timeout . quarantining worker


*** Test Cases ***
The Client Of A Silent Worker Is Told In Time
    [Tags]    cut:drop
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From The Frontend
    Then The Stream Ends With An Error Within    4 s

The Client Of A Refused Worker Is Told In Time
    [Tags]    cut:reject
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From The Frontend    mode=reject
    Then The Stream Ends With An Error Within    4 s

A Silent Worker Is Quarantined
    [Documentation]    While it is, requests go to the other worker without delay.
    [Tags]    cut:drop
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From The Frontend
    Then The Stream Ends With An Error Within    4 s
    And Other Requests Are Answered    2 s
    And Service Log Should Contain    Frontend    ${QUARANTINE}

A Stream Migrates When Its Worker Has Been Silent For Too Long
    [Documentation]    Known defect: the timeout (upstream's #8011) ends the stream with an error, although migration is
    ...    on and another worker is there.
    [Tags]    cut:drop    defect:8011    robot:skip-on-failure
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From The Frontend
    Then The Answer Is Complete
    And Migrations Are Exactly    1

Without A Partition Nothing Times Out
    Given A Stream Is Being Served
    Then The Answer Is Complete
    And Service Log Should Not Contain    Frontend    ${QUARANTINE}
