*** Settings ***
Documentation    Deploying needs a ledger as well.

Library          DynamoFaultLibrary


*** Test Cases ***
Deploys
    Deploy Graph    position-agg.yaml
    [Teardown]    Delete Graph
