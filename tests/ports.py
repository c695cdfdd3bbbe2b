"""Free ports for servers that tests start."""

from __future__ import annotations

import socket
from random import SystemRandom

# Below those that the system gives to whoever connects somewhere, which may take one between its choice and its use.
_FIRST, _LAST = 10_000, 32_000


def free_port() -> int:
    """A port of 127.0.0.1 that nobody listens on."""
    for port in SystemRandom().sample(range(_FIRST, _LAST), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
        return port
    raise RuntimeError(f"a hundred ports from {_FIRST} on are taken")
