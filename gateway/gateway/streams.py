"""Bodies of any size: rpcs that stream `google.api.HttpBody` in, out or both. Nothing is held but the piece at hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Coroutine, Sequence
from typing import Any, Final, TypeVar

import grpc
import grpc.aio
from google.api.httpbody_pb2 import HttpBody
from google.protobuf import message_factory
from google.protobuf.message import Message

from fastcms_common.access import Authenticator
from gateway.answers import Answer, StreamedAnswer
from gateway.endpoints import DO_NOT_STORE, RpcEndpoint, content_type_of, failure_of, watched
from gateway.requests import Request
from gateway.routes import Route

T = TypeVar("T")

_SETTLE_LOOKS: Final = 50
_SETTLE_SECONDS: Final = 0.01


class _Upload(RpcEndpoint):
    """A body of any size in, piece by piece. The first message carries path and query as well."""

    def _head(self, request: Request, segments: Sequence[str]) -> Message:
        head = self._binding.head(request, segments)
        body: HttpBody = getattr(head, self._route.body)
        body.content_type = request.header(b"content-type") or ""
        return head

    async def _send(self, call: Any, ending: _Ending, head: Message, request: Request) -> None:
        message = head
        try:
            async for piece in request.pieces(self._route.rest.max_body_bytes):
                getattr(message, self._route.body).data = piece
                await call.write(message)
                message = self._binding.empty()
            if message is head:
                await call.write(head)
            await call.done_writing()
        except asyncio.InvalidStateError:
            # The service has answered before it has seen everything; its answer is what counts.
            return
        except grpc.aio.AioRpcError:
            # The same, while a piece was being written.
            await ending.settled()


class UploadEndpoint(_Upload):
    """A body in; one message out."""

    def __init__(self, route: Route, channel: grpc.aio.Channel, authenticator: Authenticator, body_limit: int) -> None:
        super().__init__(route, authenticator, body_limit)
        self._stub = channel.stream_unary(
            route.full_method,
            request_serializer=message_factory.GetMessageClass(route.rpc.input_type).SerializeToString,
            response_deserializer=self._answer_class.FromString,
        )

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer:
        metadata = await self._metadata(request)
        head = self._head(request, segments)
        await self.reach.wait(plain=True)
        call = self._stub(metadata=metadata)
        ending = _Ending(call)
        try:
            await self._send(call, ending, head, request)
            message = await watched(call, call, request)
            return self._answer(request, message, await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            raise failure_of(await ending.told(error)) from error
        finally:
            # Of a call that is done this says nothing; of one that its client has left it ends the work.
            call.cancel()


class ExchangeEndpoint(_Upload):
    """A body in, and one out, which may begin while the first is still coming in."""

    def __init__(self, route: Route, channel: grpc.aio.Channel, authenticator: Authenticator, body_limit: int) -> None:
        super().__init__(route, authenticator, body_limit)
        self._stub = channel.stream_stream(
            route.full_method,
            request_serializer=message_factory.GetMessageClass(route.rpc.input_type).SerializeToString,
            response_deserializer=self._answer_class.FromString,
        )

    async def answer(self, request: Request, segments: Sequence[str]) -> StreamedAnswer:
        metadata = await self._metadata(request)
        head = self._head(request, segments)
        await self.reach.wait(plain=True)
        call = self._stub(metadata=metadata)
        ending = _Ending(call)
        answers = _Answers(call, ending)
        sending = asyncio.create_task(self._send(call, ending, head, request))
        reading = asyncio.create_task(answers.next())
        try:
            await asyncio.wait((sending, reading), return_when=asyncio.FIRST_COMPLETED)
            if not reading.done():
                # Raises what is wrong with the body; only when it is all in may the client be watched.
                await sending
            first = await (reading if reading.done() else watched(reading, call, request))
        except BaseException:
            call.cancel()
            await _ended(sending, reading)
            raise
        content_type = b"application/octet-stream" if first is None else content_type_of(first)
        return StreamedAnswer(self._status, _pieces(first, answers, sending), content_type, (DO_NOT_STORE,))


class DownloadEndpoint(RpcEndpoint):
    """One message in, a body of any size out."""

    def __init__(self, route: Route, channel: grpc.aio.Channel, authenticator: Authenticator, body_limit: int) -> None:
        super().__init__(route, authenticator, body_limit)
        self._stub = channel.unary_stream(
            route.full_method,
            request_serializer=message_factory.GetMessageClass(route.rpc.input_type).SerializeToString,
            response_deserializer=self._answer_class.FromString,
        )

    async def answer(self, request: Request, segments: Sequence[str]) -> StreamedAnswer:
        metadata = await self._metadata(request)
        message = await self._binding.message(request, segments)

        async def begin() -> tuple[_Answers, HttpBody | None]:
            call = self._stub(message, metadata=metadata)
            answers = _Answers(call, _Ending(call))
            return answers, await watched(answers.next(), call, request)

        # Until the first piece is there the status is open: an error is still a problem document.
        answers, first = await self._asked(request, begin, plain=True)
        content_type = b"application/octet-stream" if first is None else content_type_of(first)
        return StreamedAnswer(self._status, _pieces(first, answers), content_type, (DO_NOT_STORE,))


class _Ending:
    """The status with which the service has ended a call.

    A write that fails because the call has ended makes grpc.aio show a status of its own, INTERNAL, sometimes before
    the service's has come and sometimes in its place: so that is noted when it comes.
    """

    def __init__(self, call: Any) -> None:
        self._status: grpc.aio.AioRpcError | None = None
        call.add_done_callback(self._note)

    async def settled(self) -> None:
        """Returns when the service's status is known, or does not come."""
        for _ in range(_SETTLE_LOOKS):
            if self._status is not None and self._status.code() is not grpc.StatusCode.INTERNAL:
                return
            await asyncio.sleep(_SETTLE_SECONDS)

    async def told(self, error: grpc.aio.AioRpcError) -> grpc.aio.AioRpcError:
        """The service's status, where `error` is what grpc.aio shows."""
        if self._status is None:
            await self.settled()
        return self._status or error

    def _note(self, call: Any) -> None:
        if self._status is None or self._status.code() is grpc.StatusCode.INTERNAL:
            code, details, trailing = map(_at_once, (call.code(), call.details(), call.trailing_metadata()))
            self._status = grpc.aio.AioRpcError(code, grpc.aio.Metadata(), trailing, details=details)


