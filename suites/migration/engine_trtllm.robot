*** Settings ***
Documentation    Workers of engine type trtllm end while they serve; migration is on.
...
...              The engine is Dynamo's mocker, which simulates the scheduler and KV cache of trtllm. Its
...              shutdown has no grace period here (as in upstream's tests), so it stops taking requests at once
...              and finishes those that it has. Covers upstream's test_request_migration_trtllm_aggregated.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    mocker-trtllm-agg.yaml    migration_limit=3    env=${GRACE}
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        migration    backend:trtllm    plane:tcp    migration:on    origin:2:migration


*** Variables ***
${WORKER}    TRTLLMWorker
&{GRACE}     DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS=0


*** Test Cases ***
A Streamed Completion Survives A Killed Worker
    [Tags]    endpoint:completion    mode:streaming    end:killed
    [Template]    The Answer Survives The Death Of Its Worker
    completion    streaming

A Unary Completion Survives A Killed Worker
    [Tags]    endpoint:completion    mode:unary    end:killed
    [Template]    The Answer Survives The Death Of Its Worker
    completion    unary

A Streamed Chat Survives A Killed Worker
    [Tags]    endpoint:chat    mode:streaming    end:killed
    [Template]    The Answer Survives The Death Of Its Worker
    chat    streaming

A Unary Chat Survives A Killed Worker
    [Tags]    endpoint:chat    mode:unary    end:killed
    [Template]    The Answer Survives The Death Of Its Worker
    chat    unary

A Streamed Completion Outlives A Worker That Shuts Down
    [Tags]    endpoint:completion    mode:streaming    end:shutdown
    [Template]    The Answer Outlives The Shutdown Of Its Worker
    completion    streaming

A Unary Chat Outlives A Worker That Shuts Down
    [Tags]    endpoint:chat    mode:unary    end:shutdown
    [Template]    The Answer Outlives The Shutdown Of Its Worker
    chat    unary
