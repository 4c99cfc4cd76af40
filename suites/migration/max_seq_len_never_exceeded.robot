*** Settings ***
Documentation    A worker is killed while it serves; the length up to which requests migrate is limited.
...
...              No request comes near `--migration-max-seq-len` 1,000,000, so all migrate as without it. Covers
...              upstream's `migration_max_seq_len` cases.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    position-agg.yaml    migration_limit=3    migration_max_seq_len=1000000
Test Teardown    Everything Is As Before
Test Timeout     1 minute
Test Template    The Answer Survives The Death Of Its Worker

Test Tags    migration
...          backend:position
...          plane:tcp
...          end:killed
...          migration:on
...          max-seq-len:never
...          origin:2:migration


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
