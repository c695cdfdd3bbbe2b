"""The server's side: the handlers that plain gRPC calls, called for the calls on a stream.

Whatever is wrapped around a handler (access, checks, errors as statuses) is wrapped around it here too. The stream
itself asks for no token: it opens nothing that its calls do not open.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeAlias

import grpc
import grpc.aio

from fastcms_common.channels import MAX_MESSAGE
from fastcms_common.logs import get_logger
from fastcms_common.multiplex import frames
from fastcms_common.multiplex.serving import ServedCall

CALLS_AT_ONCE = 4096

_Handler: TypeAlias = "grpc.RpcMethodHandler[Any, Any]"
_StreamContext = grpc.aio.ServicerContext[bytes, bytes]
_OK = grpc.StatusCode.OK

log = get_logger(__name__)


class Multiplexer:
    """Serves the unary rpcs of what is registered with it, on streams of many calls.

    To the generated `add_…_to_server` functions it is a server. `calls_at_once` bounds what one stream has in flight.
    """

    def __init__(self, calls_at_once: int = CALLS_AT_ONCE) -> None:
        self._calls_at_once = calls_at_once
        self._methods: dict[str, _Handler] = {}
        self._streams: set[_Stream] = set()
        self._draining = False

    def add_generic_rpc_handlers(self, handlers: object) -> None:
        """Part of the old registration; what it would add comes by the next method too."""

    def add_registered_method_handlers(self, service: str, methods: Mapping[str, _Handler]) -> None:
        for name, handler in methods.items():
            if handler.unary_unary is not None:
                self._methods[f"/{service}/{name}"] = handler

    def handler(self) -> grpc.GenericRpcHandler:
        """What a real server has to be given."""
        service, _, method = frames.METHOD[1:].partition("/")
        # Neither way is there a message to parse: frames are bytes.
        exchange: _Handler = grpc.stream_stream_rpc_method_handler(self._exchange)
        return grpc.method_handlers_generic_handler(service, {method: exchange})

    def drain(self) -> None:
        """Asks the clients to go elsewhere. What is in flight, or on its way already, is still answered."""
        self._draining = True
        for stream in self._streams:
            stream.go_away()

    async def _exchange(self, _: object, context: _StreamContext) -> None:
        if self._draining:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "The server is going away.")
        stream = _Stream(context, self._methods, self._calls_at_once)
        self._streams.add(stream)
        try:
            await stream.run()
        except frames.BadFrame as error:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, f"Not a frame: {error}")
        finally:
            self._streams.discard(stream)


@dataclass(slots=True)
class _Large:
    """An answer that goes out in parts, and how far it is."""

    id: int
    response: bytes
    rest: tuple[Any, ...]
    sent: int = 0


class _Stream:
    """One stream: its calls in flight, and the answers that wait to be written."""

    def __init__(self, context: _StreamContext, methods: Mapping[str, _Handler], calls_at_once: int) -> None:
        self._context = context
        self._methods = methods
        self._limit = calls_at_once
        self._loop = asyncio.get_running_loop()
        self._calls: dict[int, tuple[ServedCall, asyncio.Task[None]]] = {}
        self._word = calls_at_once
        self._answers: deque[bytes] = deque()
        self._large: deque[_Large] = deque()
        self._wake = asyncio.Event()
        # There is the first word to be said.
        self._wake.set()
        self._fewer = asyncio.Event()
        self._ending = False

    async def run(self) -> None:
        """Until the client has no more to send and has been told everything. Raises BadFrame."""
        reading, writing = self._loop.create_task(self._read()), self._loop.create_task(self._write())
        try:
            await asyncio.wait((reading, writing), return_when=asyncio.FIRST_COMPLETED)
            if writing.done():
                writing.result()
            reading.result()
            self._ending = True
            self._wake.set()
            await writing
        finally:
            reading.cancel()
            writing.cancel()
            for served, task in self._calls.values():
                served.given_up = True
                task.cancel()
                served.end()
            self._calls.clear()

    def go_away(self) -> None:
        self._word = frames.GO_AWAY
        self._wake.set()

    async def _read(self) -> None:
        while True:
            while self._unanswered() > self._limit:
                # Not reading is what holds a client back that does not count by itself. One that does never gets here,
                # so that what it gives up is read at once.
                self._fewer.clear()
                await self._fewer.wait()
            frame: Any = await self._context.read()
            if frame is grpc.aio.EOF:
                return
            calls, given_up = frames.decode_calls(frame)
            for call in calls:
                self._begin(*call)
            for id_ in given_up:
                self._give_up(id_)

    def _unanswered(self) -> int:
        return len(self._calls) + len(self._answers) + len(self._large)

    def _begin(self, id_: int, method: str, left: float | None, metadata: frames.Pairs, request: bytes) -> None:
        if id_ in self._calls:
            raise frames.BadFrame(f"call {id_} is in flight already")
        handler = self._methods.get(method)
        if handler is None:
            self._queue(frames.entry((id_, grpc.StatusCode.UNIMPLEMENTED.value[0], b"", "Method not found!", (), ())))
            return
        served = ServedCall(self._context, metadata, None if left is None else self._loop.time() + left)
        # A task of its own for each call, and with it a copy of this one's context, which nothing ever enters.
        task = self._loop.create_task(self._serve(id_, handler, served, request))
        self._calls[id_] = (served, task)
        if left is not None:
            served.timer = self._loop.call_later(left, self._give_up, id_)

    def _give_up(self, id_: int) -> None:
        """The client no longer waits, or its deadline has passed: it knows that by itself."""
        found = self._calls.pop(id_, None)
        if found is not None:
            served, task = found
            served.given_up = True
            task.cancel()
            # A task that has not begun to run never will, so this is not its to do.
            served.end()
            self._fewer.set()
            self._wake.set()
        elif self._large:
            self._large = deque(large for large in self._large if large.id != id_)

    async def _serve(self, id_: int, handler: Any, served: ServedCall, request: bytes) -> None:
        response = b""
        try:
            message = await handler.unary_unary(_parsed(handler.request_deserializer, request), served)
            if served.code() is _OK:
                response = _serialized(handler.response_serializer, message)
        except grpc.aio.AbortError:
            response = b""
        except asyncio.CancelledError:
            if served.given_up:
                raise
            served.set_code(grpc.StatusCode.CANCELLED)
        except Exception as error:
            # As plain gRPC does.
            log.error("call failed outside of its handler", exc_info=error)
            served.set_code(grpc.StatusCode.UNKNOWN)
            served.set_details(f"Unexpected {type(error)}: {error}")
        if served.given_up:
            return
        del self._calls[id_]
        served.end()
        self._answer(id_, served, response)

    def _answer(self, id_: int, served: ServedCall, response: bytes) -> None:
        if len(response) > MAX_MESSAGE:
            served.set_code(grpc.StatusCode.RESOURCE_EXHAUSTED)
            served.set_details(f"Sent message larger than max ({len(response)} vs. {MAX_MESSAGE})")
            response = b""
        rest = (served.details(), served.trailing_metadata(), served.initial)
        if len(response) > frames.PART:
            self._large.append(_Large(id_, response, rest))
            self._wake.set()
            return
        try:
            self._queue(frames.entry((id_, served.code().value[0], response, *rest)))
        except frames.BadValue as error:
            log.error("answer cannot be sent", exc_info=error)
            details = "Metadata cannot be encoded."
            self._queue(frames.entry((id_, grpc.StatusCode.INTERNAL.value[0], b"", details, (), ())))

    def _queue(self, answer: bytes) -> None:
        self._answers.append(answer)
        self._wake.set()

    async def _write(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            while self._word or self._answers or self._large:
                await self._context.write(self._frame())
            self._fewer.set()
            if self._ending and not self._calls:
                return

    def _frame(self) -> bytes:
        """What goes out next: the answers in the order in which they finished, then parts of the large ones in turn."""
        word, self._word = self._word, frames.NOTHING
        size = 0
        whole: list[bytes] = []
        while self._answers and size < frames.FRAME:
            answer = self._answers.popleft()
            whole.append(answer)
            size += len(answer)
        parts: list[bytes] = []
        # One part at least, or a stream of small answers would hold up a large one for good.
        while self._large and (size < frames.FRAME or not parts):
            large = self._large.popleft()
            end = large.sent + frames.PART
            if end < len(large.response):
                parts.append(frames.entry((large.id, large.response[large.sent : end])))
                large.sent = end
                self._large.append(large)
            else:
                # The client puts parts before the answer that ends them, so this must not overtake one in this frame.
                whole.append(self._last_of(large))
            size += frames.PART
        return frames.answers_frame(word, whole, parts)

    @staticmethod
    def _last_of(large: _Large) -> bytes:
        last = large.response[large.sent :]
        try:
            return frames.entry((large.id, _OK.value[0], last, *large.rest))
        except frames.BadValue:
            details = "Metadata cannot be encoded."
            return frames.entry((large.id, grpc.StatusCode.INTERNAL.value[0], b"", details, (), ()))


def _parsed(deserializer: Any, request: bytes) -> Any:
    return request if deserializer is None else deserializer(request)


def _serialized(serializer: Any, message: Any) -> bytes:
    if serializer is not None:
        message = serializer(message)
    if not isinstance(message, bytes):
        raise TypeError(f"the response is {type(message).__name__} rather than bytes")
    return message
