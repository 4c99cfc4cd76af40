*** Settings ***
Documentation     The client hangs up while a decode worker generates.
...
...               Covers upstream's `test_request_cancellation_<backend>_decode_cancel`.

Resource          ../../resources/cancellation.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-disagg.yaml
Suite Teardown    Everything Is As Before
Test Timeout      1 minute
Test Template     The Worker Stops When The Client Hangs Up

Test Tags         cancellation    backend:vllm    plane:tcp    origin:2:cancellation


*** Variables ***
${WORKER}    VllmDecodeWorker


*** Test Cases ***
A Unary Completion
    [Tags]    endpoint:completion    mode:unary
    completion    unary
A Unary Chat
    [Tags]    endpoint:chat    mode:unary
    chat    unary
A Streamed Chat After 5 Chunks
    [Tags]    endpoint:chat    mode:streaming
    chat    streaming
