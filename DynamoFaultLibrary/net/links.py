"""Interfaces of this machine."""

import errno
import socket
import struct

from DynamoFaultLibrary.net.netlink import Flag, Message, NetlinkSocket, attribute

_NETLINK_ROUTE = 0
_DELLINK = 17
_NAME = 3


def link_exists(name: str) -> bool:
    """Whether the calling thread's namespace has an interface of that name."""
    return any(name == found for _, found in socket.if_nameindex())


def delete_link(name: str) -> bool:
    """Delete an interface, and with one end of a veth pair the other; False when there is none of that name.

    Raises:
        OSError: this process may not.
    """
    body = struct.pack("=BBHiII", socket.AF_UNSPEC, 0, 0, 0, 0, 0) + attribute(_NAME, name)
    try:
        with NetlinkSocket(_NETLINK_ROUTE) as route:
            route.send([Message(_DELLINK, Flag.REQUEST | Flag.ACK, body)])
    except OSError as error:
        if error.errno == errno.ENODEV:
            return False
        raise
    return True
