"""Robot Framework keywords to test the fault tolerance of NVIDIA Dynamo."""

from DynamoFaultLibrary.library import DynamoFaultLibrary

__all__ = ["DynamoFaultLibrary"]
