*** Settings ***
Documentation    A CUDA fault is in effect until somebody kills this run.

Library          DynamoFaultLibrary


*** Variables ***
&{STUB}    STUB_WORKER=%{STUB_WORKER}    STUB_CUDA=%{STUB_CUDA}


*** Test Cases ***
Killed
    Set Up Cuda Shim    CudaWorker
    Deploy Graph    graphs/stub-cuda.yaml    env=${STUB}
    Start Load    steady    concurrency=4    duration=60 s    output_tokens=20
    Enable Cuda Faults    CudaWorker    0
    Wait For Load Completion    steady
