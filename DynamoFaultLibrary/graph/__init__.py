"""The DynamoGraphDeployment: read, edit and write its two shapes, v1alpha1 and v1beta1."""

from DynamoFaultLibrary.graph.document import Graph
from DynamoFaultLibrary.graph.manifest import Manifest
from DynamoFaultLibrary.graph.roles import Role
from DynamoFaultLibrary.graph.service import Service

__all__ = ["Graph", "Manifest", "Role", "Service"]
