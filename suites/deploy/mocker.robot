*** Settings ***
Documentation    A mocker graph as it is written for a cluster, with a model of Hugging Face, a secret and a working
...              directory that this machine does not have, runs here with `model=tiny-model`; a worker dies under load.

Resource         ../../resources/deploy.resource

Test Teardown    Everything Is As Before
Test Timeout     ${TIME LIMIT}

Test Tags        deploy    backend:mocker    plane:tcp    end:killed    migration:on


*** Test Cases ***
A Mocker Graph Of A Cluster Survives The Death Of A Worker
    Given Deploy Graph    graphs/mocker.yaml    model=tiny-model    replicas=2    migration_limit=3
    And Start Load    concurrency=4    duration=10 minutes    output_tokens=40    retries=12
    And Wait For Load Requests    10
    When Kill Worker    MockWorker    replica=random
    And Wait For Load Requests    15
    And Stop Load
    Then Load Should Have Zero Errors
    And Get Lost Request Count    ==    0
    And Get Command Line    Frontend    contains    --migration-limit 3
    And Get Command Line    MockWorker    contains    tiny-model
