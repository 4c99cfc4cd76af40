*** Settings ***
Documentation    A worker is shut down (SIGTERM) while it serves; migration is off (limit 0).
...
...              The worker finishes what it serves, so migration is not needed. Covers upstream's
...              `graceful_shutdown` x `migration_disabled`, aggregated.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    position-agg.yaml    migration_limit=0    env=${GRACE}
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Outlives The Shutdown Of Its Worker

Test Tags        migration    backend:position    plane:tcp    end:shutdown    migration:off    origin:2:migration


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
