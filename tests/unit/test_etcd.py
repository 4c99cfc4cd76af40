import json
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from http.server import BaseHTTPRequestHandler
from typing import Any

import pytest

from DynamoFaultLibrary.errors import EvidenceMissing, FaultError, RecoveryError
from DynamoFaultLibrary.faults.etcd import MemberLoss
from DynamoFaultLibrary.platforms import etcd
from DynamoFaultLibrary.platforms.etcd import EtcdCluster, Leader

SOON = timedelta(milliseconds=100)
NOWHERE = "http://127.0.0.1:9"


@dataclass
class Member:
    """An etcd member that says what a test wants."""

    loopback: Any
    id: str
    leader: str | None
    term: int = 2
    known: list[dict[str, Any]] = field(default_factory=list)
    refusals: list[str] = field(default_factory=list)
    calls: list[tuple[str, Any]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.loopback.routes["/v3/maintenance/status"] = self.tell(lambda body: self.status())
        self.loopback.routes["/v3/cluster/member/list"] = self.tell(lambda body: {"members": self.known})
        self.loopback.routes["/v3/cluster/member/add"] = self.tell(self.add)
        self.loopback.routes["/v3/cluster/member/remove"] = self.tell(self.remove)

    def status(self) -> dict[str, Any]:
        answer: dict[str, Any] = {"header": {"member_id": self.id}, "raftTerm": str(self.term)}
        return answer if self.leader is None else {**answer, "leader": self.leader}

    def add(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.refusals:
            raise RuntimeError(self.refusals.pop())
        self.calls.append(("add", body))
        self.known.append({"ID": "99", "peerURLs": body["peerURLs"]})
        return {}

    def remove(self, body: dict[str, Any]) -> dict[str, Any]:
        self.calls.append(("remove", body))
        self.known[:] = [member for member in self.known if member["ID"] != body["ID"]]
        return {}

    def tell(self, answer: Callable[[Any], Any]) -> Callable[[BaseHTTPRequestHandler], None]:
        def send(handler: BaseHTTPRequestHandler) -> None:
            try:
                status, body = 200, answer(self.loopback.seen[-1][2])
            except RuntimeError as error:
                status, body = 503, {"error": str(error)}
            data = json.dumps(body).encode()
            handler.send_response(status)
            handler.send_header("Content-Length", str(len(data)))
            handler.end_headers()
            handler.wfile.write(data)

        return send


Three = tuple[EtcdCluster, list[Member]]


@pytest.fixture
def three(loopbacks: Callable[[], Any]) -> Three:
    found = [Member(loopbacks(), str(number), "10") for number in (10, 11, 12)]
    listed = [entry("10", "etcd-0"), entry("11", "etcd-1"), entry("12", "etcd-2")]
    for member in found:
        member.known = listed
    return EtcdCluster({f"etcd-{index}": member.loopback.url for index, member in enumerate(found)}), found


def entry(identity: str, name: str) -> dict[str, Any]:
    return {"ID": identity, "name": name, "peerURLs": [f"http://peer-of-{name}"]}


def without(cluster: EtcdCluster, *names: str) -> EtcdCluster:
    return EtcdCluster({name: NOWHERE if name in names else url for name, url in cluster.urls.items()})


def test_the_leader_is_whom_a_majority_follows(three: Three) -> None:
    cluster, _ = three
    assert cluster.leader() == Leader("etcd-0", 2)
    assert without(cluster, "etcd-2").leader() == Leader("etcd-0", 2)
    assert without(cluster, "etcd-1", "etcd-2").leader() is None


def test_a_leader_that_does_not_answer_is_none(three: Three) -> None:
    cluster, _ = three
    assert without(cluster, "etcd-0").leader() is None
    assert without(cluster, "etcd-0").describe() == (
        "etcd-1 follows nobody that answers, etcd-2 follows nobody that answers, etcd-0 does not answer"
    )


def test_a_member_of_an_older_term_is_no_follower(three: Three) -> None:
    cluster, members_ = three
    members_[0].term, members_[1].term = 3, 3
    assert cluster.leader() == Leader("etcd-0", 3)
    members_[1].term = 2
    assert cluster.leader() is None


def test_members_without_a_leader_have_none(three: Three) -> None:
    cluster, members_ = three
    for member in members_:
        member.leader = None
    assert cluster.leader() is None
    assert cluster.wait_for_leader(SOON) is None


def test_an_election_is_a_higher_term(three: Three) -> None:
    cluster, members_ = three
    assert cluster.wait_for_leader(SOON, above_term=2) is None
    for member in members_:
        member.leader, member.term = "11", 3
    assert cluster.wait_for_leader(SOON, above_term=2) == Leader("etcd-1", 3)
    assert cluster.describe() == "etcd-0 follows etcd-1, etcd-1 leads in term 3, etcd-2 follows etcd-1"


def test_a_voting_member_is_listed_by_name_and_no_learner(three: Three) -> None:
    cluster, members_ = three
    assert cluster.is_voting("etcd-2")
    members_[0].known[2]["isLearner"] = True
    assert not cluster.is_voting("etcd-2")
    del members_[0].known[2]
    assert not cluster.is_voting("etcd-2")
    assert not without(cluster, "etcd-1").is_voting("etcd-1")


def test_a_member_is_replaced_at_its_place(three: Three) -> None:
    cluster, members_ = three
    alive = without(cluster, "etcd-0")
    alive.replace("etcd-0", ["http://peer-of-etcd-0"])
    assert members_[1].calls == [("remove", {"ID": "10"}), ("add", {"peerURLs": ["http://peer-of-etcd-0"]})]
    alive.replace("etcd-0", ["http://peer-of-etcd-0"])
    assert len(members_[1].calls) == 2, "it was announced already"


def test_a_refused_member_is_offered_again(three: Three) -> None:
    cluster, members_ = three
    members_[1].refusals = ["etcdserver: unhealthy cluster"] * 2
    without(cluster, "etcd-0", "etcd-2").replace("etcd-0", ["http://peer-of-etcd-0"])
    assert [call for call, _ in members_[1].calls] == ["remove", "add"]
    assert members_[1].refusals == []


def test_a_member_that_stays_refused_is_an_error(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, members_ = three
    monkeypatch.setattr(etcd, "REPLACE_TIMEOUT", SOON)
    for member in members_:
        member.refusals = ["etcdserver: unhealthy cluster"] * 100
    with pytest.raises(FaultError, match=r"etcd has not replaced etcd-0: .*unhealthy cluster"):
        without(cluster, "etcd-0").replace("etcd-0", ["http://peer-of-etcd-0"])


def test_members_that_cannot_be_asked_are_an_error() -> None:
    with pytest.raises(FaultError, match=r"etcd does not tell its members: .*; etcd-0 does not answer"):
        EtcdCluster({"etcd-0": NOWHERE}).peer_urls("etcd-0")


def test_losing_the_majority_needs_force(three: Three) -> None:
    cluster, _ = three
    MemberLoss(cluster, "etcd-1")
    with pytest.raises(FaultError) as raised:
        MemberLoss(without(cluster, "etcd-2"), "etcd-1")
    assert str(raised.value) == (
        "without etcd-1, 1 of 3 etcd members would be left, and 2 are a majority; use force=True to do it anyway"
    )
    MemberLoss(without(cluster, "etcd-2"), "etcd-1", force=True)


def test_a_lost_leader_must_be_followed_by_another(three: Three) -> None:
    cluster, members_ = three
    loss = MemberLoss(cluster, "etcd-0", timeout=SOON)
    with pytest.raises(EvidenceMissing, match="the members without etcd-0 have no new leader after 100 ms"):
        loss.prove(0.0)
    for member in members_:
        member.leader, member.term = "12", 3
    assert loss.prove(0.0).startswith("etcd-2 leads in term 3 instead of etcd-0 leads in term 2, ")


def test_a_lost_follower_leaves_the_leader(three: Three) -> None:
    cluster, _ = three
    assert MemberLoss(cluster, "etcd-1", timeout=SOON).prove(0.0) == "etcd-0 leads in term 2 without etcd-1"


def test_a_lost_majority_leaves_no_leader(three: Three) -> None:
    cluster, members_ = three
    loss = MemberLoss(without(cluster, "etcd-2"), "etcd-1", force=True, timeout=SOON)
    with pytest.raises(EvidenceMissing, match="etcd-1 is gone, but there still is a leader"):
        loss.prove(0.0)
    members_[0].leader = None
    assert loss.prove(0.0).startswith("no majority follows a leader: etcd-0 follows nobody that answers")


def test_a_member_is_back_when_it_votes(three: Three, monkeypatch: pytest.MonkeyPatch) -> None:
    cluster, members_ = three
    loss = MemberLoss(cluster, "etcd-1")
    assert loss.make_good(SOON) == "etcd-0 leads in term 2, etcd-1 follows etcd-0, etcd-2 follows etcd-0"
    members_[1].leader = None
    with pytest.raises(RecoveryError, match="etcd-1 runs, but is no voting member"):
        loss.make_good(SOON)


def test_without_a_majority_a_member_is_back_when_it_answers(three: Three) -> None:
    cluster, _ = three
    alone = without(cluster, "etcd-0", "etcd-2")
    assert "etcd-1 follows nobody that answers" in MemberLoss(alone, "etcd-1", force=True).make_good(SOON)
