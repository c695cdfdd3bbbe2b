"""One call on a stream, as the handler of its rpc sees it: the same servicer context as in a plain call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NoReturn

import grpc
import grpc.aio

from fastcms_common.multiplex.frames import Pairs, pairs

_Context = grpc.aio.ServicerContext[Any, Any]


class ServedCall(_Context):
    """Metadata in, status and metadata out. `stream` is the context of the stream that carries the call."""

    def __init__(self, stream: _Context, metadata: Pairs, deadline: float | None) -> None:
        self._stream = stream
        self._metadata = tuple(metadata)
        self._deadline = deadline
        self._code = grpc.StatusCode.OK
        self._details = ""
        self._trailing: tuple[Any, ...] = ()
        self._initial: tuple[Any, ...] = ()
        self._done: list[Callable[[Any], None]] = []
        self.aborted = False
        self.ended = False
        self.given_up = False
        # Ends the call at its deadline.
        self.timer: asyncio.TimerHandle | None = None

    @property
    def initial(self) -> tuple[Any, ...]:
        """What send_initial_metadata was given; it goes with the answer."""
        return self._initial

    def end(self) -> None:
        """To be called when the handler has returned, failed or been cancelled."""
        if self.ended:
            return
        self.ended = True
        if self.timer is not None:
            self.timer.cancel()
        for callback in self._done:
            callback(self)

    async def abort(self, code: grpc.StatusCode, details: str = "", trailing_metadata: Any = ()) -> NoReturn:
        self._code, self._details = code, details
        if trailing_metadata:
            self._trailing = pairs(trailing_metadata)
        self.aborted = True
        raise grpc.aio.AbortError("Locally aborted.")

    async def abort_with_status(self, status: grpc.Status) -> NoReturn:
        await self.abort(status.code, status.details, status.trailing_metadata or ())

    async def send_initial_metadata(self, initial_metadata: Any) -> None:
        self._initial = pairs(initial_metadata)

    def set_trailing_metadata(self, trailing_metadata: Any) -> None:
        self._trailing = pairs(trailing_metadata)

    def invocation_metadata(self) -> Any:
        return self._metadata

    def set_code(self, code: grpc.StatusCode) -> None:
        self._code = code

    def set_details(self, details: str) -> None:
        self._details = details

    def trailing_metadata(self) -> Any:
        return self._trailing

    def code(self) -> grpc.StatusCode:
        return self._code

    def details(self) -> str:
        return self._details

    def time_remaining(self) -> Any:
        """Seconds, None without a deadline."""
        if self._deadline is None:
            return None
        return max(0.0, self._deadline - asyncio.get_running_loop().time())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._done.append(callback)

    def cancelled(self) -> bool:
        return self.given_up

    def done(self) -> bool:
        return self.ended

    def peer(self) -> str:
        return self._stream.peer()

    def peer_identities(self) -> Iterable[bytes] | None:
        return self._stream.peer_identities()

    def peer_identity_key(self) -> str | None:
        return self._stream.peer_identity_key()

    def auth_context(self) -> Mapping[str, Iterable[bytes]]:
        return self._stream.auth_context()

    def set_compression(self, compression: grpc.Compression) -> None:
        """Frames are not compressed: they stay between neighbours."""

    def disable_next_message_compression(self) -> None:
        """As above."""

    async def read(self) -> Any:
        raise grpc.aio.UsageError("A unary call has nothing more to read.")

    async def write(self, message: Any) -> None:
        raise grpc.aio.UsageError("A unary call answers by returning.")
