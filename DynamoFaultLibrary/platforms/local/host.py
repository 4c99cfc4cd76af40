"""What a process knows as its machine."""

import errno
import resource
from dataclasses import dataclass

from DynamoFaultLibrary.errors import DeploymentError
from DynamoFaultLibrary.net.namespace import HeldNamespace


@dataclass(frozen=True)
class Host:
    """An address, an interface, a namespace (None: this machine's own)."""

    address: str
    interface: str
    namespace: HeldNamespace | None = None


LOOPBACK = Host("127.0.0.1", "lo")


def check_open_files(error: Exception) -> None:
    """See that `error` does not mean that too many files are open: that is no lack of rights.

    Raises:
        DeploymentError: it does.
    """
    number = getattr(error, "errno", None) or getattr(error, "code", None)  # the latter has a NetlinkError of pyroute2
    if number in (errno.EMFILE, errno.ENFILE):
        limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        whose = f"this process has {limit}" if number == errno.EMFILE else "this machine has as many"
        raise DeploymentError(
            f"too many open files ({whose}, the most that it may have): a network needs several for each process; "
            "raise the limit, see 'ulimit -n'"
        ) from error
