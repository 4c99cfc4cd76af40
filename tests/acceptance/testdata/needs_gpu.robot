*** Settings ***
Documentation    A graph that cannot run on most machines.

Library          DynamoFaultLibrary


*** Test Cases ***
Needs Two GPUs
    Deploy Graph    vllm-agg.yaml
    [Teardown]    Delete Graph
