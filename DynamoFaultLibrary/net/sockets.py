"""TCP connections of a namespace, seen and closed from outside: sock_diag(7) and SOCK_DESTROY, as `ss -K` does."""

import socket
import struct
from contextlib import suppress
from dataclasses import dataclass

from DynamoFaultLibrary.net.netlink import Flag, Message, NetlinkSocket

_NETLINK_SOCK_DIAG = 4
_BY_FAMILY, _DESTROY = 20, 21
_TCP = 6
_TIME_WAIT, _LISTEN = 6, 10
_STATES = 0xFFF & ~(1 << _TIME_WAIT | 1 << _LISTEN)
_IDENTITY = slice(4, 52)
"""Where inet_diag_msg and inet_diag_req_v2 agree: ports, addresses, interface, cookie."""


@dataclass(frozen=True)
class Connection:
    """A TCP connection as its namespace sees it; `identity` is the kernel's."""

    address: str
    port: int
    peer: str
    peer_port: int
    identity: bytes

    def __str__(self) -> str:
        return f"{self.address}:{self.port}-{self.peer}:{self.peer_port}"


def connections() -> list[Connection]:
    """IPv4 connections of the namespace that the calling thread is in."""
    request = struct.pack("=BBBBI", socket.AF_INET, _TCP, 0, 0, _STATES) + bytes(48)
    with NetlinkSocket(_NETLINK_SOCK_DIAG) as diag:
        return [_connection(body) for body in diag.dump(Message(_BY_FAMILY, Flag.REQUEST | Flag.DUMP, request))]


def destroy(found: list[Connection]) -> list[Connection]:
    """Close connections of this namespace: either end gets an error at once. Returns those that were still there.

    Raises:
        OSError: this process may not, or the kernel cannot.
    """
    closed = []
    with NetlinkSocket(_NETLINK_SOCK_DIAG) as diag:
        for connection in found:
            request = struct.pack("=BBBBI", socket.AF_INET, _TCP, 0, 0, 0xFFF) + connection.identity
            with suppress(FileNotFoundError):
                diag.send([Message(_DESTROY, Flag.REQUEST | Flag.ACK, request)])
                closed.append(connection)
    return closed


def _connection(body: bytes) -> Connection:
    identity = body[_IDENTITY]
    port, peer_port = struct.unpack_from(">HH", identity)
    return Connection(socket.inet_ntoa(identity[4:8]), port, socket.inet_ntoa(identity[20:24]), peer_port, identity)
