*** Settings ***
Documentation    CUDA faults on a graph whose workers run on a stub driver: no GPU is needed.

Library          DynamoFaultLibrary

Suite Setup      Set Up Cuda Shim    CudaWorker
Test Setup       Deploy Graph    graphs/stub-cuda.yaml    env=${STUB}    migration_limit=0
Test Teardown    Delete Graph
Test Timeout     1 minute


*** Variables ***
&{STUB}    STUB_WORKER=%{STUB_WORKER}    STUB_CUDA=%{STUB_CUDA}


*** Test Cases ***
The Serving Replica Fails And Its Neighbour Does Not
    ${request} =    Start Request    chat    max_tokens=300
    Wait For Tokens    ${request}    50
    Enable Cuda Faults    CudaWorker    serving=${request}
    Request Should Have Failed    ${request}    stream_error
    Get Failed Cuda Calls    CudaWorker    >=    1
    Disable Cuda Faults    CudaWorker
    No Fault Should Be Active
    FOR    ${index}    IN RANGE    4
        ${after} =    Start Request    completion    max_tokens=5
        Request Should Have Succeeded    ${after}
    END

An Idle Replica Gives No Evidence
    Enable Cuda Faults    CudaWorker    0    timeout=300 ms

A Replica That Works Is Toggled By Hand And Visibly Fails
    Start Load    steady    concurrency=4    duration=20 s    output_tokens=20
    Toggle Cuda Faults    True    CudaWorker    1    xid=48
    Cuda Faults Should Be Visible    CudaWorker
    Toggle Cuda Faults    False

The Fault Comes Off At Its Expiry
    Start Load    steady    concurrency=4    duration=20 s    output_tokens=20
    Enable Cuda Faults    CudaWorker    0    ttl=1 s
    Wait Until Keyword Succeeds    10 s    100 ms    No Fault Should Be Active
    Request Should Succeed Twice

The Test Ends And So Does The Fault
    Start Load    steady    concurrency=4    duration=20 s    output_tokens=20
    Enable Cuda Faults    CudaWorker    0

A Sticky Fault Until The Replica Is Started Again
    Start Load    steady    concurrency=4    duration=20 s    output_tokens=20
    Enable Cuda Faults    CudaWorker    0    until_restart=True
    Disable Cuda Faults
    Request Should Succeed Twice

The Shim Is Removed And Set Up Again
    Remove Cuda Shim
    Run Keyword And Expect Error    *CudaWorker-0 does not run under the CUDA shim*
    ...    Enable Cuda Faults    CudaWorker    0
    Set Up Cuda Shim    CudaWorker
    Start Load    steady    concurrency=4    duration=20 s    output_tokens=20
    Enable Cuda Faults    CudaWorker    0    classes=launch    after_calls=3

Bad Arguments
    Run Keyword And Expect Error    *XID 7 is not in the catalogue*    Enable Cuda Faults    CudaWorker    0    xid=7
    Run Keyword And Expect Error
    ...    *XID 63 * makes no CUDA call fail*
    ...    Enable Cuda Faults
    ...    CudaWorker
    ...    0
    ...    xid=63
    Run Keyword And Expect Error    *no classes ?'lunch'?*    Enable Cuda Faults    CudaWorker    0    classes=lunch
    Run Keyword And Expect Error    *no CUDA fault is active*    Disable Cuda Faults
    Run Keyword And Expect Error    *no CUDA fault is active*    Cuda Faults Should Be Visible
    Run Keyword And Expect Error    services names 'Nobody', which no*    Set Up Cuda Shim    Nobody


*** Keywords ***
Request Should Succeed Twice
    [Documentation]    Once on each of the two workers, since they are served in turn.
    FOR    ${index}    IN RANGE    2
        ${request} =    Start Request    completion    max_tokens=5
        Request Should Have Succeeded    ${request}
    END
