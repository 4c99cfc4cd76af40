*** Settings ***
Documentation     What is refused of etcd and NATS, and what comes back by itself.

Library           DynamoFaultLibrary

Suite Setup       Deploy Graph    position-agg.yaml    discovery=etcd    etcd_members=3    request_plane=nats
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
Member Is Unknown
    Kill Etcd Member    etcd-3

Member Was Stopped Already
    Stop Etcd Member    etcd-1
    Stop Etcd Member    1

Member Was Not Stopped
    Start Etcd Member    2

Majority Is Lost
    Kill Etcd Member    follower
    Kill Etcd Member    leader

Nats Was Killed Already
    Kill Nats
    Stall Nats

Nats Was Not Stopped
    Start Nats

Leader Is Asserted
    Get Etcd Leader    ==    etcd-9

There Is No Etcd
    [Setup]    Deploy Graph    position-agg.yaml
    Kill Etcd Leader
    [Teardown]    Delete Graph

There Is No Nats
    [Setup]    Deploy Graph    position-agg.yaml
    Stall Nats
    [Teardown]    Delete Graph

Metric Is Unknown
    Get Metric    PositionWorker    dynamo_component_nothing_total

Metric Has No Such Label
    Get Metric    Frontend    dynamo_frontend_requests_total{color="green"}

Metric Is Malformed
    Get Metric    Frontend    dynamo_frontend_requests_total{status=success}

A Service That Runs Has Not Exited
    Service Should Exit By Itself    Frontend    timeout=100 ms

A Killed Worker Has Not Exited By Itself
    Kill Worker    PositionWorker    0    respawn=True
    Kill Worker    PositionWorker    1    respawn=True
    Service Should Not Have Restarted    PositionWorker

A Stopped Member Votes Again At Its Expiry
    Stop Etcd Member    0    ttl=3 s
    Wait Until Keyword Succeeds    5 s    50 ms    No Fault Should Be Active
    Wait Until Keyword Succeeds    10 s    50 ms    Kill Etcd Member    1

A Stalled Nats Goes On At Its Expiry
    Stall Nats    duration=1500 ms
    Wait Until Keyword Succeeds    5 s    50 ms    No Fault Should Be Active
    Restart Nats
