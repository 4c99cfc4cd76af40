*** Settings ***
Documentation    Partitions of one's own making (origin 2, `CUSTOM`): one-way, lossy, slow, two at once.

Resource         ../../resources/network.resource

Test Setup       A Graph On Hosts Of Its Own
Test Teardown    Everything Is As Before
Test Timeout     1 minute

Test Tags        network    backend:position    plane:tcp    partition:custom    origin:2:custom


*** Test Cases ***
An Answer Survives Loss
    [Documentation]    A tenth of all packets vanishes; TCP makes good for it.
    Given The Workers Are Cut Off    loss=10
    When A Request Is Being Served    completion    unary
    Then The Answer Is Complete

A Stream Survives A Slow Network
    Given The Workers Are Cut Off    rate=256 kbit
    When A Request Is Being Served    chat    streaming
    Then The Answer Is Complete

A Stream Hangs When One Way Is Cut
    [Documentation]    Whichever way: tokens do not arrive, or their arrival is not acknowledged.
    Given A Stream Is Being Served
    When The Worker That Serves It Is Cut Off From The Frontend    direction=to    duration=1 s
    Then The Answer Is Complete
    And Migrations Are Exactly    0

Partitions That Overlap Heal One By One
    Given The Workers Are Cut Off    target_replica=0
    VAR    ${first}    ${PARTITION}
    And The Workers Are Cut Off    mode=reject
    When Heal Network Partition    ${first}
    Then The Workers Are Out Of Reach
    When The Partition Heals
    Then Wait Until Graph Is Ready    timeout=20 s


*** Keywords ***
The Workers Are Cut Off
    [Documentation]    From the frontend; takes the options of `Partition Network`.
    [Arguments]    &{options}
    ${fault}    Partition Network    CUSTOM    Frontend    ${WORKER}    &{options}
    VAR    ${PARTITION}    ${fault}    scope=TEST

The Workers Are Out Of Reach
    [Documentation]    A request finds no worker.
    ${request}    Start Request    completion    max_tokens=4    streaming=False
    Request Should Have Failed    ${request}    http_error    timeout=10 s
