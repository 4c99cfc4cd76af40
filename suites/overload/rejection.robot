*** Settings ***
Documentation    Busy thresholds: a frontend whose workers are all busy answers 529 at once (503 in older versions),
...              and serves again when the flood is over (origin 2, phases OVERFLOW and RECOVERY; upstream's
...              `RejectionFired`).

Resource         ../../resources/overload.resource

Test Setup       A Graph Is Deployed
...                  mocker-vllm-agg.yaml
...                  router_mode=${ROUTER}
...                  args=${SMALL CACHE}
...                  frontend_args=${BUSY}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        overload    backend:vllm    plane:tcp    origin:2:phases


*** Variables ***
${ROUTER}         round-robin
&{SMALL CACHE}    --num-gpu-blocks-override=64    --block-size=16    --speedup-ratio=4
&{BUSY}           --active-decode-blocks-threshold=0.5


*** Test Cases ***
Busy Workers Reject A Flood And Recover
    Given A Few Clients Are Served Well
    When A Flood Of Requests Arrives
    And The Flood Is Over
    Then Requests Of The Flood Are Rejected
    And The Service Is As Good As Before

Without A Threshold Nothing Is Rejected
    [Setup]    A Graph Is Deployed    mocker-vllm-agg.yaml    args=${SMALL CACHE}
    Given A Few Clients Are Served Well
    When A Flood Of Requests Arrives
    And The Flood Is Over
    Then Load Should Have Zero Errors    flood
    And Load Should Have Zero Errors
