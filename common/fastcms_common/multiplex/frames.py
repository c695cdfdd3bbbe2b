"""What is on the wire: MessagePack arrays, each call and each answer encoded by itself and joined into frames.

By itself, so that one that cannot be encoded spoils no other, and so that the size of a frame is known as it grows.
To the server a frame is `[calls, ids of calls that are given up]`, to the client `[word, answers, parts]`.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import msgspec

METHOD: Final = "/fastcms.multiplex.v1.Channel/Exchange"

# Bytes. A message up to PART travels whole. A larger request goes by plain gRPC; a larger answer in parts, between
# which the small ones pass.
PART: Final = 64 * 1024
# A frame takes no more once it is this large.
FRAME: Final = 256 * 1024

# The first word of a stream is positive: how many calls the server takes on it at once. Later ones are these.
NOTHING: Final = 0
GO_AWAY: Final = -1

Pairs = list[tuple[str, Any]]
"""Metadata: values are str, or bytes where the key ends in -bin."""

Call = tuple[int, str, float | None, Pairs, bytes]
"""Id, method path, seconds left (None: no deadline), metadata, request."""

Answer = tuple[int, int, bytes, str, Pairs, Pairs]
"""Id, status code, response or what its parts have left of it, details, trailing and initial metadata."""

Part = tuple[int, bytes]
"""Id and the next bytes of its response."""

_encode = msgspec.msgpack.Encoder().encode
decode_calls = msgspec.msgpack.Decoder(tuple[list[Call], list[int]]).decode
decode_answers = msgspec.msgpack.Decoder(tuple[int, list[Answer], list[Part]]).decode

BadFrame = msgspec.DecodeError
BadValue = (TypeError, ValueError, OverflowError)
"""What `entry` raises for what cannot be sent, such as a lone surrogate in metadata."""


def entry(content: tuple[Any, ...]) -> bytes:
    """One call, answer or part. Raises one of BadValue."""
    return _encode(content)


def calls_frame(calls: list[bytes], given_up: list[int]) -> bytes:
    return b"\x92" + _array(calls) + _encode(given_up)


def answers_frame(word: int, answers: list[bytes], parts: list[bytes]) -> bytes:
    return b"\x93" + _encode(word) + _array(answers) + _array(parts)


def pairs(metadata: Iterable[Any] | None) -> tuple[Any, ...]:
    """Metadata, in whichever form gRPC takes it, as pairs that can be encoded."""
    return tuple(metadata) if metadata else ()


def _array(entries: list[bytes]) -> bytes:
    return b"\xdd" + len(entries).to_bytes(4, "big") + b"".join(entries)
