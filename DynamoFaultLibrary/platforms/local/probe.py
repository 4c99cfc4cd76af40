"""Probes: sockets at both ends of a path through an isolated network, which tell what a partition does to it.

A socket belongs to the namespace that it was made in, so this process speaks for both hosts without being there.
"""

import errno
import socket
import struct
from contextlib import ExitStack, suppress
from enum import Enum, StrEnum

from DynamoFaultLibrary.errors import FaultError
from DynamoFaultLibrary.net.namespace import inside
from DynamoFaultLibrary.platforms.local.host import Host, check_open_files

ARRIVAL_TIMEOUT = 1.0
"""Seconds that a byte may take when nothing is in its way; on a veth pair it takes microseconds."""

_BYTE = b"?"
_UNACKNOWLEDGED = 24
"""Offset of tcpi_unacked in struct tcp_info: eight bytes, then rto, ato, snd_mss, rcv_mss."""
_GROUP, _GROUP_BYTES = 64, 64_000
"""Datagrams and bytes that a receiver's buffer holds for certain."""

_LARGEST = 2**16
_BROKEN = {errno.ECONNRESET, errno.ECONNABORTED, errno.EPIPE}
_REFUSED = {errno.ECONNREFUSED, errno.ECONNRESET}


class Way(StrEnum):
    """From which end to which."""

    TO = "to"
    FROM = "from"


class Answer(Enum):
    """What became of a byte, or of an attempt to connect."""

    NONE = "no answer"
    ARRIVED = "arrival"
    BROKEN = "connection reset"
    REFUSED = "connection refused"
    CONNECTED = "connection made"


