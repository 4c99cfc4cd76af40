"""What one ledger entry says."""

import os
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.owner import Owner


class State(StrEnum):
    """Where an entry stands. It moves downwards only, and ends with one of the last two."""

    INTENT = "intent"
    """Written before anything was done: it may or may not have happened."""
    ACTIVE = "active"
    """Proven to be in effect; the evidence is recorded with it."""
    RECOVERED = "recovered"
    """Undone, and the undo was verified."""
    IRREVERSIBLE = "irreversible"
    """Done for good: made good at once, or given up because its machine is gone; the detail says which."""

    @property
    def is_open(self) -> bool:
        """Whether something is left to undo."""
        return self in (State.INTENT, State.ACTIVE)

    def may_become(self, other: "State") -> bool:
        """Whether an entry of this state may be given another, or the same once more."""
        return self.is_open and not (self is State.ACTIVE and other is State.INTENT)


@dataclass
class Entry:
    """A fault (or another thing put on the machine, such as a process group) with its undo recipe as data.

    `undo` holds an ``action`` and what that action needs, see `DynamoFaultLibrary.ledger.undo`.
    """

    id: str
    kind: str
    target: dict[str, Any]
    undo: dict[str, Any]
    owner: Owner
    is_fault: bool
    created_at: datetime
    expires_at: datetime | None = None
    state: State = State.INTENT
    evidence: list[str] = field(default_factory=list)
    detail: str = ""
    came_off_at: datetime | None = None
    came_off_s: float | None = None
    """When it was undone, in UTC and on the monotonic clock, which all processes of a machine share until it reboots;
    its verification, and whoever noticed, came later. None in ledgers of versions that did not write it."""

    @classmethod
    def new(
        cls,
        kind: str,
        target: dict[str, Any],
        undo: dict[str, Any],
        owner: Owner,
        is_fault: bool,
        expires_at: datetime | None,
    ) -> "Entry":
        """An entry of state `intent`, with a fresh id such as ``stall-process-1a2b3c4d``."""
        identity = f"{kind.lower().replace(' ', '-')}-{os.urandom(4).hex()}"
        return cls(identity, kind, target, undo, owner, is_fault, utc_now(), expires_at)

    def to_json(self) -> dict[str, Any]:
        """The whole entry as JSON data: the first line that the ledger holds of it."""
        return {
            "id": self.id,
            "kind": self.kind,
            "is_fault": self.is_fault,
            "target": self.target,
            "undo": self.undo,
            "owner": self.owner.to_json(),
            "created_at": self.created_at.isoformat(),
            "expires_at": self.expires_at.isoformat() if self.expires_at else None,
            "state": self.state.value,
            "evidence": self.evidence,
            "detail": self.detail,
            "came_off_at": self.came_off_at.isoformat() if self.came_off_at else None,
            "came_off_monotonic_s": self.came_off_s,
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Entry":
        """The inverse of `to_json`."""
        expires = data.get("expires_at")
        return cls(
            id=data["id"],
            kind=data["kind"],
            target=dict(data["target"]),
            undo=dict(data["undo"]),
            owner=Owner.from_json(data["owner"]),
            is_fault=data["is_fault"],
            created_at=datetime.fromisoformat(data["created_at"]),
            expires_at=datetime.fromisoformat(expires) if expires else None,
        ).changed(data)

    def changed(self, data: dict[str, Any]) -> "Entry":
        """Apply one line of the ledger and return self. Evidence adds up, since several processes write lines.

        A line that closes a closed entry once more changes nothing: it came off when it came off first.

        Raises:
            ValueError: the line's state lies before the entry's, or is none.
        """
        state = State(data["state"])
        if not self.state.may_become(state):
            if self.state is state:
                return self
            raise ValueError(f"{self.id} is {self.state.value} and cannot become {state.value}")
        came_off = data.get("came_off_at")
        self.came_off_at = datetime.fromisoformat(came_off) if came_off else self.came_off_at
        self.came_off_s = data.get("came_off_monotonic_s", self.came_off_s)
        self.state = state
        self.evidence = [*self.evidence, *(data.get("evidence") or [])]
        self.detail = str(data.get("detail") or "")
        if data.get("expires_at"):
            self.expires_at = datetime.fromisoformat(data["expires_at"])
        return self

    def follow(self, written: "Entry") -> None:
        """Take over what the ledger says of this entry."""
        self.state, self.evidence, self.detail = written.state, list(written.evidence), written.detail
        self.came_off_at, self.came_off_s = written.came_off_at, written.came_off_s
        self.expires_at = written.expires_at
