"""Whose address a request comes from: the socket's peer, or what trusted proxies say about it."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Address = IPv4Address | IPv6Address
Network = IPv4Network | IPv6Network

# No chain of proxies is longer; what stands further left was written by the client.
_MAX_HOPS: Final = 16


class ClientAddresses:
    """Finds the client behind the proxies that are trusted.

    `X-Forwarded-For` is read from the right, as long as the one who wrote an entry is trusted; the first address that
    is not a trusted proxy's is the client. IPv4-mapped IPv6 addresses count as IPv4.
    """

    def __init__(self, trusted: Sequence[Network]) -> None:
        self._trusted = tuple(trusted)
        self._is_trusted = lru_cache(maxsize=4096)(self._look_up)

    def client(self, peer: str | None, forwarded: bytes | None) -> str | None:
        """The client's address in canonical text. `peer` is None where the socket has none (a Unix socket)."""
        address = _canonical(peer) if peer else None
        if forwarded is None or not self._trusted or (address is not None and not self._is_trusted(address)):
            return address
        hops = forwarded.decode("latin-1").split(",")
        for hop in reversed(hops[-_MAX_HOPS:]):
            named = _canonical(_without_port(hop.strip()))
            if named is None:
                return address
            address = named
            if not self._is_trusted(address):
                return address
        return address

    def _look_up(self, text: str) -> bool:
        address = ip_address(text)
        return any(address.version == network.version and address in network for network in self._trusted)


def network_of(text: str) -> Network:
    """A network from CIDR text or a single address. Raises ValueError."""
    network = ip_network(text.strip(), strict=False)
    if isinstance(network, IPv6Network) and network.prefixlen >= 96:
        mapped = network.network_address.ipv4_mapped
        if mapped is not None:
            return IPv4Network((mapped, network.prefixlen - 96))
    return network


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str | None:
    """The address in canonical text; None where it is not one."""
    try:
        address = ip_address(text.partition("%")[0])
    except ValueError:
        return None
    if isinstance(address, IPv6Address) and address.ipv4_mapped is not None:
        address = address.ipv4_mapped
    return str(address)


def _without_port(hop: str) -> str:
    """`192.0.2.1:8080` and `[2001:db8::1]:443` without port and brackets; anything else as it is."""
    if hop.startswith("["):
        return hop[1:].partition("]")[0]
    if hop.count(":") == 1:
        return hop.partition(":")[0]
    return hop
