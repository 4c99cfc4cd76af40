"""Packet filters of a namespace that forwards: nftables, spoken over netlink.

A table holds the rules of one partition and nothing else, so partitions come off one by one whatever else is on. Each
has a chain at the hook `forward`; the chain of a later table is asked first. Numbers from linux/netfilter/nf_tables.h.
"""

import errno
import socket
import struct
from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from DynamoFaultLibrary.net.netlink import Flag, Message, NetlinkSocket, attribute, attributes

_NETLINK_NETFILTER = 12
_NFTABLES = 10
_NEWTABLE, _GETTABLE, _DELTABLE, _NEWCHAIN, _NEWRULE, _GETRULE = (_NFTABLES << 8 | n for n in (0, 1, 2, 3, 6, 7))
_BATCH_BEGIN, _BATCH_END = 16, 17
_IPV4 = 2
_FORWARD = 2
_CHAIN = "forward"
_RULE_TABLE, _RULE_CHAIN, _RULE_EXPRESSIONS = 1, 2, 4
_REGISTER, _VERDICT_REGISTER = 1, 0
_EQUAL, _LESS = 0, 2
_SOURCE_OFFSET = 12
"""Where an IPv4 header has its source address; the target's follows."""
_TCP = 6
_PORT_UNREACHABLE = 3
_HEADER_SIZE = 4


class Verdict(Enum):
    """What becomes of a packet that a rule matches."""

    DROP = "drop"
    RESET = "reset"
    """Answered with a TCP reset; matches TCP alone."""
    UNREACHABLE = "unreachable"
    """Answered with ICMP `port unreachable`."""


@dataclass(frozen=True)
class Rule:
    """Packets from one address to another: all of them, `loss` percent of them, or those beyond `rate` bytes/s."""

    source: str
    target: str
    verdict: Verdict = Verdict.DROP
    loss: int = 100
    rate: int | None = None
    burst: int = 0

    def expressions(self) -> bytes:
        """The rule as nftables sees it."""
        parts = [_matches_addresses(self.source, self.target)]
        if self.verdict is Verdict.RESET:
            parts.append(_matches_tcp())
        if self.loss < 100:
            parts.append(_matches_by_chance(self.loss))
        if self.rate is not None:
            parts.append(_matches_beyond(self.rate, self.burst))
        return b"".join([*parts, _COUNTER, _VERDICTS[self.verdict]])


class PacketFilter(NetlinkSocket):
    """The filter of the namespace that this was made in. What was put in stays when it is closed."""

    def __init__(self) -> None:
        super().__init__(_NETLINK_NETFILTER)

    def add_table(self, name: str, rules: Sequence[Rule], priority: int) -> None:
        """Put in all rules at once; tables of lower priority are asked first.

        Raises:
            OSError: the kernel refuses; nothing is put in then.
        """
        table = attribute(1, name)
        hook = attribute(4, [attribute(1, _be32(_FORWARD)), attribute(2, _be32(priority))])
        self._transact(
            [
                _message(_NEWTABLE, Flag.CREATE, table),
                _message(_NEWCHAIN, Flag.CREATE, table, attribute(3, _CHAIN), hook, attribute(7, "filter")),
                *(self._rule(name, rule) for rule in rules),
            ]
        )

    def delete_table(self, name: str) -> bool:
        """Take a table out; False when there is none of that name.

        Raises:
            OSError: the kernel refuses.
        """
        try:
            self._transact([_message(_DELTABLE, Flag(0), attribute(1, name))])
        except FileNotFoundError:
            return False
        return True

    def tables(self) -> list[str]:
        """Names of all tables."""
        bodies = self.dump(_message(_GETTABLE, Flag.DUMP))
        return [_text(dict(attributes(body[_HEADER_SIZE:]))[1]) for body in bodies]

    def packets(self, name: str) -> list[int]:
        """How many packets each rule of a table has matched, in the order of the rules."""
        bodies = self.dump(_message(_GETRULE, Flag.DUMP, attribute(_RULE_TABLE, name)))
        found = [dict(attributes(body[_HEADER_SIZE:])) for body in bodies]
        return [_counted(rule[_RULE_EXPRESSIONS]) for rule in found if _text(rule[_RULE_TABLE]) == name]

    @staticmethod
    def _rule(table: str, rule: Rule) -> Message:
        place = attribute(_RULE_TABLE, table), attribute(_RULE_CHAIN, _CHAIN)
        return _message(_NEWRULE, Flag.CREATE | Flag.APPEND, *place, attribute(_RULE_EXPRESSIONS, [rule.expressions()]))

    def _transact(self, messages: Sequence[Message]) -> None:
        acknowledged = [Message(message.kind, message.flags | Flag.ACK, message.body) for message in messages]
        frame = _header(0, _NFTABLES)
        try:
            self.send(
                [
                    Message(_BATCH_BEGIN, Flag.REQUEST, frame),
                    *acknowledged,
                    Message(_BATCH_END, Flag.REQUEST, frame),
                ]
            )
        except OSError as error:
            if error.errno in (errno.EOPNOTSUPP, errno.ENOENT) and len(messages) > 1:
                raise OSError(error.errno, f"this kernel lacks a part of nftables: {error.strerror}") from error
            raise


