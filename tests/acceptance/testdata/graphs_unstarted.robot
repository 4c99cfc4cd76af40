*** Settings ***
Documentation    What starts nothing: edits that cannot be made, and dry runs.

Library          DynamoFaultLibrary

Test Timeout     1 minute


*** Variables ***
&{NONSENSE}     --no-such-option=1
&{VARIABLES}    DYN_LOG=debug


*** Test Cases ***
An Option For A Script That Is Known When It Runs
    Deploy Graph    ${CURDIR}/graphs/evaluated.yaml    migration_limit=3

The Same In A Dry Run
    Deploy Graph    ${CURDIR}/graphs/evaluated.yaml    migration_limit=3    dry_run=True

A Program That Is Not Here In A Dry Run
    Deploy Graph    ${CURDIR}/graphs/no_program.yaml    dry_run=True

A Service That There Is Not
    Deploy Graph    position-agg.yaml    replicas=${{{'Decode': 2}}}    dry_run=True

A Setting Without Effect
    Deploy Graph    position-agg.yaml    etcd_members=3    dry_run=True

A Graph That There Is Not
    Deploy Graph    position-agg.yaml#blue    dry_run=True

A Dry Run
    ${yaml} =    Deploy Graph    position-agg.yaml    migration_limit=3    env=${VARIABLES}    dry_run=True
    Should Contain    ${yaml}    --migration-limit
    Should Contain    ${yaml}    DYN_LOG
    Get Frontend Url
