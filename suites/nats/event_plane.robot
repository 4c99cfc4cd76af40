*** Settings ***
Documentation     NATS dies under load, and carries events only: those of the KV cache, for the router that uses them.

Resource          ../../resources/nats.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    event_plane=nats    router_mode=kv
Suite Teardown    Everything Is As Before
Test Timeout      1 minute

Test Tags         nats    backend:vllm    plane:tcp    event-plane:nats    router:kv


*** Variables ***
${WORKER}    VllmWorker


*** Test Cases ***
Requests Succeed Without NATS
    [Tags]    origin:2:nats-loss
    Given Requests Are Coming In
    When Kill Nats
    Then Every Request Has Succeeded
    And Nothing Has Restarted

Requests Succeed While NATS Hangs
    [Tags]    origin:2:nats-stall
    Given Requests Are Coming In
    When Stall Nats
    Then Every Request Has Succeeded
    And Nothing Has Restarted
