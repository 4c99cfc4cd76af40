*** Settings ***
Documentation     A fresh graph answers at its REST endpoints as a load balancer, a client and Prometheus expect.

Library           RequestsLibrary
Resource          ../../resources/graph.resource

Suite Setup       A Graph And A Session
Suite Teardown    Everything Is As Before
Test Timeout      ${TIME LIMIT}

Test Tags         smoke    backend:position    plane:tcp    tier:smoke


*** Test Cases ***
Health Names Both Workers
    ${health} =    GET On Session    frontend    /health
    Should Be Equal    ${health.json()}[status]    healthy
    Length Should Be    ${health.json()}[instances]    2

The Model Is Listed
    ${models} =    GET On Session    frontend    /v1/models
    ${model} =    Get Served Model
    Should Be Equal    ${models.json()}[data][0][id]    ${model}

Metrics Count Requests
    Given Send Completion    max_tokens=4
    ${metrics} =    GET On Session    frontend    /metrics
    Should Match Regexp    ${metrics.text}    dynamo_frontend_requests_total\\{.*status="success"\\} [1-9]

A Chat Is Answered
    ${record} =    Send Chat Completion    max_tokens=32    streaming=True
    Should Be Equal As Strings    ${record.outcome}    ok


*** Keywords ***
A Graph And A Session
    [Documentation]    No retries: they would hide the errors that this project looks for.
    ${url} =    Deploy Graph    position-agg.yaml
    Create Session    frontend    ${url}    max_retries=0
