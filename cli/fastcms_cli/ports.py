"""Where a run listens.

The gateway's port is the one that was asked for, and the supervisor binds it itself: a port that is taken is noticed
before anything is started, port 0 gives a free one without a race, and while a gateway is started again its callers
wait in the queue of the socket instead of being turned away.

The other ports are out of the way, below the ranges from which Linux (32768) and macOS (49152) take the ports of
outgoing connections. Where the search begins follows from the gateway's port: a run keeps its addresses from start to
start, and two runs on neighbouring ports (8000 and 8001) begin sixteen ports apart and do not meet.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator

from fastcms_cli.config import BadStart

LOOPBACK = "127.0.0.1"
FIRST_PORT = 20_000
LAST_PORT = 32_767
PORTS_PER_RUN = 16
BACKLOG = 2048


def address(host: str, port: int) -> str:
    """`host:port`, with the brackets that an IPv6 host needs (RFC 3986, 3.2.2)."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def listen(host: str, port: int) -> socket.socket:
    """A socket that listens there; 0 is any free port. Raises BadStart where it cannot be had."""
    try:
        family, kind, protocol, _, where = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        listener = socket.socket(family, kind, protocol)
    except OSError as error:
        raise BadStart(f"FASTCMS_HOST {host} is no address to listen on: {error.strerror}") from None
    # Without this a port would count as taken for a minute after the run that had it.
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(where)
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno == errno.EADDRINUSE:
            raise BadStart(f"FASTCMS_PORT {port} is taken by another program on {host}") from None
        if error.errno == errno.EADDRNOTAVAIL:
            raise BadStart(f"FASTCMS_HOST {host} is not an address of this machine") from None
        raise BadStart(f"FASTCMS_PORT {port} cannot be listened on: {error.strerror}") from None
    return listener


def free_ports(gateway_port: int) -> Iterator[int]:
    """Ports on the loopback address on which nobody listens, each given once."""
    count = LAST_PORT - FIRST_PORT + 1
    start = gateway_port * PORTS_PER_RUN % count
    for offset in range(count):
        port = FIRST_PORT + (start + offset) % count
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((LOOPBACK, port))
            except OSError:
                continue
        yield port
    raise BadStart(f"every port from {FIRST_PORT} to {LAST_PORT} is taken")
