*** Settings ***
Documentation    A worker is killed while it serves; migration is on, requests travel over nats.
...
...              Each answer goes on with the other worker and is exact: the position engine shows a lost,
...              repeated or reordered token. Covers upstream's `worker_failure` x `migration_enabled`,
...              aggregated.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    position-agg.yaml    migration_limit=3    request_plane=nats    event_plane=nats
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Survives The Death Of Its Worker

Test Tags        migration    backend:position    plane:nats    end:killed    migration:on    origin:2:migration


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
