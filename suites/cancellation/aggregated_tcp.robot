*** Settings ***
Documentation     The client hangs up while a worker generates; requests travel over tcp.
...
...               Covers upstream's `test_request_cancellation_<backend>_aggregated`.

Resource          ../../resources/cancellation.resource

Suite Setup       A Graph Is Deployed    position-agg.yaml    request_plane=tcp
Suite Teardown    Everything Is As Before
Test Timeout      1 minute
Test Template     The Worker Stops When The Client Hangs Up

Test Tags         cancellation    backend:position    plane:tcp    tier:smoke    origin:2:cancellation


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
