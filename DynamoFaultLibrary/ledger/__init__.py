"""The on-disk record of all that a run puts on a machine, and how each of it comes off again."""

from DynamoFaultLibrary.ledger.entry import Entry, Owner, State
from DynamoFaultLibrary.ledger.store import Ledger, LedgerView, read_ledger, state_directory

__all__ = ["Entry", "Ledger", "LedgerView", "Owner", "State", "read_ledger", "state_directory"]
