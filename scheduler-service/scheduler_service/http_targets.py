"""Where HTTP jobs may go: to public addresses, and to hosts that the operator has named.

A job runs inside the network, with the network's trust, on the word of whoever may edit jobs. So loopback, private,
link-local (the clouds' metadata at 169.254.169.254 among them), multicast and reserved addresses are refused, in every
notation that stands for them (OWASP, Server-Side Request Forgery Prevention). The address that was judged is the one
that is connected to: a name that resolves to something else a moment later gains nothing.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence
from dataclasses import dataclass
from urllib.parse import urlsplit

Address = ipaddress.IPv4Address | ipaddress.IPv6Address

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)")
# An IPv6 address, without a zone, which would mean something on one machine only.
_BRACKETS = re.compile(r"\[[0-9A-Fa-f:.]+\](:[0-9]*)?")
_NAT64 = ipaddress.ip_network("64:ff9b::/96")
_IPV4_COMPATIBLE = ipaddress.ip_network("::/96")
# What `ipaddress` of all supported Pythons does not know to be special: protocol assignments (a cloud's metadata among
# them), relays of 6to4, documentation; and Azure's host agent, which answers on an address that only looks public.
_INWARD = tuple(
    ipaddress.ip_network(text)
    for text in ("192.0.0.0/24", "192.88.99.0/24", "168.63.129.16/32", "64:ff9b:1::/48", "3fff::/20")
)


@dataclass(frozen=True, slots=True)
class Target:
    """The parts of a URL that decide where a request goes."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def authority(self) -> str:
        """What the Host header says."""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return host if self.port == _default_port(self.scheme) else f"{host}:{self.port}"


def parse_url(url: str) -> Target:
    """The target of an absolute http or https URL. ValueError with a sentence for a person."""
    if any(ord(char) <= 0x20 or char in '\x7f\\"<>^`{|}' for char in url):
        raise ValueError("must not contain spaces, control characters or backslashes")
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        raise ValueError("must be a valid URL") from None
    if "[" in parts.netloc and not _BRACKETS.fullmatch(parts.netloc):
        raise ValueError("must be a valid URL")
    if parts.scheme not in ("http", "https"):
        raise ValueError("must begin with http:// or https://")
    if parts.username is not None or parts.password is not None:
        raise ValueError("must not contain a user name or password; use a header")
    if parts.fragment:
        raise ValueError("must not have a fragment")
    if port == 0:
        raise ValueError("must have a port between 1 and 65535")
    host = _host(parts.hostname or "")
    path = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
    return Target(parts.scheme, host, port or _default_port(parts.scheme), path)


def literal_address(host: str) -> Address | None:
    """The address that `host` is, where it is one."""
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def is_public(address: Address) -> bool:
    """Whether an address is one that anybody on the Internet could reach. IPv6 that carries IPv4 is judged as that."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.scope_id is not None:
            return False
        inner = address.ipv4_mapped or address.sixtofour
        if inner is None and (address in _NAT64 or address in _IPV4_COMPATIBLE):
            inner = ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
        if inner is not None:
            return is_public(inner)
        if address.teredo is not None or address.is_site_local:
            return False
    if any(address in network for network in _INWARD if network.version == address.version):
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def choose(host: str, addresses: Sequence[Address], allowed: frozenset[str]) -> Address:
    """The address of `host` to connect to. ValueError where any of them is not public, unless the host is allowed.

    One bad address among good ones is refused as well: which of them a connection takes is not the job's to choose.
    """
    if not addresses:
        raise ValueError(f"{host} has no address")
    if host not in allowed:
        for address in addresses:
            if not is_public(address):
                raise ValueError(f"{host} is at {address}, which is not a public address")
    return addresses[0]


def _host(host: str) -> str:
    if not host:
        raise ValueError("must have a host")
    if literal_address(host) is not None:
        return str(ipaddress.ip_address(host))
    plain = host.rstrip(".").lower()
    if not plain.isascii():
        try:
            plain = plain.encode("idna").decode()
        except UnicodeError:
            raise ValueError("must have a valid host name") from None
    labels = plain.split(".")
    if len(plain) > 253 or not all(_LABEL.fullmatch(label) for label in labels):
        raise ValueError("must have a valid host name")
    # 127.1, 0x7f.1 and 2130706433 are loopback to the resolvers of C libraries.
    if labels[-1].isdigit() or labels[-1].startswith("0x"):
        raise ValueError("must name its host by a name or by an address in full")
    return plain


def _default_port(scheme: str) -> int:
    return 443 if scheme == "https" else 80