class Probe:
    """Sockets between a source and a target.

    `open_connections` are made while nothing is cut yet: one to be used while something is, an idle one for afterwards.

    Raises:
        FaultError: the two do not reach each other.
    """

    def __init__(self, source: Host, target: Host, *, open_connections: bool) -> None:
        self._source, self._target = source, target
        self._stack = ExitStack()
        self._attempts: list[socket.socket] = []
        self._errors: dict[socket.socket, int] = {}
        try:
            self._datagrams = self._make_datagrams()
            self._listener = self._make(target, socket.SOCK_STREAM)
            self._listener.listen()
            self.is_open = open_connections
            if open_connections:
                self._used, self._idle = self._connect(), self._connect()
        except BaseException as error:
            self.close()
            if isinstance(error, OSError):
                check_open_files(error)
                between = f"{source.address} and {target.address}"
                raise FaultError(f"no probe can be made between {between}: {error.strerror}") from error
            raise

    def close(self) -> None:
        """Close all sockets."""
        self._stack.close()

    def ports(self) -> set[int]:
        """The ports that its own connections have."""
        ends = [*self._used.values(), *self._idle.values()] if self.is_open else []
        found = {self._listener.getsockname()[1]}
        for end in ends:
            with suppress(OSError):
                found.add(end.getsockname()[1])
        return found

    # While something is cut

    def send(self, way: Way) -> None:
        """Send a byte on the open connection."""
        try:
            self._used[way].send(_BYTE)
        except OSError as error:
            self._errors[self._used[way]] = error.errno or 0

    def outcome(self, way: Way) -> Answer:
        """What has become of that byte so far."""
        sender, receiver = self._used[way], self._used[_opposite(way)]
        if self._error_of(sender) in _BROKEN:
            return Answer.BROKEN
        with suppress(OSError):
            if receiver.recv(1, socket.MSG_PEEK | socket.MSG_DONTWAIT):
                return Answer.ARRIVED
        return Answer.NONE

    def is_broken(self) -> bool:
        """Whether both ends of the open connection have seen an error."""
        return all(self._error_of(end) in _BROKEN for end in self._used.values())

    def is_unacknowledged(self, way: Way) -> bool:
        """Whether the kernel still waits for an acknowledgement of that byte."""
        with suppress(OSError):
            info = self._used[way].getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
            return bool(struct.unpack_from("=I", info, _UNACKNOWLEDGED)[0])
        return False

    def try_to_connect(self) -> None:
        """Begin to connect from source to target."""
        attempt = self._make(self._source, socket.SOCK_STREAM)
        attempt.setblocking(False)
        self._attempts.append(attempt)
        attempt.connect_ex(self._listener.getsockname())

    def attempt(self) -> Answer:
        """What has become of that attempt so far."""
        attempt = self._attempts[-1]
        if self._error_of(attempt) in _REFUSED:
            return Answer.REFUSED
        with suppress(OSError):
            attempt.getpeername()
            return Answer.CONNECTED
        return Answer.NONE

    def send_datagrams(self, way: Way, count: int, size: int) -> int:
        """Send datagrams of so many bytes as fast as can be, and return how many have arrived at once."""
        sender, arrived = self._datagrams[way], 0
        content, group = _BYTE * size, max(1, min(_GROUP, _GROUP_BYTES // size))
        for first in range(0, count, group):
            for _ in range(min(group, count - first)):
                with suppress(OSError):  # an earlier one was answered as unreachable
                    sender.send(content)
            arrived += self.receive_datagrams(way)  # before the receiver's buffer is full
        return arrived

    def receive_datagrams(self, way: Way) -> int:
        """Take what has arrived, and return how many datagrams that were."""
        receiver = self._datagrams[_opposite(way)]
        arrived = 0
        with suppress(BlockingIOError):
            while True:
                with suppress(ConnectionRefusedError):  # the other way's datagrams were answered as unreachable
                    receiver.recv(_LARGEST)
                    arrived += 1
        return arrived

    # When nothing is cut any more

    def idle_connection_works(self) -> bool:
        """Whether a connection from before, if there is one, passes bytes, both ways."""
        return not self.is_open or all(_passes(self._idle[way], self._idle[_opposite(way)]) for way in Way)

    def new_connection_works(self) -> bool:
        """Whether a new connection passes bytes, both ways."""
        try:
            ends = self._connect()
        except FaultError:
            return False
        return all(_passes(ends[way], ends[_opposite(way)]) for way in Way)

    # Sockets

    def _make(self, host: Host, kind: int) -> socket.socket:
        assert host.namespace is not None  # noqa: S101  # hosts of isolated networks have one
        with inside(host.namespace.descriptor):
            made = self._stack.enter_context(socket.socket(socket.AF_INET, kind))
        made.bind((host.address, 0))
        return made

    def _error_of(self, end: socket.socket) -> int:
        """The last error of a socket. The kernel tells it once."""
        error = end.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
        if error:
            self._errors[end] = error
        return self._errors.get(end, 0)

    def _make_datagrams(self) -> dict[Way, socket.socket]:
        near, far = (self._make(host, socket.SOCK_DGRAM) for host in (self._source, self._target))
        near.connect(far.getsockname())
        far.connect(near.getsockname())
        for end in (near, far):
            end.setblocking(False)
        return {Way.TO: near, Way.FROM: far}

    def _connect(self) -> dict[Way, socket.socket]:
        """The two ends of a new connection, by the way that they send."""
        near = self._make(self._source, socket.SOCK_STREAM)
        for end in (near, self._listener):
            end.settimeout(ARRIVAL_TIMEOUT)
        try:
            near.connect(self._listener.getsockname())
            while True:
                far, peer = self._listener.accept()
                self._stack.enter_context(far)
                if peer == near.getsockname():  # an earlier attempt may have come through since
                    break
        except OSError as error:
            check_open_files(error)
            raise FaultError(f"{self._source.address} does not reach {self._target.address}: {error}") from error
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            end.setblocking(False)
        return {Way.TO: near, Way.FROM: far}


def _opposite(way: Way) -> Way:
    return Way.FROM if way is Way.TO else Way.TO


def _passes(sender: socket.socket, receiver: socket.socket) -> bool:
    sender.settimeout(ARRIVAL_TIMEOUT)
    receiver.settimeout(ARRIVAL_TIMEOUT)
    try:
        sender.sendall(_BYTE)
        return receiver.recv(1) == _BYTE
    except OSError:
        return False
