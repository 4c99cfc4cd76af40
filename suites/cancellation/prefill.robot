*** Settings ***
Documentation     The client hangs up while its prompt is in prefill: that goes on, and nothing follows.
...
...               Covers upstream's `test_request_cancellation_<backend>_prefill_cancel`. The mocker runs at a tenth of
...               its speed, so that the prefill of 9,000 tokens takes more than a second.

Resource          ../../resources/cancellation.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml    args=${SLOWER}
Suite Teardown    Everything Is As Before
Test Timeout      1 minute

Test Tags         cancellation    backend:vllm    plane:tcp    origin:2:cancellation


*** Variables ***
&{SLOWER}            --speedup-ratio=0.1
${WORKER}            VllmDecodeWorker
${PREFILL WORKER}    VllmPrefillWorker


*** Test Cases ***
A Cancelled Prefill Runs To Its End
    Given A Request Is In Prefill
    When The Client Hangs Up
    Then The Request Was Cancelled
    And The Prefill Goes On To Its End
    And Nothing Is In Flight
    And A Request Succeeds
