"""Small words for messages."""


def counted(count: int, noun: str) -> str:
    """A number of things: ``1 client``, ``2 clients``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
