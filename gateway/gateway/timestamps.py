"""Times as RFC 3339 has them: any offset in, UTC with `Z` out, with milliseconds or as many more digits as it takes."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Final

from google.protobuf.timestamp_pb2 import Timestamp

EXPECTED: Final = "Must be a time such as 2026-03-02T12:30:00Z."

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND: Final = timedelta(seconds=1)


def parse(text: str) -> Timestamp:
    """Raises ValueError for all but `YYYY-MM-DDThh:mm:ss[.f…](Z|±hh:mm)` with at most nine digits of fraction."""
    if len(text) < 20 or not text.isascii() or text[10] != "T":
        raise ValueError(text)
    moment, rest = text[:19], text[19:]
    nanos = 0
    if rest[0] == ".":
        end = 1
        while end < len(rest) and rest[end].isdigit():
            end += 1
        if not 2 <= end <= 10:
            raise ValueError(text)
        nanos = int(rest[1:end].ljust(9, "0"))
        rest = rest[end:]
    if rest == "Z":
        offset = "+00:00"
    elif len(rest) == 6 and rest[0] in "+-" and rest[3] == ":":
        offset = rest
    else:
        raise ValueError(text)
    # fromisoformat takes more than RFC 3339 does; the length and the places of the marks leave it no choice.
    if moment[4] != "-" or moment[7] != "-" or moment[13] != ":" or moment[16] != ":":
        raise ValueError(text)
    since = datetime.fromisoformat(moment + offset) - _EPOCH
    seconds = since // _SECOND
    if not -62_135_596_800 <= seconds <= 253_402_300_799:
        raise ValueError(text)
    return Timestamp(seconds=seconds, nanos=nanos)


def text_of(timestamp: Timestamp) -> str:
    """`2026-03-02T12:30:00.000Z`: three digits of fraction, six or nine where the value has them."""
    moment = (_EPOCH + timedelta(seconds=timestamp.seconds)).isoformat()[:19]
    nanos = timestamp.nanos
    if nanos % 1_000_000 == 0:
        return f"{moment}.{nanos // 1_000_000:03d}Z"
    if nanos % 1_000 == 0:
        return f"{moment}.{nanos // 1_000:06d}Z"
    return f"{moment}.{nanos:09d}Z"
