*** Settings ***
Documentation    Graphs in the shapes that people write them in: each is edited, and each edit arrives at the process
...              that it means, as its own command line and environment show. An option that a script swallows, or that
...              reaches a planner instead of the workers, is not seen otherwise: the graph comes up and serves all the
...              same.

Resource         ../../resources/deploy.resource

Test Teardown    Everything Is As Before
Test Timeout     ${TIME LIMIT}

Test Tags        deploy    backend:position    plane:tcp


*** Test Cases ***
Commands Are Strings For A Shell
    Given An Edited Graph Is Deployed    graphs/shell.yaml
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Every Request Is Answered

Scripts Export Variables And Become The Program
    Given An Edited Graph Is Deployed    graphs/export-and-exec.yaml
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Every Request Is Answered

Options Are An Array Of The Shell
    Given An Edited Graph Is Deployed    graphs/array.yaml
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Every Request Is Answered

The Operator Starts The Frontend
    Given An Edited Graph Is Deployed    graphs/defaults.yaml
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Every Request Is Answered

Settings Are In Config Maps
    Given An Edited Graph Is Deployed    graphs/config-map.yaml
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Get Process Variable    Worker    SAID    ==    hello world    process_name=${WORKER}
    And Get Process Variable    Worker    PACE    ==    0.02    process_name=${WORKER}
    And Every Request Is Answered

A Pod Has More Than One Container
    Given An Edited Graph Is Deployed    graphs/pod.yaml
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Get Process Variable    Worker    STATE    ==    prepared    process_name=${WORKER}
    And Every Request Is Answered

Planners And Routers Are No Workers
    Given An Edited Graph Is Deployed    graphs/roles.yaml
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Get Command Line    Router    ==    sleep infinity
    And Every Request Is Answered

One Of Several Graphs Is Chosen
    Given An Edited Graph Is Deployed    graphs/several.yaml    graph=green
    When Clients Send Requests
    Then The Frontend Runs With Each Edit
    And Both Workers Run With Each Edit
    And Every Request Is Answered
