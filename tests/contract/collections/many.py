"""The bulk routes, as a client calls them."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterable
from typing import Any

import orjson
from google.api.httpbody_pb2 import HttpBody

from fastcms.collections.v1 import records_pb2
from tests.contract.collections.server import CollectionsServer


class Many:
    """The bulk routes of one collection."""

    def __init__(self, server: CollectionsServer) -> None:
        self.server = server

    async def call(self, name: str, body: Any, bearer: str | None = None, **more: Any) -> dict[str, Any]:
        request = getattr(records_pb2, f"{name}Request")(
            collection="things", body=HttpBody(data=orjson.dumps(body)), **more
        )
        answer = await self.server.call(getattr(self.server.records, name), request, bearer)
        return orjson.loads(answer.data)

    async def batch(self, *items: Any, bearer: str | None = None, **more: Any) -> dict[str, Any]:
        return await self.call("BatchCreateRecords", {"records": list(items)}, bearer, **more)

    async def upsert(self, *items: Any, bearer: str | None = None, **more: Any) -> dict[str, Any]:
        return await self.call("UpsertRecords", {"records": list(items)}, bearer, **more)

    async def update(self, ids: list[str], data: Any, bearer: str | None = None, **more: Any) -> dict[str, Any]:
        return await self.call("BulkUpdateRecords", {"record_ids": ids, "data": data}, bearer, **more)

    async def delete(self, ids: list[str], bearer: str | None = None, **more: Any) -> dict[str, Any]:
        return await self.call("BulkDeleteRecords", {"record_ids": ids}, bearer, **more)

    async def numbers(self) -> list[Any]:
        return await self.server.values("things", "n", sort="n")

    async def export(self, bearer: str | None = None, **more: Any) -> bytes:
        """What an export streams. By the plain channel: the other one carries no streams."""
        from fastcms.collections.v1 import records_pb2_grpc

        stub = records_pb2_grpc.RecordsServiceStub(self.server.channel.raw)  # type: ignore[attr-defined]
        token = self.server.admin if bearer is None else bearer
        metadata = (("authorization", f"Bearer {token}"),) if token else ()
        request = records_pb2.ExportRecordsRequest(collection="things", **more)
        return b"".join([piece.data async for piece in stub.ExportRecords(request, metadata=metadata)])

    async def take(self, text: bytes, content_type: str, step: int | None = 7) -> dict[str, Any]:
        """Imports the text, in small pieces; without `step` in one message with the rest."""
        pieces = [text] if step is None else [b"", *(text[at : at + step] for at in range(0, len(text), step))]
        (answer,) = [answer async for answer in self.taking(pieces, content_type)]
        return answer

    async def taking(self, pieces: Iterable[Any], content_type: str, **more: Any) -> AsyncIterator[dict[str, Any]]:
        """What an import answers, line by line. A piece is bytes, or a function to be called when its turn comes."""
        from fastcms.collections.v1 import records_pb2_grpc

        stub = records_pb2_grpc.RecordsServiceStub(self.server.channel.raw)  # type: ignore[attr-defined]

        async def requests() -> AsyncIterator[records_pb2.ImportRecordsRequest]:
            head = {"collection": "things", **more}
            for piece in pieces:
                data = piece if isinstance(piece, bytes) else await piece()
                body = HttpBody(data=data, content_type=content_type if head else "")
                yield records_pb2.ImportRecordsRequest(body=body, **head)
                head = {}

        metadata = (("authorization", f"Bearer {self.server.admin}"),)
        async for answer in stub.ImportRecords(requests(), metadata=metadata):
            yield orjson.loads(answer.data)
