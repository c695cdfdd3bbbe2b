"""Connections that do not put up with everything, and that write a whole answer at once.

uvicorn's httptools protocol takes heads of any size for any time; the limits, in bytes, number and time, have to stand
where the bytes come in. And it looks at every header of every answer by two regular expressions, which takes a tenth of
the time of a short request.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from fastcms_common.ids import new_id
from gateway.answers import Answer, Header
from gateway.problems import document
from gateway.requests import Send

MAX_HEADERS: Final = 100
# What uvicorn's setting of the name `h11_max_incomplete_event_size` says where it is not given.
_MAX_HEAD: Final = 32 * 1024


class GuardedProtocol(HttpToolsProtocol):
    """The protocol class for uvicorn. Bytes of a head are limited by `h11_max_incomplete_event_size`."""

    head_seconds = 10.0
    """How long a client may take to send the head of a request."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._max_head = self.config.h11_max_incomplete_event_size or _MAX_HEAD
        self._head = 0
        self._in_head = True
        self._deadline: asyncio.TimerHandle | None = None
        self._refused = False

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._deadline = self.loop.call_later(self.head_seconds, self._too_slow)

    def connection_lost(self, exc: Exception | None) -> None:
        self._stop_clock()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        super().data_received(data)
        # Heads mostly come whole; only one that does not is worth a timer.
        if self._in_head and self._deadline is None and not self.transport.is_closing():
            self._deadline = self.loop.call_later(self.head_seconds, self._too_slow)

    def on_message_begin(self) -> None:
        self._head = 0
        self._in_head = True
        super().on_message_begin()

    def on_url(self, url: bytes) -> None:
        self._head += len(url)
        if self._head > self._max_head:
            self._refuse(document(414, "URI_TOO_LONG", f"The address is longer than {self._max_head} bytes.", new_id()))
        else:
            super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        # Two bytes for the colon and the blank, two for the end of the line.
        self._head += len(name) + len(value) + 4
        if self._head > self._max_head or len(self.headers) >= MAX_HEADERS:
            detail = f"The headers are more than {MAX_HEADERS} or larger than {self._max_head} bytes."
            self._refuse(document(431, "HEADERS_TOO_LARGE", detail, new_id()))
        else:
            super().on_header(name, value)

    def on_headers_complete(self) -> None:
        self._in_head = False
        self._stop_clock()
        if not self._refused:
            super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        if not self._refused:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if not self._refused:
            super().on_message_complete()

    def send_400_response(self, msg: str) -> None:
        self._refuse(document(400, "MALFORMED_REQUEST", "This is not HTTP.", new_id()))

    def _stop_clock(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _too_slow(self) -> None:
        self._refuse(document(408, "REQUEST_TIMEOUT", "The request did not arrive in time.", new_id()))

    def _refuse(self, answer: Answer) -> None:
        """Answers without the application and closes. An answer under way is cut off."""
        if self._refused:
            return
        self._refused = True
        self._stop_clock()
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete:
            self.transport.write(_text(answer))
        self.transport.close()


def _text(answer: Answer) -> bytes:
    lines = [
        STATUS_LINE[answer.status],
        b"content-type: " + answer.content_type + b"\r\n",
        b"content-length: " + str(len(answer.body)).encode("ascii") + b"\r\n",
        b"connection: close\r\n\r\n",
        answer.body,
    ]
    return b"".join(lines)


def lines_of(headers: Sequence[Header]) -> bytes:
    """Headers as they are sent. Raises ValueError where one would end its line, and begin another."""
    lines = b"".join([part for name, value in headers for part in (name, b": ", value, b"\r\n")])
    if lines.count(b"\n") != len(headers) or lines.count(b"\r") != len(headers) or b"\0" in lines:
        raise ValueError("A header holds a line break or a NUL.")
    return lines


def write_at_once(send: Send, status: int, lines: bytes, body: bytes) -> bool:
    """Writes a whole answer where `send` is that of a connection which is ready for it; says whether it was.

    `lines` are the headers with their line ends, and the length of the body is among them. It does what sending the two
    messages of ASGI would do, which is the way where this says False.
    """
    cycle = getattr(send, "__self__", None)
    if not isinstance(cycle, RequestResponseCycle) or cycle.flow.write_paused or cycle.response_started:
        return False
    if cycle.disconnected:
        return True
    cycle.response_started = cycle.response_complete = True
    cycle.waiting_for_100_continue = False
    parts = [STATUS_LINE[status], lines_of(cycle.default_headers), lines]
    if not cycle.keep_alive:
        parts.append(b"connection: close\r\n")
    parts.append(b"\r\n")
    if cycle.scope["method"] != "HEAD":
        parts.append(body)
    cycle.transport.write(b"".join(parts))
    cycle.message_event.set()
    if not cycle.keep_alive:
        cycle.transport.close()
    cycle.on_response()
    return True
