"""The little of netlink(7) that is needed here: attributes, messages, one socket that asks and reads the answers."""

import os
import socket
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import IntFlag
from typing import Self

_HEADER = struct.Struct("=IHHII")
_ATTRIBUTE = struct.Struct("=HH")
_NESTED = 0x8000
_TYPE_MASK = 0x3FFF
_ERROR, _DONE = 2, 3
_ANSWER_TIMEOUT = 5.0
_BUFFER = 2**20


class Flag(IntFlag):
    """Flags of a message's header."""

    REQUEST = 0x1
    ACK = 0x4
    DUMP = 0x300
    CREATE = 0x400
    APPEND = 0x800


def attribute(kind: int, content: bytes | str | Sequence[bytes]) -> bytes:
    """One attribute: bytes, a text, or nested attributes."""
    if isinstance(content, str):
        content = content.encode() + b"\0"
    elif not isinstance(content, bytes):
        content = b"".join(content)
        kind |= _NESTED
    length = _ATTRIBUTE.size + len(content)
    return _ATTRIBUTE.pack(length, kind) + content + b"\0" * (-length % 4)


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """The attributes that `data` consists of, as type and content."""
    while len(data) >= _ATTRIBUTE.size:
        length, kind = _ATTRIBUTE.unpack_from(data)
        yield kind & _TYPE_MASK, data[_ATTRIBUTE.size : length]
        data = data[(length + 3) & ~3 :]


@dataclass(frozen=True)
class Message:
    """One message; `body` is what follows the header."""

    kind: int
    flags: Flag
    body: bytes


class NetlinkSocket:
    """A socket of one netlink family, in the namespace that it was made in."""

    def __init__(self, family: int) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC, family)
        self._socket.bind((0, 0))
        self._socket.settimeout(_ANSWER_TIMEOUT)
        self._sequence = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *ignored: object) -> None:
        self.close()

    def close(self) -> None:
        """Close it."""
        self._socket.close()

    def send(self, messages: Sequence[Message]) -> None:
        """Send messages in one datagram and wait until the kernel has acknowledged each that asks for it.

        Raises:
            OSError: the kernel refuses one.
        """
        first = self._sequence + 1
        wanted = {first + index for index, message in enumerate(messages) if message.flags & Flag.ACK}
        self._socket.send(b"".join(self._number(message) for message in messages))
        while wanted:
            for kind, sequence, body in self._receive():
                if kind == _ERROR and first <= sequence <= self._sequence:
                    _raise_if_refused(body)
                    wanted.discard(sequence)

    def dump(self, message: Message) -> list[bytes]:
        """Bodies of the answers to a request for a list.

        Raises:
            OSError: the kernel refuses.
        """
        self._socket.send(self._number(message))
        found: list[bytes] = []
        while True:
            for kind, sequence, body in self._receive():
                if sequence != self._sequence:
                    continue
                if kind == _ERROR:
                    _raise_if_refused(body)
                if kind in (_DONE, _ERROR):
                    return found
                found.append(body)

    def _number(self, message: Message) -> bytes:
        self._sequence += 1
        length = _HEADER.size + len(message.body)
        return _HEADER.pack(length, message.kind, message.flags, self._sequence, 0) + message.body

    def _receive(self) -> Iterator[tuple[int, int, bytes]]:
        data = self._socket.recv(_BUFFER)
        while data:
            length, kind, _, sequence, _ = _HEADER.unpack_from(data)
            yield kind, sequence, data[_HEADER.size : length]
            data = data[(length + 3) & ~3 :]


def _raise_if_refused(body: bytes) -> None:
    (number,) = struct.unpack_from("=i", body)
    if number:
        raise OSError(-number, os.strerror(-number))
