"""Identifiers: UUIDv7 (RFC 9562, 5.7) as lower-case text, so that ids sort by time of making."""

from __future__ import annotations

import os
import re
import time

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_last = 0


def new_id() -> str:
    """A new UUIDv7. Ids made by one process are strictly increasing: 12 sub-millisecond bits follow the time."""
    global _last
    # Method 3 of RFC 9562, 6.2: the fraction of the millisecond, in 1/4096, replaces the leftmost random bits.
    ticks = max(time.time_ns() * 4096 // 1_000_000, _last + 1)
    _last = ticks
    millis, fraction = divmod(ticks, 4096)
    tail = int.from_bytes(os.urandom(8)) & ((1 << 62) - 1) | (1 << 63)
    digits = f"{millis:012x}7{fraction:03x}{tail:016x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"


def is_uuid(text: str) -> bool:
    """Whether `text` is a UUID as this system writes it: lower case, with hyphens, of any version."""
    return _UUID.fullmatch(text) is not None
