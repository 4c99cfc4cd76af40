"""What planning a deployment finds: what is set otherwise, what is not here, and what cannot be started at all."""

from DynamoFaultLibrary.errors import FaultLibraryError, Unsupported
from DynamoFaultLibrary.platforms.base import Remark


class Findings:
    """Each is noted once, however many replicas it is true of."""

    def __init__(self) -> None:
        self._overridden: dict[Remark, None] = {}
        self._missing: dict[Remark, None] = {}
        self._problems: dict[tuple[str, str], FaultLibraryError] = {}

    @property
    def overridden(self) -> list[Remark]:
        """What the platform does otherwise than the graph says."""
        return list(self._overridden)

    @property
    def missing(self) -> list[Remark]:
        """What cannot be on this machine, problems included."""
        problems = [Remark(service, what, str(error)) for (service, what), error in self._problems.items()]
        return [*self._missing, *problems]

    @property
    def refusal(self) -> str:
        """Why the graph cannot be deployed on any machine like this one; empty when it only lacks something here."""
        errors = [str(error) for error in self._problems.values() if not isinstance(error, Unsupported)]
        return errors[0] if errors else ""

    def override(self, service: str, what: str, why: str) -> None:
        """The platform does something otherwise."""
        self._overridden[Remark(service, what, why)] = None

    def lack(self, service: str, what: str, why: str) -> None:
        """Something is not here, and the service starts without it, or the graph without the service."""
        self._missing[Remark(service, what, why)] = None

    def refuse(self, service: str, what: str, error: FaultLibraryError) -> None:
        """The graph cannot be deployed."""
        self._problems.setdefault((service, what), error)

    def raise_first(self) -> None:
        """Raise the first problem, if there is one."""
        for error in self._problems.values():
            raise error
