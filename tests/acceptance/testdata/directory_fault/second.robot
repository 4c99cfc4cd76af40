*** Settings ***
Documentation    The second of two suites.

Library          DynamoFaultLibrary

Test Timeout     1 minute


*** Test Cases ***
The Second Suite Finds The Fault
    ${active}    List Active Faults
    Length Should Be    ${active}    1
    ${fault}    Get Fault
    Should Be Equal    ${fault.state}    active
