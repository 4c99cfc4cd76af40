"""The library's errors: one tree, each with a sentence that says what was expected, what was seen, where to look."""


class FaultLibraryError(Exception):
    """Base of all errors that this library raises on purpose."""

    ROBOT_SUPPRESS_NAME = True


class Symptom(FaultLibraryError):  # noqa: N818  # named after what it is: nothing is wrong with the test itself
    """The system under test did not do what was waited for. A known defect of it may look like this."""


class GraphError(FaultLibraryError):
    """A graph file cannot be used, or an edit names something that the graph lacks."""


class DeploymentError(FaultLibraryError):
    """A graph did not come up, or something was asked of a deployment that is not there."""


class Unready(DeploymentError, Symptom):  # noqa: N818  # the same
    """A deployment that had come up does not serve, or not in time, or a service of it does not run."""


class Unsupported(FaultLibraryError):  # noqa: N818  # not an error: the keyword layer turns it into a skip
    """This machine or platform lacks what the keyword needs; the test is skipped with this reason."""


class LoadError(FaultLibraryError):
    """A request or load cannot be made, or its records are not there."""


class Unanswered(LoadError, Symptom):  # noqa: N818  # the same
    """What was waited for did not come: an answer, tokens, good requests of a load."""


class NothingComes(Unanswered):
    """What was waited for cannot come any more: who would bring it has ended, and nobody starts it again."""


class FaultError(FaultLibraryError):
    """A fault cannot be injected as asked."""


class EvidenceMissing(FaultError):  # noqa: N818  # named after what the user reads
    """A fault was injected, but nothing proves that it took effect."""


class RecoveryError(FaultError):
    """A fault could not be undone, or the undo could not be verified."""


class LedgerError(FaultLibraryError):
    """The ledger cannot be written or read; without it no fault is injected."""


class StateError(LedgerError):
    """An entry of the ledger was to go back to an earlier state; somebody else has closed it meanwhile."""
