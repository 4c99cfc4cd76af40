*** Settings ***
Documentation    Stops an etcd member, stalls NATS, says so, and waits to be ended from outside.

Library          OperatingSystem
Library          DynamoFaultLibrary


*** Test Cases ***
Etcd And Nats Are Away For Long
    Deploy Graph    position-agg.yaml    discovery=etcd    etcd_members=3    request_plane=nats
    Stop Etcd Member    leader
    Stall Nats
    Create File    ${OUTPUT DIR}/stopped
    Wait Until Removed    ${OUTPUT DIR}/stopped    timeout=1 min
    [Teardown]    Delete Graph
