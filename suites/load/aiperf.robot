*** Settings ***
Documentation     NVIDIA's aiperf as the engine of a load: its records are read by the same code (origin 5,
...               `--client-type`).

Resource          ../../resources/load.resource

Suite Setup       A Graph Is Deployed    mocker-vllm-agg.yaml
Suite Teardown    Everything Is As Before
Test Timeout      ${TIME LIMIT}

Test Tags         load    backend:vllm    plane:tcp    origin:5:client-type


*** Test Cases ***
Both Engines Measure The Same Service
    Start Load    ours    request_count=40    output_tokens=32
    Wait For Load Completion    ours
    Start Load    theirs    engine=aiperf    request_count=40    output_tokens=32    start_timeout=2 minutes
    Wait For Load Completion    theirs
    Load Should Have Zero Errors    ours
    Load Should Have Zero Errors    theirs
    Get Good Request Count    ==    40    load=theirs
    # 32 tokens at the 6 ms that the mocker takes for each: no machine is faster than that.
    Get Latency    50    >    100 ms    load=theirs
