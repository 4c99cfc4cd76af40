*** Settings ***
Documentation    A load that is long enough to be told about, or to be killed.

Library          DynamoFaultLibrary

Test Timeout     1 minute


*** Test Cases ***
A Long Load
    Deploy Graph    position-agg.yaml
    Start Load    concurrency=2    duration=12 s    output_tokens=16
    Create File    ${OUTPUT DIR}/running
    Wait For Load Completion
    [Teardown]    Delete Graph


*** Keywords ***
Create File
    [Documentation]    Tells the test that runs this how far it has come.
    [Arguments]    ${path}
    Evaluate    pathlib.Path($path).touch()    modules=pathlib