class _Answers:
    """What a call answers, piece by piece."""

    def __init__(self, call: Any, ending: _Ending) -> None:
        self.call = call
        self._ending = ending

    async def next(self) -> HttpBody | None:
        """The next piece, None at the end. Raises what the failure of the call means."""
        try:
            message = await self.call.read()
        except grpc.aio.AioRpcError as error:
            ended = await self._ending.told(error)
            if ended.code() is grpc.StatusCode.OK:
                return None
            raise failure_of(ended) from error
        return None if message is grpc.aio.EOF else message


def _at_once(told: Coroutine[Any, Any, T]) -> T:
    """What a coroutine gives that has nothing to wait for."""
    try:
        told.send(None)
    except StopIteration as done:
        value: T = done.value
        return value
    raise RuntimeError("the call has not ended")


async def _pieces(
    first: HttpBody | None, answers: _Answers, sending: asyncio.Task[None] | None = None
) -> AsyncGenerator[bytes, None]:
    """The pieces of an answer. Where the body of the request that is still being sent fails, so does the answer."""
    if sending is not None:

        def give_up(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and task.exception() is not None:
                answers.call.cancel()

        sending.add_done_callback(give_up)
    piece = first
    try:
        while piece is not None:
            yield piece.data
            piece = await answers.next()
    except asyncio.CancelledError:
        if sending is not None and sending.done() and not sending.cancelled() and (cause := sending.exception()):
            raise cause from None
        raise
    finally:
        answers.call.cancel()
        if sending is not None:
            await _ended(sending)


async def _ended(*tasks: asyncio.Task[Any]) -> None:
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
