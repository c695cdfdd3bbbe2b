"""Bodies of any size: rpcs that stream `google.api.HttpBody` in or out. Nothing is held but the piece at hand."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from typing import Any, Final

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

_SETTLE_LOOKS: Final = 50
_SETTLE_SECONDS: Final = 0.01


class UploadEndpoint(RpcEndpoint):
    """A body of any size in, piece by piece; one message out. The first message carries path and query as well."""

    def __init__(self, route: Route, channel: grpc.aio.Channel, authenticator: Authenticator, body_limit: int) -> None:
        super().__init__(route, authenticator, body_limit)
        self._stub = channel.stream_unary(
            route.full_method,
            request_serializer=message_factory.GetMessageClass(route.rpc.input_type).SerializeToString,
            response_deserializer=self._answer_class.FromString,
        )

    async def answer(self, request: Request, segments: Sequence[str]) -> Answer:
        metadata = await self._metadata(request)
        head = self._binding.head(request, segments)
        body: HttpBody = getattr(head, self._route.body)
        body.content_type = request.header(b"content-type") or ""
        call = self._stub(metadata=metadata)
        try:
            await self._send(call, head, request)
            message = await watched(call, call, request)
            return self._answer(request, message, await call.trailing_metadata())
        except grpc.aio.AioRpcError as error:
            raise failure_of(error) from error
        finally:
            # Of a call that is done this says nothing; of one that its client has left it ends the work.
            call.cancel()

    async def _send(self, call: Any, head: Message, request: Request) -> None:
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
            # The same, with the answer still on its way: the write fails first.
            await _settled(call)


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
        call = self._stub(message, metadata=metadata)
        # Until the first piece is there the status is open: an error is still a problem document.
        first = await watched(_first(call), call, request)
        content_type = b"application/octet-stream" if first is None else content_type_of(first)
        return StreamedAnswer(self._status, _pieces(first, call), content_type, (DO_NOT_STORE,))


async def _settled(call: Any) -> None:
    """Returns when the call has the status that the service gave it; until then grpc.aio shows one of its own."""
    for _ in range(_SETTLE_LOOKS):
        if await call.code() is not grpc.StatusCode.INTERNAL:
            return
        await asyncio.sleep(_SETTLE_SECONDS)


async def _first(call: Any) -> HttpBody | None:
    try:
        first = await call.read()
    except grpc.aio.AioRpcError as error:
        raise failure_of(error) from error
    return None if first is grpc.aio.EOF else first


async def _pieces(first: HttpBody | None, call: Any) -> AsyncGenerator[bytes, None]:
    try:
        if first is not None:
            yield first.data
            while (message := await call.read()) is not grpc.aio.EOF:
                yield message.data
    except grpc.aio.AioRpcError as error:
        raise failure_of(error) from error
    finally:
        call.cancel()
