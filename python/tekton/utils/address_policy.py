"""Where requests may go whose URL a stranger has given: not into our own network, unless the owner says so.

The control plane can reach what the one who registers a URL cannot: this machine, the network behind it, the metadata
service of a cloud, which hands out credentials. A request on somebody's behalf must not become a way there. So every
address counts as closed that is not of the public Internet, however it is wrapped, except

* the networks in `tekton.security.callback_networks`, at any port;
* ports of this machine that registered components have, where the control plane serves this machine only.

Public addresses are reached at ports 80 and 443: the others belong to protocols that HTTP can be smuggled into.
"""

from collections.abc import Callable, Container, Iterable, Iterator
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_network
from typing import Final

from tekton.utils.strict_urls import IPAddress

IPNetwork = IPv4Network | IPv6Network

_PUBLIC_PORTS: Final = frozenset({80, 443})

_METADATA: Final = frozenset(
    map(
        ip_network,
        # AWS and most others, AWS over IPv6, ECS, Alibaba, Oracle, Azure, which has put its own among the public ones.
        ("169.254.169.254", "fd00:ec2::254", "169.254.170.2", "100.100.100.200", "192.0.0.192", "168.63.129.16"),
    )
)
"""Opened only by a network that is exactly that address."""

_CLOSED: Final = tuple(
    (what, ip_network(network))
    for what, networks in {
        # IANA's registries of special-purpose addresses; what is not listed and not below 2000::/3 is closed, too.
        "this machine": ("127.0.0.0/8", "0.0.0.0/8", "::1", "::"),
        "a private network": ("10.0.0.0/8", "172.16.0.0/12", "192.168.0.0/16", "fc00::/7", "fec0::/10"),
        "the network of a provider": ("100.64.0.0/10",),
        "the local link": ("169.254.0.0/16", "fe80::/10"),
        "a group of machines": ("224.0.0.0/4", "ff00::/8", "255.255.255.255"),
        "a reserved address": (
            *("192.0.0.0/24", "192.0.2.0/24", "192.88.99.0/24", "198.18.0.0/15", "198.51.100.0/24", "203.0.113.0/24"),
            *("240.0.0.0/4", "2001::/23", "2001:db8::/32", "3fff::/20"),
        ),
    }.items()
    for network in networks
)
_GLOBAL_IPV6: Final = IPv6Network("2000::/3")
_NAT64: Final = IPv6Network("64:ff9b::/96")
_COMPATIBLE: Final = IPv6Network("::/96")


class AddressPolicy:
    """Says of an address and a port whether a request may go there.

    *networks* are open; *local_ports* gives the ports of this machine that are open now.
    """

    def __init__(
        self, networks: Iterable[IPNetwork] = (), local_ports: Callable[[], Container[int]] = frozenset
    ) -> None:
        self._networks = tuple(networks)
        self._local_ports = local_ports

    def problem(self, address: IPAddress, port: int) -> str | None:
        """None when a request may go there, else what is there."""
        inner = unwrapped(address)
        if is_metadata(inner):
            return None if ip_network(inner) in self._networks else "the metadata service of a cloud"
        if any(inner in network for network in self._networks):
            return None
        if inner.is_loopback and address == inner and port in self._local_ports():
            return None
        return closed(inner) or (None if port in _PUBLIC_PORTS else f"port {port}")


def closed(address: IPAddress) -> str | None:
    """What keeps *address* from being one of the public Internet; None when it is one."""
    for one in (address, *_embedded(address)):
        for what, network in _CLOSED:
            if one in network:
                return what
    if isinstance(address, IPv6Address) and address not in _GLOBAL_IPV6 and address not in _NAT64:
        return "a reserved address"
    return None


def is_metadata(address: IPAddress) -> bool:
    """True where a cloud tells its machines who they are, and what they may do."""
    return any(unwrapped(address) in network for network in _METADATA)


def unwrapped(address: IPAddress) -> IPAddress:
    """The IPv4 address that *address* stands for (`::ffff:127.0.0.1`), else itself."""
    return (address.ipv4_mapped or address) if isinstance(address, IPv6Address) else address


def _embedded(address: IPAddress) -> Iterator[IPv4Address]:
    """The IPv4 addresses to which a gateway or a tunnel would carry what is sent to *address*."""
    if not isinstance(address, IPv6Address):
        return
    last = IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _NAT64 or address in _COMPATIBLE or _is_isatap(address):
        yield last
    if address.sixtofour is not None:
        yield address.sixtofour
    yield from address.teredo or ()


def _is_isatap(address: IPv6Address) -> bool:
    return (int(address) >> 32) & 0xFFFF == 0x5EFE and (int(address) >> 48) & 0xFDFF == 0
