"""Where a deployment's processes run: all on this machine's loopback, or each on a host of its own.

An isolated deployment has a network that only it can see: a switch (a namespace that forwards) and a namespace for each
process, joined to it by a veth pair. This machine has one leg in it, to reach frontends and metrics. All of it is held
by descriptors of this process: it is gone with it, however that dies, since a veth pair dies with either end.

    this machine ──veth── switch ──veth── Frontend-0
                             ├────veth── PositionWorker-0
                             └────veth── etcd-0
"""

import itertools
import os
import secrets
import socket
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from ipaddress import IPv4Address, IPv4Network
from typing import Any, Protocol

from DynamoFaultLibrary.errors import DeploymentError, Unsupported
from DynamoFaultLibrary.ledger import Entry, Ledger, State
from DynamoFaultLibrary.ledger.undo import undo
from DynamoFaultLibrary.net.filter import PacketFilter, Rule
from DynamoFaultLibrary.net.namespace import HeldNamespace, create_namespace, inside
from DynamoFaultLibrary.platforms.local.host import LOOPBACK, Host, check_open_files
from DynamoFaultLibrary.platforms.local.undoers import LINK_PREFIX, local_recipe
from DynamoFaultLibrary.platforms.settings import NetworkMode

POOL = IPv4Network("10.201.0.0/16")
"""Private addresses; each isolated deployment leases a /24 of them that this machine has no route to."""

PREFIX = 24
_GATEWAY, _MACHINE, _FIRST = 1, 2, 11
_SCOPE_LINK = 253
_REMEDY = "run as root, or with 'dynamo-fault run --own-network'"


class Cutting(Protocol):
    """A partition, as its network sees it."""

    def close(self) -> None:
        """Let go of what it has open in the network, which is about to end."""
        ...


class Network(Protocol):
    """Gives processes hosts."""

    def add_host(self, name: str) -> Host:
        """A host for the process of that name."""
        ...

    def close(self) -> None:
        """Take it away."""
        ...


class SharedNetwork:
    """All processes share this machine's loopback."""

    def add_host(self, name: str) -> Host:
        """This machine."""
        return LOOPBACK

    def close(self) -> None:
        """There is nothing to take away."""


class IsolatedNetwork:
    """A switch with a host for each process.

    Raises:
        Unsupported: this process may not make network namespaces.
    """

    def __init__(self, ledger: Ledger) -> None:
        self.hosts: dict[str, Host] = {}
        self.cuts: dict[str, Cutting] = {}
        """Partitions that were made, by the names of their filters; some may have come off by themselves."""
        self.numbers = itertools.count(1)
        """Of partitions, in the order in which they are made."""
        self.link = f"{LINK_PREFIX}{secrets.token_hex(4)}"
        self._ledger = ledger
        self._entry: Entry | None = None
        self._stack = ExitStack()
        try:
            self._set_up()
        except BaseException:
            self.close()
            raise

    def _set_up(self) -> None:
        with _permitted():
            descriptor = self._hold(create_namespace())
            self.switch = HeldNamespace.of(descriptor)
            with inside(descriptor):
                _write_setting("net/ipv4/ip_forward", "1")
                self.filter = self._stack.enter_context(PacketFilter())
                self._route = self._routes()
            with _routes() as machine:
                self.subnet = self._stack.enter_context(leased_subnet(_routed(machine)))
                recipe = local_recipe("unlink", link=self.link)
                target = {"link": self.link, "subnet": str(self.subnet)}
                self._entry = self._ledger.intend("network", target, recipe, is_fault=False)
                self._join_machine(machine, descriptor)

    def _join_machine(self, machine: Any, switch: int) -> None:
        gateway, own = self._address(_GATEWAY), self._address(_MACHINE)
        machine.link("add", ifname=self.link, kind="veth", peer={"ifname": "machine", "net_ns_fd": switch})
        ours, theirs = _index(machine, self.link), _index(self._route, "machine")
        self._route.link("set", index=_index(self._route, "lo"), state="up")
        self._open_port(theirs, own)
        machine.addr("add", index=ours, address=own, prefixlen=32)
        machine.link("set", index=ours, state="up")
        machine.route("add", dst=f"{gateway}/32", oif=ours, scope=_SCOPE_LINK)
        machine.route("add", dst=str(self.subnet), gateway=gateway, prefsrc=own)

    def add_host(self, name: str) -> Host:
        """A namespace that is joined to the switch, with an address of its own.

        Raises:
            DeploymentError: the subnet is full.
            Unsupported: this process may not.
        """
        number = _FIRST + len(self.hosts)
        if number >= self.subnet.num_addresses - 1:
            raise DeploymentError(f"an isolated network has room for {len(self.hosts)} processes, not for '{name}' too")
        address, gateway = self._address(number), self._address(_GATEWAY)
        with _permitted():
            descriptor = self._hold(create_namespace())
            port = f"port{number}"
            self._route.link("add", ifname=port, kind="veth", peer={"ifname": "eth0", "net_ns_fd": descriptor})
            self._open_port(_index(self._route, port), address)
            with inside(descriptor), _routes() as own:
                _forget_ipv6()
                interface = _index(own, "eth0")
                own.link("set", index=_index(own, "lo"), state="up")
                own.addr("add", index=interface, address=address, prefixlen=32)
                own.link("set", index=interface, state="up")
                own.route("add", dst=f"{gateway}/32", oif=interface, scope=_SCOPE_LINK)
                own.route("add", dst="default", gateway=gateway)
        self.hosts[name] = Host(address, "eth0", HeldNamespace.of(descriptor))
        return self.hosts[name]

    def _open_port(self, index: int, address: str) -> None:
        """The switch's end of a veth pair: the gateway's address, and the route to whoever is at the other end."""
        self._route.addr("add", index=index, address=self._address(_GATEWAY), prefixlen=32)
        self._route.link("set", index=index, state="up")
        self._route.route("add", dst=f"{address}/32", oif=index, scope=_SCOPE_LINK)

    def close(self) -> None:
        """Delete this machine's leg and let go of all namespaces.

        Raises:
            RecoveryError: the leg is still there.
        """
        try:
            if self._entry is not None and self._entry.state.is_open:
                self._ledger.mark(self._entry, State.RECOVERED, undo(self._entry.undo))
        finally:
            for cut in list(self.cuts.values()):
                cut.close()
            self._stack.close()

    def _hold(self, descriptor: int) -> int:
        self._stack.callback(os.close, descriptor)
        return descriptor

    def _routes(self) -> Any:
        return self._stack.enter_context(_routes())

    def _address(self, number: int) -> str:
        return str(self.subnet[number])


