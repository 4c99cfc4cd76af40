import signal
from collections.abc import Callable
from typing import Any, cast

import pytest

from DynamoFaultLibrary.errors import DeploymentError, EvidenceMissing, RecoveryError
from DynamoFaultLibrary.faults.nats import EndOfNats, NatsFault
from DynamoFaultLibrary.platforms.base import Deployment
from DynamoFaultLibrary.platforms.local.ends import EndOfReplica, Pause
from DynamoFaultLibrary.platforms.nats import NatsServer, NatsState
from DynamoFaultLibrary.platforms.replicas import Replica
from DynamoFaultLibrary.platforms.settings import DeploySettings
from DynamoFaultLibrary.processes import ProcessId
from tests.replicas import make_replica

GONE = ProcessId(2**22 - 1, 1)


@pytest.fixture
def tell(loopback: Any) -> Callable[..., NatsServer]:
    """Have the server say of itself what a test wants."""

    def answer(server_id: str, **streams: int) -> NatsServer:
        detail = [{"name": n, "config": {"storage": "file"}, "state": {"last_seq": s}} for n, s in streams.items()]
        memory = {"name": "m", "config": {"storage": "memory"}, "state": {"last_seq": 9}}
        loopback.answer("/healthz", {"status": "ok"})
        loopback.answer("/varz", {"server_id": server_id})
        accounts = [{"name": "$G", "stream_detail": [*detail, memory]}, {"name": "$SYS"}]
        loopback.answer("/jsz?accounts=1&streams=1&config=1", {"account_details": accounts})
        return NatsServer("nats-0", loopback.url)

    return answer


class Machine:
    """A platform that starts what it is asked to start."""

    def respawn(self, deployment: Deployment, replica: Replica) -> Replica:
        return replica

    def processes(self, replica: Replica) -> list[ProcessId]:
        return []


def fault(kind: type[Any], server: NatsServer, **options: Any) -> Any:
    replica = make_replica("nats", 0, GONE)
    deployment = cast("Deployment", type("D", (), {"name": "d", "settings": DeploySettings()})())
    effect = EndOfReplica(cast("Any", Machine()), deployment, replica, [GONE], signal.SIGKILL)
    return kind("Kill Nats", deployment, [[replica]], effect, server=server, **options)


def test_state_is_the_id_and_what_is_on_disk(tell: Callable[..., NatsServer]) -> None:
    state = tell("NABCDEFGHIJ", orders=7).state()
    assert state == NatsState("NABCDEFGHIJ", {"orders": 7})
    assert str(state) == "server NABCDEFG with JetStream streams: orders up to 7"
    assert str(tell("NABCDEFGHIJ").state()) == "server NABCDEFG with JetStream streams: none"


def test_a_server_that_says_nothing_has_no_state() -> None:
    server = NatsServer("nats-0", "http://127.0.0.1:9")
    assert not server.is_healthy
    with pytest.raises(DeploymentError, match="nats-0 does not tell its state at"):
        server.state()


def test_a_server_is_back_as_another_one_with_its_streams(tell: Callable[..., NatsServer]) -> None:
    killed = fault(EndOfNats, tell("NOLD0000", orders=7))
    tell("NNEW0000", orders=8, more=1)
    assert killed.undo() == f"nats-0 runs as pid {GONE.pid}"
    assert killed.verify() == (
        "server NNEW0000 with JetStream streams: orders up to 8, more up to 1; "
        "it was server NOLD0000 with JetStream streams: orders up to 7"
    )


def test_a_server_of_the_same_id_was_not_restarted(tell: Callable[..., NatsServer]) -> None:
    with pytest.raises(EvidenceMissing, match="nats-0 still is server NOLD0000, so it was not restarted"):
        fault(EndOfNats, tell("NOLD0000")).verify()


@pytest.mark.parametrize("left", [{}, {"orders": 6}])
def test_a_stream_that_is_lost_is_an_error(tell: Callable[..., NatsServer], left: dict[str, int]) -> None:
    killed = fault(EndOfNats, tell("NOLD0000", orders=7))
    tell("NNEW0000", **left)
    with pytest.raises(RecoveryError, match=r"nats-0 has lost JetStream's \['orders'\]"):
        killed.verify()


def test_a_stalled_server_that_answers_is_none(tell: Callable[..., NatsServer], start: Callable[..., Any]) -> None:
    sleeper = start("/bin/sleep", "60").identity
    stalled = fault(NatsFault, tell("NOLD0000"))
    stalled.effect = Pause(stalled.effect.host, stalled.deployment, stalled.victim, [sleeper], signal.SIGSTOP)
    sleeper.send(signal.SIGSTOP)
    with pytest.raises(EvidenceMissing, match="nats-0 is stopped, but a server answers at"):
        stalled.prove()
