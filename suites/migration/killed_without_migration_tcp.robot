*** Settings ***
Documentation    A worker is killed while it serves; migration is off (limit 0), requests travel over tcp.
...
...              Each client gets an error. Dynamo's metric counts a migration all the same, so it proves no
...              success. Covers upstream's `worker_failure` x `migration_disabled`, aggregated.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    position-agg.yaml    migration_limit=0    request_plane=tcp
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Is Lost With Its Worker

Test Tags        migration    backend:position    plane:tcp    end:killed    migration:off    origin:2:migration


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
