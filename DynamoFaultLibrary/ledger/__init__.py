"""The on-disk record of all that a run puts on a machine, and how each of it comes off again."""

from DynamoFaultLibrary.ledger.entry import Entry, State
from DynamoFaultLibrary.ledger.store import Ledger, LedgerView, read_ledger, state_directory
from DynamoFaultLibrary.owner import Owner

__all__ = ["Entry", "Ledger", "LedgerView", "Owner", "State", "read_ledger", "state_directory"]