def _header(family: int, resource: int = 0) -> bytes:
    return struct.pack(">BBH", family, 0, resource)


def _message(kind: int, flags: Flag, *parts: bytes) -> Message:
    return Message(kind, Flag.REQUEST | flags, _header(_IPV4) + b"".join(parts))


def _be32(number: int) -> bytes:
    return struct.pack(">I", number & 0xFFFFFFFF)


def _be64(number: int) -> bytes:
    return struct.pack(">Q", number)


def _text(content: bytes) -> str:
    return content.rstrip(b"\0").decode()


def _expression(name: str, parts: Sequence[bytes]) -> bytes:
    return attribute(1, [attribute(1, name), attribute(2, parts)])


def _numbers(*numbers: int) -> list[bytes]:
    """Attributes 1, 2, … of an expression, each a number of 32 bits."""
    return [attribute(kind, _be32(number)) for kind, number in enumerate(numbers, 1)]


def _compare(operator: int, value: bytes) -> bytes:
    return _expression("cmp", [*_numbers(_REGISTER, operator), attribute(3, [attribute(1, value)])])


def _matches_addresses(source: str, target: str) -> bytes:
    wanted = socket.inet_aton(source) + socket.inet_aton(target)
    network_header = 1
    load = _expression("payload", _numbers(_REGISTER, network_header, _SOURCE_OFFSET, len(wanted)))
    return load + _compare(_EQUAL, wanted)


def _matches_tcp() -> bytes:
    layer_4_protocol = 16
    return _expression("meta", _numbers(_REGISTER, layer_4_protocol)) + _compare(_EQUAL, bytes([_TCP]))


def _matches_by_chance(percent: int) -> bytes:
    """A random number below 100, turned to network order since nftables compares bytes, is below `percent`."""
    random, to_network_order = 1, 1
    draw = _expression("numgen", _numbers(_REGISTER, 100, random, 0))
    turn = _expression("byteorder", _numbers(_REGISTER, _REGISTER, to_network_order, 4, 4))
    return draw + turn + _compare(_LESS, _be32(percent))


def _matches_beyond(rate: int, burst: int) -> bytes:
    one_second, in_bytes, inverted = 1, 1, 1
    limit = [attribute(1, _be64(rate)), attribute(2, _be64(one_second))]
    limit += [attribute(3, _be32(burst)), attribute(4, _be32(in_bytes)), attribute(5, _be32(inverted))]
    return _expression("limit", limit)


_COUNTER = _expression("counter", [attribute(1, _be64(0)), attribute(2, _be64(0))])
_DROPPED = [attribute(1, _be32(0))]
_VERDICTS = {
    Verdict.DROP: _expression(
        "immediate", [attribute(1, _be32(_VERDICT_REGISTER)), attribute(2, [attribute(2, _DROPPED)])]
    ),
    Verdict.RESET: _expression("reject", [attribute(1, _be32(1))]),
    Verdict.UNREACHABLE: _expression("reject", [attribute(1, _be32(0)), attribute(2, bytes([_PORT_UNREACHABLE]))]),
}


def _counted(expressions: bytes) -> int:
    for _, content in attributes(expressions):
        parts = dict(attributes(content))
        if _text(parts[1]) == "counter":
            packets: int = struct.unpack(">Q", dict(attributes(parts[2]))[2])[0]
            return packets
    return 0
