"""collections-service as it really is, wired by its own `main`, on a port and a database of the test's own."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import grpc.aio
import orjson
from google.api.httpbody_pb2 import HttpBody
from google.protobuf.field_mask_pb2 import FieldMask
from redis.asyncio import Redis

from collections_service import __main__ as collections_main
from collections_service.config import Settings
from fastcms.admin.v1.audit_pb2 import AuditEvent
from fastcms.collections.v1 import (
    collections_pb2,
    collections_pb2_grpc,
    profiles_pb2_grpc,
    records_pb2,
    records_pb2_grpc,
)
from fastcms_common import context
from fastcms_common.audit import EVENT_FIELD
from fastcms_common.channels import open_channel
from fastcms_common.context import Caller, RequestContext
from fastcms_common.errors import Unavailable
from fastcms_common.ids import new_id
from fastcms_common.redis_connection import connect
from fastcms_common.redis_keys import AUDIT_EVENTS, COLLECTION_EVENTS
from tests.contract.collections.keys import Keys
from tests.in_process import running
from tests.ports import free_port

RULES = ("list_rule", "view_rule", "create_rule", "update_rule", "delete_rule", "manage_rule")


class CollectionsServer:
    """One replica, and stubs to it. Calls carry `bearer`; by default they are an admin's, with "" nobody's."""

    def __init__(self, settings: Settings, redis: Redis, keys: Keys, admin: str) -> None:
        self.settings = settings
        self.redis = redis
        self.keys = keys
        self.admin = admin
        self.channel: grpc.aio.Channel = open_channel(settings.listen)
        self.collections = collections_pb2_grpc.CollectionsServiceStub(self.channel)
        self.records = records_pb2_grpc.RecordsServiceStub(self.channel)
        self.profiles = profiles_pb2_grpc.ProfilesServiceStub(self.channel)

    async def call(self, method: Any, request: Any, bearer: str | None = None) -> Any:
        token = self.admin if bearer is None else bearer
        caller = Caller("x", "user") if token else None
        with context.bind(RequestContext(new_id(), client_ip="10.0.0.9", caller=caller, token=token or None)):
            return await method(request)

    async def user(self, id: str | None = None, **claims: object) -> str:
        """A token of a user."""
        return await self.keys.token(self.redis, id, **claims)

    async def service(self) -> str:
        """A token of another service."""
        return await self.keys.token(self.redis, "service:auth-service", role="service")

    async def until_keys_are_there(self) -> None:
        """Returns once the service has fetched the key set that it verifies tokens with."""
        async with asyncio.timeout(20):
            while True:
                try:
                    await self.call(self.collections.ListCollections, collections_pb2.ListCollectionsRequest())
                except Unavailable:
                    await asyncio.sleep(0.005)
                else:
                    return

    # -- collections ----------------------------------------------------------------------------------------------

    async def create(self, name: str, *fields: Any, **more: Any) -> collections_pb2.Collection:
        """A collection. A field is a name (text) or a dict as JSON has it."""
        request = collections_pb2.CreateCollectionRequest(name=name, schema=schema(fields), **more)
        return await self.call(self.collections.CreateCollection, request)

    async def open(self, name: str, *fields: Any, **more: Any) -> collections_pb2.Collection:
        """A collection whose rules let anyone do anything but those that are given."""
        rules = dict.fromkeys(RULES[:5], "") | more
        return await self.create(name, *fields, **{name: value for name, value in rules.items() if value is not None})

    async def change(self, id: str, bearer: str | None = None, **changes: Any) -> collections_pb2.Collection:
        """Changes what is named; None is null."""
        given = {name: value for name, value in changes.items() if value is not None}
        if "schema" in given:
            given["schema"] = schema(given["schema"])
        request = collections_pb2.UpdateCollectionRequest(id=id, update_mask=FieldMask(paths=list(changes)), **given)
        return await self.call(self.collections.UpdateCollection, request, bearer)

    async def shown(self, id: str) -> collections_pb2.Collection:
        """The collection as it is."""
        return await self.call(self.collections.GetCollection, collections_pb2.GetCollectionRequest(id=id))

    async def drop(self, id: str) -> None:
        await self.call(self.collections.DeleteCollection, collections_pb2.DeleteCollectionRequest(id=id))

    async def truncate(self, name: str, **more: Any) -> collections_pb2.TruncateCollectionResponse:
        request = collections_pb2.TruncateCollectionRequest(name=name, **more)
        return await self.call(self.collections.TruncateCollection, request)

    # -- records --------------------------------------------------------------------------------------------------

    async def add(self, collection: str, bearer: str | None = None, /, **data: Any) -> dict[str, Any]:
        """A new record with these values."""
        return await self.send(collection, {"data": data}, bearer)

    async def send(self, collection: str, body: Any, bearer: str | None = None, **more: Any) -> dict[str, Any]:
        """A new record from a body: an object, or the bytes of one."""
        request = records_pb2.CreateRecordRequest(collection=collection, body=_body(body), **more)
        return orjson.loads((await self.call(self.records.CreateRecord, request, bearer)).data)

    async def get(self, collection: str, id: str, bearer: str | None = None, **more: Any) -> dict[str, Any]:
        return orjson.loads((await self.raw(collection, id, bearer, **more)).data)

    async def raw(self, collection: str, id: str, bearer: str | None = None, **more: Any) -> HttpBody:
        request = records_pb2.GetRecordRequest(collection=collection, id=id, **more)
        return await self.call(self.records.GetRecord, request, bearer)

    async def list(self, collection: str, filter: str = "", bearer: str | None = None, **more: Any) -> dict[str, Any]:
        request = records_pb2.ListRecordsRequest(collection=collection, filter=filter, **more)
        return orjson.loads((await self.call(self.records.ListRecords, request, bearer)).data)

    async def values(
        self, collection: str, field: str, filter: str = "", bearer: str | None = None, **more: Any
    ) -> Any:
        """The values of one field in a list."""
        page = await self.list(collection, filter, bearer, **more)
        return [item["data"][field] for item in page["items"]]

    async def patch(
        self, collection: str, id: str, data: Any, bearer: str | None = None, **more: Any
    ) -> dict[str, Any]:
        request = records_pb2.UpdateRecordRequest(collection=collection, id=id, body=_body({"data": data}), **more)
        return orjson.loads((await self.call(self.records.UpdateRecord, request, bearer)).data)

    async def remove(self, collection: str, id: str, bearer: str | None = None, **more: Any) -> None:
        request = records_pb2.DeleteRecordRequest(collection=collection, id=id, **more)
        await self.call(self.records.DeleteRecord, request, bearer)

    async def etag(self, collection: str, id: str, bearer: str | None = None) -> str:
        """The ETag that the record is answered with."""
        token = self.admin if bearer is None else bearer
        call = records_pb2_grpc.RecordsServiceStub(self.channel.raw).GetRecord(  # type: ignore[attr-defined]
            records_pb2.GetRecordRequest(collection=collection, id=id), metadata=(("authorization", f"Bearer {token}"),)
        )
        await call
        return str((await call.trailing_metadata())["etag"])

    # -- what others are told -------------------------------------------------------------------------------------

    async def audit(self, action: str) -> Sequence[AuditEvent]:
        entries = await self.redis.xrange(AUDIT_EVENTS)
        events = [AuditEvent.FromString(fields[EVENT_FIELD.encode()]) for _, fields in entries]
        return [event for event in events if event.event_action == action]

    async def events(self) -> list[dict[str, str]]:
        entries = await self.redis.xrange(COLLECTION_EVENTS)
        return [{key.decode(): value.decode() for key, value in fields.items()} for _, fields in entries]


def schema(fields: Sequence[Any]) -> collections_pb2.Schema:
    """Field definitions as JSON has them, or bare names of text fields."""
    messages = []
    for field in fields:
        given = {"name": field, "type": "text"} if isinstance(field, str) else dict(field)
        if "default" in given:
            given["default"] = orjson.dumps(given["default"])
        messages.append(collections_pb2.SchemaField(**given))
    return collections_pb2.Schema(fields=messages)


def _body(body: Any) -> HttpBody:
    return HttpBody(data=body if isinstance(body, bytes) else orjson.dumps(body))


@asynccontextmanager
async def collections_server(
    keys: Keys, keys_at: str, redis_url: str, storage_url: str, **settings: Any
) -> AsyncIterator[CollectionsServer]:
    """Starts a replica; several with one storage URL share the database."""
    chosen = Settings(
        listen=f"127.0.0.1:{free_port()}",
        redis_url=redis_url,
        storage_url=storage_url,
        auth_service=keys_at,
        leaving_seconds=0,
        drain_seconds=0,
        **settings,
    )
    redis = connect(redis_url)
    server = CollectionsServer(chosen, redis, keys, await keys.token(redis, role="admin", superadmin=True))
    try:
        async with running(collections_main.main(chosen), chosen.listen, server.channel):
            await server.until_keys_are_there()
            yield server
    finally:
        await redis.aclose()
