*** Settings ***
Documentation     Everything that a load can be asked for (origins 2 and 5: `LoadConfig`), on one graph.

Resource          ../../resources/load.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-agg.yaml    args=${FASTER}
Suite Teardown    Everything Is As Before
Test Timeout      ${TIME LIMIT}

Test Tags         load    backend:vllm    plane:tcp    origin:5:load-config    origin:2:client


*** Variables ***
&{FASTER}    --speedup-ratio=10


*** Test Cases ***
A Count Of Requests
    Start Load    requests_per_client=10    concurrency=4
    Wait For Load Completion
    Get Good Request Count    ==    40
    Load Should Have Completed
    Load Should Have Been Applied    40

A Rate Of Requests
    Start Load    request_rate=25    arrival=poisson    request_count=50    concurrency=64    ramp=1 s    seed=7
    Wait For Load Completion
    Load Should Have Zero Errors
    Get Throughput    <    40

Unlike Prompts Of Random Length
    Start Load
    ...    request_count=60
    ...    input_tokens=64
    ...    input_tokens_stddev=8
    ...    output_tokens=16
    ...    output_tokens_stddev=4
    Wait For Load Completion
    Load Should Have Zero Errors
    Load Should Have Shape    min_prompts=60    min_input_tokens=56    max_input_tokens=72

Prompts That Begin Alike
    Start Load    request_count=40    input_tokens=128    prefix_tokens=96    prefixes=4
    Wait For Load Completion
    Load Should Have Zero Errors
    Load Should Have Shape    min_prompts=40    min_input_tokens=128    max_input_tokens=128

Unary Completions After A Warm-Up
    Start Load    request_count=40    endpoint=completion    streaming=False    warmup_requests=10
    Wait For Load Completion
    Get Good Request Count    ==    40

Clients That Give Up
    Start Load
    ...    request_count=80
    ...    output_tokens=400
    ...    cancellation_rate=0.5
    ...    cancellation_delay=50 ms
    ...    connections=never
    Wait For Load Completion
    Load Should Have Cancelled Requests    20
    Load Should Have Zero Errors

Two Loads At Once
    Start Load    chats    request_count=40
    Start Load    completions    request_count=40    endpoint=completion
    Wait For Load Completion    chats
    Wait For Load Completion    completions
    Get Good Request Count    ==    40    load=chats
    Get Good Request Count    ==    40    load=completions
