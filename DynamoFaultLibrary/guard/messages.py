"""Lines of JSON over the socket between robot and its guard."""

import json
import socket
from typing import Any


class Messages:
    """One end of the socket. Nothing waits longer than the socket's timeout says."""

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._received = b""

    def send(self, message: dict[str, Any]) -> None:
        """Send one.

        Raises:
            OSError: the other end is gone.
        """
        self._connection.sendall(json.dumps(message).encode() + b"\n")

    def receive(self) -> list[dict[str, Any]]:
        """Read once; returns what is complete with that.

        Raises:
            OSError: the other end is gone.
        """
        data = self._connection.recv(2**16)
        if not data:
            raise ConnectionResetError("end of file")
        *lines, self._received = (self._received + data).split(b"\n")
        return [json.loads(line) for line in lines]
