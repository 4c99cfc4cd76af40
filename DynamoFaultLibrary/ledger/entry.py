"""What one ledger entry says."""

import os
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Any

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.processes import ProcessId


class State(StrEnum):
    """Where an entry stands. It moves downwards only."""

    INTENT = "intent"
    """Written before anything was done: it may or may not have happened."""
    ACTIVE = "active"
    """Proven to be in effect; the evidence is recorded with it."""
    RECOVERED = "recovered"
    """Undone, and the undo was verified."""
    IRREVERSIBLE = "irreversible"
    """Done for good; `undo` names the compensation, if there is one."""

    @property
    def is_open(self) -> bool:
        """Whether something is left to undo."""
        return self in (State.INTENT, State.ACTIVE)


@dataclass(frozen=True)
class Owner:
    """The process whose life an entry is bound to. When it is gone, the entry is to be undone."""

    process: ProcessId
    host: str = field(default_factory=lambda: os.uname().nodename)

    @property
    def is_alive(self) -> bool:
        """Whether the owner runs; an owner on another machine counts as alive, since nothing is known of it."""
        return self.host != os.uname().nodename or self.process.is_running

    def to_json(self) -> dict[str, Any]:
        """The owner as JSON data."""
        return {**self.process.to_json(), "host": self.host}

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Owner":
        """The inverse of `to_json`."""
        return cls(ProcessId.from_json(data), str(data["host"]))


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
        }

    @classmethod
    def from_json(cls, data: dict[str, Any]) -> "Entry":
        """The inverse of `to_json`."""
        expires = data.get("expires_at")
        return cls(
            id=data["id"],
            kind=data["kind"],
            target=data["target"],
            undo=data["undo"],
            owner=Owner.from_json(data["owner"]),
            is_fault=data["is_fault"],
            created_at=datetime.fromisoformat(data["created_at"]),
            expires_at=datetime.fromisoformat(expires) if expires else None,
        ).changed(data)

    def changed(self, data: dict[str, Any]) -> "Entry":
        """Apply one line of the ledger and return self. Evidence adds up, since several processes write lines."""
        self.state = State(data["state"])
        self.evidence = [*self.evidence, *(data.get("evidence") or [])]
        self.detail = str(data.get("detail") or "")
        if data.get("expires_at"):
            self.expires_at = datetime.fromisoformat(data["expires_at"])
        return self
