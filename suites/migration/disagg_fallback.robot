*** Settings ***
Documentation    The only prefill worker dies: may decode workers serve alone?
...
...              Upstream's `decode_fallback` expects that they do, and that `--enforce-disagg` forbids it. Dynamo 1.4.2
...              has no such fallback any more: it refuses requests with and without the option, which it ignores. A
...              worker's lease ends after 3 s here instead of 10 s.

Resource         ../../resources/disaggregated.resource

Test Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml    discovery=etcd    env=${SHORT LEASE}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        migration    backend:vllm    plane:tcp    discovery:etcd    end:killed    origin:2:migration


*** Variables ***
&{SHORT LEASE}    ETCD_LEASE_TTL=3
&{ENFORCED}       --enforce-disagg=


*** Test Cases ***
Requests Are Refused Until The Prefill Worker Is Back
    Given The Only Prefill Worker Is Gone
    When Requests Are Refused
    And The Prefill Worker Is Back
    Then Requests Succeed

Requests Are Refused With Disaggregation Enforced
    [Setup]    A Graph Is Deployed    mocker-vllm-disagg.yaml    discovery=etcd    env=${SHORT LEASE}
    ...    frontend_args=${ENFORCED}
    Given The Only Prefill Worker Is Gone
    Then Requests Are Refused
