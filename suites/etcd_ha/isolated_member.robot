*** Settings ***
Documentation    A member of a cluster of three is cut off from the others and from Dynamo.
...
...              The other two go on, with a new leader if need be. Whoever was connected with the lost one hears
...              nothing any more (drop), or gets resets (reject), and must find the others before its lease ends.

Resource         ../../resources/etcd.resource

Test Setup       A Graph Is Deployed    position-agg.yaml    discovery=etcd    etcd_members=3    network=isolated
Test Teardown    Everything Is As Before
Test Timeout     ${TIME LIMIT}

Test Tags        etcd    network    backend:position    discovery:etcd    origin:2:etcd-partition


*** Test Cases ***
Requests Succeed While Each Member Is Out Of Reach
    [Documentation]    Known defect: frontend and workers wait for the silent connection until their leases are over,
    ...    and exit. With leases of 3 s they always do, with those of 10 s at times. See docs/findings.md.
    [Tags]    robot:skip-on-failure    defect:lease-lost-in-silence
    [Setup]    A Graph Is Deployed    position-agg.yaml    discovery=etcd    etcd_members=3    network=isolated
    ...    env=${SHORT LEASE}
    Given Start Load    concurrency=2    output_tokens=16    duration=5 minutes
    When Each Member Falls Silent In Turn    Isolate Etcd Member
    And Stop Load
    Then Load Should Have Zero Errors
    And Nothing Has Restarted
    And All Workers Are Known    2

Requests Succeed While The Leader Refuses
    Given Start Load    concurrency=2    output_tokens=16    duration=16 s
    When Isolate Etcd Member    leader    mode=reject
    Then Wait For Load Completion
    And Load Should Have Zero Errors
    And Nothing Has Restarted
