"""Free TCP ports, leased so that parallel runs on one machine do not take the same ones.

A lease is a bound abstract Unix socket with the port in its name: the kernel frees it with its holder, and nothing is
left on disk. Ports lie below Linux's ephemeral range (32768), from which outgoing connections take theirs.
"""

import os
import socket

from DynamoFaultLibrary.errors import DeploymentError

FIRST, LAST = 20000, 32000


class PortLeases:
    """The ports that this process holds."""

    def __init__(self) -> None:
        self._held: dict[int, socket.socket] = {}
        self._next = FIRST + (os.getpid() * 97) % (LAST - FIRST)

    def take(self) -> int:
        """Lease a free port.

        Raises:
            DeploymentError: all are in use.
        """
        for _ in range(FIRST, LAST):
            port = self._next
            self._next = port + 1 if port + 1 < LAST else FIRST
            if self._lease(port):
                return port
        raise DeploymentError(f"no free TCP port between {FIRST} and {LAST} on this machine")

    def take_exactly(self, port: int) -> int:
        """Lease that port.

        Raises:
            DeploymentError: it is in use, or not for this user.
        """
        try:
            free = self._lease(port)
        except PermissionError as error:
            raise DeploymentError(f"port {port} is for root alone on this machine; choose one from 1024 on") from error
        if not free:
            raise DeploymentError(f"port {port} is taken by another process on this machine; see 'ss -ltnp'")
        return port

    def give_back(self, ports: list[int]) -> None:
        """End leases."""
        for port in ports:
            self._held.pop(port).close()

    def _lease(self, port: int) -> bool:
        if port in self._held:
            return False
        lease = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lease.bind(f"\0dynamo-fault-port-{port}")
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                probe.bind(("", port))
        except OSError as error:
            lease.close()
            if isinstance(error, PermissionError):
                raise
            return False
        self._held[port] = lease
        return True
