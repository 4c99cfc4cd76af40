*** Settings ***
Documentation    The GPU of a worker fails while it serves: its process sees CUDA errors, its neighbour sees none.
...
...              Nothing happens to the GPU: the errors come from a preloaded library. Covers the origins'
...              `toggle_cuda_faults`. Needs two NVIDIA GPUs (or one, given twice: CUDA_VISIBLE_DEVICES=0,0),
...              PyTorch and gcc; without them it is skipped with the reason.

Resource         ../../resources/cuda.resource

Suite Setup      The Workers Run Under The CUDA Shim
Test Setup       A Graph Is Deployed    torch.yaml    migration_limit=3    timeout=5 min
Test Teardown    Everything Is As Before
Test Timeout     10 minutes

Test Tags        hardware    backend:torch    fault:cuda    need:gpu    tier:slow    origin:4:cuda-faults


*** Variables ***
${WORKER}    TorchWorker


*** Test Cases ***
A Stream Ends With An Error When The GPU Of Its Worker Falls Off The Bus
    Given A Request Is Being Served    chat    streaming
    When The GPU Of Its Worker Fails    xid=79
    Then The Client Gets An Error    streaming
    And Migrations Are Exactly    0

A Worker Without Its GPU Still Draws Every Second Request
    [Documentation]    A finding in Dynamo: the worker stays in rotation, so its share of the requests fails.
    Given A Request Is Being Served    chat    streaming
    When The GPU Of Its Worker Fails    xid=79
    Then Of 20 Requests In Turn Fail    10

A Fault Stays Visible While There Is Work
    Given A Request Is Being Served    chat    streaming
    When The GPU Of Its Worker Fails    xid=79
    Then Its Calls Go On Failing Under Load

All Is Well Once The GPU Is Repaired
    Given A Request Is Being Served    chat    streaming
    When The GPU Of Its Worker Fails    xid=79
    And The GPU Is Repaired
    Then Of 20 Requests In Turn Fail    0

The Memory Of The GPU Has An Uncorrectable Error
    Given A Request Is Being Served    chat    streaming
    When The GPU Of Its Worker Fails    xid=48
    Then The Client Gets An Error    streaming

An NVLink Of The GPU Fails
    Given A Request Is Being Served    chat    streaming
    When The GPU Of Its Worker Fails    xid=74
    Then The Client Gets An Error    streaming

The Firmware Of The GPU Does Not Answer
    Given A Request Is Being Served    chat    streaming
    When The GPU Of Its Worker Fails    xid=119
    Then The Client Gets An Error    streaming
