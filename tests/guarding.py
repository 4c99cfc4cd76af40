"""What tests ask of a guard, within their own process."""

from datetime import timedelta
from typing import Any

from DynamoFaultLibrary.clock import utc_now
from DynamoFaultLibrary.guard.guard import Guard
from DynamoFaultLibrary.ledger import Entry, read_ledger


def guarded(guard: Guard, recipe: dict[str, Any], kind: str = "Stall Process") -> Entry:
    """A fault that the guard has been told of."""
    entry = guard.ledger.intend(kind, {}, recipe, expires_at=utc_now() + timedelta(hours=1))
    guard.call_guard(entry.to_json())
    return entry


def state_of(guard: Guard, entry: Entry) -> tuple[str, str]:
    """What the ledger says: state and detail."""
    found = read_ledger(guard.ledger.path).entries[entry.id]
    return found.state.value, found.detail
