*** Settings ***
Documentation    Every CUDA fault keyword once, while both workers are at work; the run is sabotaged, so each must fail.

Library          DynamoFaultLibrary

Suite Setup      Set Up Cuda Shim    CudaWorker
Test Setup       Both Workers Work
Test Teardown    Delete Graph
Test Timeout     1 minute


*** Variables ***
&{STUB}    STUB_WORKER=%{STUB_WORKER}    STUB_CUDA=%{STUB_CUDA}


*** Test Cases ***
Enable Cuda Faults
    Enable Cuda Faults    CudaWorker    0    timeout=300 ms

Toggle Cuda Faults
    Toggle Cuda Faults    True    CudaWorker    0    timeout=300 ms


*** Keywords ***
Both Workers Work
    [Documentation]    A graph of its own for each test, under load.
    Deploy Graph    graphs/stub-cuda.yaml    env=${STUB}
    Start Load    steady    concurrency=4    duration=20 s    output_tokens=20
