*** Settings ***
Documentation     Every fault keyword for etcd and NATS once; the run is sabotaged, so each must fail.

Library           DynamoFaultLibrary

Suite Setup       Deploy Graph    position-agg.yaml    discovery=etcd    etcd_members=3    request_plane=nats
Suite Teardown    Delete Graph
Test Timeout      1 minute


*** Test Cases ***
Kill Etcd Leader
    Kill Etcd Leader    timeout=300 ms

Kill Etcd Member
    Kill Etcd Member    0    timeout=300 ms

Stop Etcd Member
    Stop Etcd Member    1    timeout=300 ms

Stall Etcd Member
    Stall Etcd Member    2

Kill Nats
    Kill Nats    timeout=300 ms

Stop Nats
    Stop Nats    timeout=300 ms

Restart Nats
    Restart Nats    timeout=300 ms

Stall Nats
    Stall Nats

Isolate Etcd Member
    [Setup]    Deploy Graph    position-agg.yaml    discovery=etcd    etcd_members=3    network=isolated
    Isolate Etcd Member    0
    [Teardown]    Delete Graph
