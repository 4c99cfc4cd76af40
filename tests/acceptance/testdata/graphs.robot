*** Settings ***
Documentation    Edits of graphs that are refused, that no process takes, and that are tried without a deployment.

Library          DynamoFaultLibrary

Test Timeout     1 minute


*** Variables ***
&{NONSENSE}     --no-such-option=1
&{VARIABLES}    DYN_LOG=debug


*** Test Cases ***
The Worker Does Not Have The Option
    Deploy Graph    position-agg.yaml    args=${NONSENSE}

The Frontend Does Not Have The Option
    Deploy Graph    position-agg.yaml    frontend_args=${NONSENSE}

A Program In A Script Does Not Have The Option
    Deploy Graph    ${CURDIR}/graphs/script.yaml    frontend_args=${NONSENSE}

The Edits Are In The Log
    Deploy Graph    position-agg.yaml    replicas=1    migration_limit=3    env=${VARIABLES}
    [Teardown]    Delete Graph

Nothing Is In The Log Without Edits
    Deploy Graph    position-agg.yaml
    [Teardown]    Delete Graph