def make_network(mode: NetworkMode | None, ledger: Ledger) -> Network:
    """The network for a deployment.

    Raises:
        Unsupported: this process may not make an isolated one.
    """
    return IsolatedNetwork(ledger) if mode is NetworkMode.ISOLATED else SharedNetwork()


def check_isolation() -> None:
    """See whether this process may make isolated networks, in namespaces that are gone when this returns.

    Raises:
        Unsupported: it may not; the message says what to do.
        DeploymentError: a package is missing.
    """
    with _permitted(), ExitStack() as stack:
        descriptor = create_namespace()
        stack.callback(os.close, descriptor)
        with inside(descriptor):
            route = stack.enter_context(_routes())
            packets = stack.enter_context(PacketFilter())
        route.link("add", ifname="probe", kind="veth", peer={"ifname": "peer"})
        packets.add_table("probe", [Rule("192.0.2.1", "192.0.2.2")], 0)


def choose_subnet(taken: Sequence[IPv4Network], start: int) -> Iterator[IPv4Network]:
    """Subnets of the pool that overlap with none of `taken`, from the one of number `start` on, each once."""
    subnets = list(POOL.subnets(new_prefix=PREFIX))
    for offset in range(len(subnets)):
        subnet = subnets[(start + offset) % len(subnets)]
        if not any(subnet.overlaps(other) for other in taken):
            yield subnet


@contextmanager
def leased_subnet(taken: Sequence[IPv4Network]) -> Iterator[IPv4Network]:
    """A subnet that no other run of this machine leases: an abstract Unix socket bears its name, as with ports.

    Raises:
        DeploymentError: all are in use.
    """
    for subnet in choose_subnet(taken, os.getpid()):
        lease = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        try:
            lease.bind(f"\0dynamo-fault-subnet-{subnet.network_address}")
        except OSError:
            lease.close()
            continue
        with lease:
            yield subnet
        return
    raise DeploymentError(f"this machine has routes to all subnets of {POOL}; see 'ip route'")


@contextmanager
def _permitted() -> Iterator[None]:
    """Say what is missing when the kernel refuses."""
    try:
        yield
    except PermissionError as error:
        raise Unsupported(f"this process may not make network namespaces ({error.strerror}); {_REMEDY}") from error
    except OSError as error:
        check_open_files(error)
        raise Unsupported(f"this machine cannot make isolated networks: {error}") from error
    except Exception as error:
        if type(error).__name__ != "NetlinkError":  # pyroute2's, which is imported where it is used only
            raise
        check_open_files(error)
        raise Unsupported(f"this machine cannot make isolated networks: {error}; {_REMEDY}") from error


@contextmanager
def _routes() -> Iterator[Any]:
    """Links, addresses and routes of the namespace that the calling thread is in."""
    try:
        from pyroute2.iproute.linux import IPRoute  # 0.2 s of CPU, which only isolated deployments need
    except ImportError as error:
        raise DeploymentError("network=isolated needs the package pyroute2: pip install '.[local]'") from error
    with IPRoute() as route:
        yield route


def _index(route: Any, name: str) -> int:
    (index,) = route.link_lookup(ifname=name)
    return int(index)


def _routed(route: Any) -> list[IPv4Network]:
    """Where this machine has routes to, its default route left out."""
    found = []
    for message in route.get_routes(family=socket.AF_INET):
        target = message.get_attr("RTA_DST")
        if target is not None:
            found.append(IPv4Network((IPv4Address(target), message["dst_len"])))
    return found


def _forget_ipv6() -> None:
    """Dynamo 1.4.2 may choose an interface's link-local IPv6 address for its response streams, and cannot bind it."""
    with suppress(FileNotFoundError):  # this kernel has none
        _write_setting("net/ipv6/conf/all/disable_ipv6", "1")


def _write_setting(name: str, value: str) -> None:
    with open(f"/proc/sys/{name}", "w", encoding="ascii") as setting:
        setting.write(value)
