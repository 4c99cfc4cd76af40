"""What an edit did, and what it could not reach."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Change:
    """One edit of one service, and the place in the document where it was written."""

    service: str
    what: str
    """Such as ``--router-mode=kv``, ``replicas=3``, ``model=tiny-model``."""
    place: str
    """Such as ``args``, ``shell script in args[0]``, ``env MODEL_PATH``."""
    why_not: str = ""
    """Empty when it was made; else the reason why this place was left as it was."""
