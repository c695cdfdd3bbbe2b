"""One call on a stream, as the one who makes it sees it: the same call object as in a plain call."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Generator
from typing import TYPE_CHECKING, Any

import grpc
import grpc.aio

from fastcms_common.multiplex.frames import Answer, Pairs

if TYPE_CHECKING:
    from fastcms_common.multiplex.streams import Stream
    from fastcms_common.reach import Reach

_CODES = {code.value[0]: code for code in grpc.StatusCode}
_OK = grpc.StatusCode.OK
CLOSED = "The channel was closed."


class MadeCall(grpc.aio.UnaryUnaryCall[Any, Any]):
    """Awaiting it gives the response or raises grpc.aio.AioRpcError. Cancelled, or past its deadline, it leaves its
    stream, which tells the server."""

    # grpc.aio's `Channel.close` looks for calls among the tasks, and takes one without a channel for a defect.
    _channel = None

    def __init__(
        self,
        method: str,
        metadata: tuple[Any, ...],
        request: bytes,
        timeout: float | None,
        deserializer: Callable[[bytes], Any] | None,
    ) -> None:
        self.method = method
        self.metadata = metadata
        self.request = request
        self.stream: Stream | None = None
        self.id = 0
        # Of a large response, what has come of it.
        self.parts: list[bytes] | None = None
        loop = asyncio.get_running_loop()
        self._loop = loop
        self.deserializer = deserializer
        self._future: asyncio.Future[None] = loop.create_future()
        self._deadline = None if timeout is None else loop.time() + timeout
        self._timer = None if timeout is None else loop.call_later(max(0.0, timeout), self._expire)
        self._response: Any = None
        self._code = _OK
        self._details = ""
        self._initial: Pairs | tuple[()] = ()
        self._trailing: Pairs | tuple[()] = ()

    def __await__(self) -> Generator[Any, None, Any]:
        try:
            yield from self._future
        except asyncio.CancelledError:
            self.cancel()
            raise
        if self._code is not _OK:
            raise self._error()
        return self._response

    def answer(self, answer: Answer) -> None:
        """The server's answer has come."""
        if self._future.done():
            return
        _, code, response, self._details, self._trailing, self._initial = answer
        if code:
            self._code = _CODES.get(code, grpc.StatusCode.UNKNOWN)
        else:
            if self.parts is not None:
                response = b"".join([*self.parts, response])
                self.parts = None
            try:
                self._response = response if self.deserializer is None else self.deserializer(response)
            except Exception:  # noqa: BLE001 - what plain gRPC does with it
                self._code, self._details = grpc.StatusCode.INTERNAL, "Exception deserializing response!"
        self._finish()

    def fail(self, code: grpc.StatusCode, details: str) -> None:
        """There is no answer, and there will be none."""
        if not self._future.done():
            self._code, self._details = code, details
            self._finish()

    async def relay(self, reach: Reach, make: Callable[[MadeCall], Any]) -> None:
        """Takes the outcome of a plain call that `make` makes in the place of this one, where it can be made."""
        try:
            await reach.wait(plain=True)
            if self.done():
                return
            call = make(self)
            self._future.add_done_callback(lambda future: call.cancel())
            response = await call
            initial, trailing = await call.initial_metadata(), await call.trailing_metadata()
        except grpc.aio.AioRpcError as error:
            self._initial, self._trailing = list(error.initial_metadata() or ()), list(error.trailing_metadata() or ())
            self.fail(error.code(), error.details() or "")
            return
        except asyncio.CancelledError:
            # The channel was closed. Where the call itself was given up this says nothing more.
            self.fail(grpc.StatusCode.UNAVAILABLE, CLOSED)
            raise
        if not self._future.done():
            self._response, self._initial, self._trailing = response, list(initial), list(trailing)
            self._finish()

    def cancel(self) -> bool:
        if self._future.done() and not self._future.cancelled():
            return False
        first = self._future.cancel()
        if self._code is _OK:
            self._code, self._details = grpc.StatusCode.CANCELLED, "Locally cancelled by application!"
            self._leave()
        return first

    def cancelled(self) -> bool:
        return self._future.cancelled()

    def done(self) -> bool:
        return self._future.done()

    def time_remaining(self) -> float | None:
        return None if self._deadline is None else max(0.0, self._deadline - self._loop.time())

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._future.add_done_callback(lambda future: callback(self))

    async def initial_metadata(self) -> Any:
        await self._ended()
        return grpc.aio.Metadata(*self._initial)

    async def trailing_metadata(self) -> Any:
        await self._ended()
        return grpc.aio.Metadata(*self._trailing)

    async def code(self) -> grpc.StatusCode:
        await self._ended()
        return self._code

    async def details(self) -> str:
        await self._ended()
        return self._details

    async def wait_for_connection(self) -> None:
        """Returns at once: a call is on a stream only where the stream is up."""

    async def _ended(self) -> None:
        """Waits without being taken for the one who waits for the response: given up, this cancels nothing."""
        if not self._future.done():
            await asyncio.wait((self._future,))

    def _expire(self) -> None:
        if not self._future.done():
            self._code, self._details = grpc.StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"
            self._leave()
            self._finish()

    def _leave(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self.stream is not None:
            self.stream.give_up(self)

    def _finish(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self.stream = None
        self._future.set_result(None)

    def _error(self) -> grpc.aio.AioRpcError:
        initial, trailing = grpc.aio.Metadata(*self._initial), grpc.aio.Metadata(*self._trailing)
        return grpc.aio.AioRpcError(self._code, initial, trailing, self._details, f"multiplexed call of {self.method}")
