*** Settings ***
Documentation     Each member of a cluster of three hangs for a while: its connections stay open, and it says nothing.
...
...               The other two go on; whoever was connected to a hanging one must find out before its
...               lease ends, here after 3 s instead of 10 s. Worse than a death, and the only partition that needs no
...               network.

Resource          ../../resources/etcd.resource

Suite Setup       A Graph Is Deployed    position-agg.yaml    discovery=etcd    etcd_members=3    env=${SHORT LEASE}
Suite Teardown    Everything Is As Before
Test Timeout      ${TIME LIMIT}

Test Tags         etcd    backend:position    discovery:etcd    origin:2:etcd-partition


*** Test Cases ***
Requests Succeed While Each Member Hangs
    [Documentation]    Known defect: frontend and workers notice too late, lose their leases, and exit.
    ...    With leases of 3 s they always do, with those of 10 s at times. See docs/findings.md.
    [Tags]    robot:skip-on-failure    defect:lease-lost-in-silence
    Given Start Load    concurrency=2    output_tokens=16    duration=5 minutes
    When Each Member Falls Silent In Turn    Stall Etcd Member
    And Stop Load
    Then Load Should Have Zero Errors
    And Nothing Has Restarted
    And All Workers Are Known    2
