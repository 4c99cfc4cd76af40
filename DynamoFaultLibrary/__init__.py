"""Robot Framework keywords to test the fault tolerance of NVIDIA Dynamo.

The library class is imported when it is asked for: workers, sender and supervisor run modules of this package too, and
must not pay for Robot Framework.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from DynamoFaultLibrary.library import DynamoFaultLibrary

__all__ = ["DynamoFaultLibrary"]


def __getattr__(name: str) -> Any:
    if name == "DynamoFaultLibrary":
        from DynamoFaultLibrary.library import DynamoFaultLibrary

        return DynamoFaultLibrary
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
