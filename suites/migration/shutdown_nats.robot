*** Settings ***
Documentation    A worker is shut down (SIGTERM) while it serves; migration is on, requests travel over nats.
...
...              Within its grace period the worker finishes what it serves: the answer is whole and nothing
...              migrates. Covers upstream's `graceful_shutdown` x `migration_enabled`, aggregated.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    position-agg.yaml    migration_limit=3    request_plane=nats
...                  event_plane=nats    env=${GRACE}
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Outlives The Shutdown Of Its Worker

Test Tags        migration    backend:position    plane:nats    end:shutdown    migration:on    origin:2:migration


*** Variables ***
&{GRACE}    DYN_GRACEFUL_SHUTDOWN_GRACE_PERIOD_SECS=2


*** Test Cases ***
A Streamed Completion
    [Tags]    endpoint:completion    mode:streaming
    completion    streaming
A Unary Completion
    [Tags]    endpoint:completion    mode:unary
    completion    unary
A Streamed Chat
    [Tags]    endpoint:chat    mode:streaming
    chat    streaming
A Unary Chat
    [Tags]    endpoint:chat    mode:unary
    chat    unary
