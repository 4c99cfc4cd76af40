*** Settings ***
Documentation    The real trtllm engine on GPUs: a worker is killed while it serves, migration is on.
...
...              Needs two NVIDIA GPUs and the package of the engine; without them it is skipped with the
...              reason.

Resource         ../../resources/migration.resource

Test Setup       A Graph Is Deployed    trtllm-agg.yaml    migration_limit=3    timeout=15 min
Test Teardown    Everything Is As Before
Test Timeout     20 minutes
Test Template    The Answer Survives The Death Of Its Worker

Test Tags    migration
...          backend:trtllm
...          plane:tcp
...          end:killed
...          migration:on
...          need:gpu
...          tier:slow
...          origin:2:migration


*** Variables ***
${WORKER}    TRTLLMWorker


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
