"""What the gateway sends back."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass
from typing import Final

Header = tuple[bytes, bytes]

JSON: Final = b"application/json"
PROBLEM: Final = b"application/problem+json"


@dataclass(slots=True)
class Answer:
    """A complete answer. An empty `content_type` goes with an empty body."""

    status: int
    body: bytes = b""
    content_type: bytes = b""
    headers: Sequence[Header] = ()


@dataclass(slots=True)
class StreamedAnswer:
    """An answer whose body is sent as it comes, in as many pieces as it takes."""

    status: int
    pieces: AsyncGenerator[bytes, None]
    content_type: bytes
    headers: Sequence[Header] = ()
