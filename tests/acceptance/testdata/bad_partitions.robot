*** Settings ***
Documentation    Partitions that cannot be. Each test here fails, and the test that runs this reads the messages.

Library          DynamoFaultLibrary    allowed_services=${ALLOWED}

Suite Setup      Deploy Graph    position-agg.yaml    network=isolated    request_plane=nats
Test Timeout     1 minute


*** Variables ***
@{ALLOWED}    Frontend    PositionWorker    nats


*** Test Cases ***
A Service And Itself
    Partition Network    CUSTOM    PositionWorker    PositionWorker

A Replica And Itself
    Partition Network    CUSTOM    PositionWorker    PositionWorker    source_replica=1    target_replica=1

A Service Is Unknown
    Partition Network    CUSTOM    Frontend    NoSuchService

A Replica Is Unknown
    Partition Network    FRONTEND_WORKER    target_replica=7

A Side Is Missing
    Partition Network    CUSTOM    Frontend

A Type Is Unknown
    Partition Network    EVERYTHING

A Rate Is No Rate
    Partition Network    FRONTEND_WORKER    rate=fast

A Loss With Reject
    Partition Network    FRONTEND_WORKER    mode=reject    loss=10

A Reset With A Direction
    Partition Network    FRONTEND_WORKER    mode=reset    direction=to

A Duration Of Nothing
    Partition Network    FRONTEND_WORKER    duration=0 s

Nothing Is Partitioned
    Heal Network Partition

Beyond The Blast Radius
    [Setup]    Deploy Graph    position-agg.yaml    network=isolated    discovery=etcd
    Partition Network    CUSTOM    Frontend    etcd

One Worker Only
    [Setup]    Deploy Graph    position-agg.yaml    network=isolated    replicas=1
    Partition Network    WORKER_WORKER

No Nats
    [Setup]    Deploy Graph    position-agg.yaml    network=isolated
    Partition Network    WORKER_NATS

A Shared Network
    [Setup]    Deploy Graph    position-agg.yaml
    Partition Network    FRONTEND_WORKER
