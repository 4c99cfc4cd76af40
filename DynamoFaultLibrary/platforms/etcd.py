"""An etcd cluster as its members tell of it.

Over etcd's own JSON gateway (etcd 3.5, "Why gRPC gateway"): POST to ``/v3/maintenance/status``,
``/v3/cluster/member/list`` and their like; 64-bit numbers come as strings.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from urllib.error import HTTPError

from DynamoFaultLibrary.clock import wait_until
from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.platforms.http import post_json

TIMEOUT = 1.0
"""Seconds that one answer may take; a stopped member costs no more."""

POLL = 0.02
"""Seconds between two looks at a cluster that is expected to change."""

REPLACE_TIMEOUT = timedelta(seconds=15)
"""A cluster takes a new member only when the others have been connected for 5 s (``--strict-reconfig-check``)."""

_NOBODY = "0"


@dataclass(frozen=True)
class Leader:
    """Who leads, and since which raft term; each election makes the term higher."""

    name: str
    term: int

    def __str__(self) -> str:
        return f"{self.name} leads in term {self.term}"


@dataclass(frozen=True)
class Status:
    """What one member says of itself: its id, whom it follows (``0``: nobody), and the term."""

    member: str
    leader: str
    term: int


@dataclass(frozen=True)
class EtcdCluster:
    """A cluster by the client URLs of its members; `urls` names them all, also those that do not run."""

    urls: dict[str, str]

    @property
    def majority(self) -> int:
        """Members that must agree for the cluster to go on."""
        return len(self.urls) // 2 + 1

    def statuses(self) -> dict[str, Status]:
        """Statuses of the members that answer."""
        found = {name: self._status(url) for name, url in self.urls.items()}
        return {name: status for name, status in found.items() if status is not None}

    def leader(self) -> Leader | None:
        """The leader, if it answers itself and a majority follows it in the same term."""
        statuses = self.statuses()
        for name, status in statuses.items():
            if status.leader == status.member:
                followers = [other for other in statuses.values() if (other.leader, other.term) == _rule(status)]
                if len(followers) >= self.majority:
                    return Leader(name, status.term)
        return None

    def wait_for_leader(self, timeout: timedelta, above_term: int = 0) -> Leader | None:
        """The leader as soon as there is one, of a term above `above_term`; None after `timeout`."""
        found: Leader | None = None

        def leads() -> bool:
            nonlocal found
            found = self.leader()
            return found is not None and found.term > above_term

        return found if wait_until(leads, timeout, POLL) else None

    def describe(self) -> str:
        """What the members say, for people."""
        statuses = self.statuses()
        names = {status.member: name for name, status in statuses.items()}
        told = [
            f"{name} leads in term {status.term}"
            if status.leader == status.member
            else f"{name} follows {names.get(status.leader, 'nobody that answers')}"
            for name, status in statuses.items()
        ]
        silent = [f"{name} does not answer" for name in self.urls if name not in statuses]
        return ", ".join([*told, *silent])

    def is_voting(self, name: str) -> bool:
        """Whether the member answers, follows the leader of a majority, and is no learner."""
        leader, statuses = self.leader(), self.statuses()
        if leader is None or name not in statuses or leader.name not in statuses:
            return False
        status = statuses[name]
        if _rule(status) != _rule(statuses[leader.name]):
            return False
        return any(
            member["ID"] == status.member and member.get("name") == name and not member.get("isLearner")
            for member in self._call("member/list", {})[0].get("members", [])
        )

    def answers(self, name: str) -> bool:
        """Whether the member answers, with or without a leader."""
        return self._status(self.urls[name]) is not None

    def peer_urls(self, name: str) -> list[str]:
        """Where the other members reach this one."""
        return next((list(member["peerURLs"]) for member in self._members() if member.get("name") == name), [])

    def replace(self, name: str, peer_urls: list[str]) -> None:
        """Take a member out and announce its successor at the same URLs; what was done already is left out.

        Raises:
            FaultError: the cluster refuses.
        """
        refusal = ""

        def announced() -> bool:
            """Take the next step; the last one is refused until the others have been connected for a while."""
            nonlocal refusal
            same_place = [member for member in self._members() if set(member["peerURLs"]) & set(peer_urls)]
            if not same_place:
                refusal = self._call("member/add", {"peerURLs": peer_urls})[1]
            elif same_place[0].get("name"):
                refusal = self._call("member/remove", {"ID": same_place[0]["ID"]})[1]
            else:
                return True
            return False

        if not wait_until(announced, REPLACE_TIMEOUT, POLL):
            raise FaultError(f"etcd has not replaced {name}: {refusal}; {self.describe()}")

    def _members(self) -> list[dict[str, Any]]:
        """The members that the cluster has agreed on; one that was added and has not started yet has no name."""
        answer, refusal = self._call("member/list", {})
        if refusal:
            raise FaultError(f"etcd does not tell its members: {refusal}; {self.describe()}")
        return list(answer["members"])

    def _call(self, call: str, body: dict[str, Any]) -> tuple[dict[str, Any], str]:
        """The answer of the first member that gives one, or what the last one said instead."""
        refusal = "no member answers"
        for url in self.urls.values():
            try:
                return post_json(f"{url}/v3/cluster/{call}", body, TIMEOUT), ""
            except HTTPError as error:
                refusal = error.read().decode(errors="replace")
            except (OSError, ValueError) as error:
                refusal = str(error)
        return {}, refusal

    @staticmethod
    def _status(url: str) -> Status | None:
        try:
            answer = post_json(f"{url}/v3/maintenance/status", {}, TIMEOUT)
            return Status(answer["header"]["member_id"], answer.get("leader", _NOBODY), int(answer.get("raftTerm", 0)))
        except (OSError, ValueError, KeyError):
            return None


def _rule(status: Status) -> tuple[str, int]:
    return status.leader, status.term
