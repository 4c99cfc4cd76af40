*** Settings ***
Documentation    A worker hangs until its lease has ended: it must not serve any more when it goes on.
...
...              Covers upstream's `test_etcd_lease_loss_zombie`. Leases last 3 s here instead of 10 s.

Resource         ../../resources/etcd.resource

Test Setup       A Graph With Etcd Is Deployed    position-agg.yaml    members=1
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        etcd    backend:position    discovery:etcd    origin:2:etcd-lease-loss


*** Test Cases ***
A Worker That Hung Exits When It Goes On
    Given Stall Process    ${WORKER}    replica=0
    And The Frontend Has Forgotten The Worker
    When Resume Process    ${WORKER}
    Then Service Should Exit By Itself    ${WORKER}    0
    And A Request Succeeds

A Worker That Hung While Etcd Died Exits When It Goes On
    Given Stall Process    ${WORKER}    replica=0
    And The Only Member Dies
    And Service Should Exit By Itself    Frontend
    When Resume Process    ${WORKER}
    Then Service Should Exit By Itself    ${WORKER}


*** Keywords ***
The Frontend Has Forgotten The Worker
    [Documentation]    Its lease has ended, and requests go to the other one alone.
    Get Known Workers    ==    1    timeout=20 s
    A Request Succeeds
