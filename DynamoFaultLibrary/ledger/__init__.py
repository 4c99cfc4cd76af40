"""The on-disk record of all that a run puts on a machine, and how each of it comes off again."""

from DynamoFaultLibrary.ledger.entry import Entry, Owner, State
from DynamoFaultLibrary.ledger.store import Ledger, read_ledger, state_directory

__all__ = ["Entry", "Ledger", "Owner", "State", "read_ledger", "state_directory"]
