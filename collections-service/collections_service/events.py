"""What other services are told of: members and auth collections that went away. Read by auth-service."""

from __future__ import annotations

from redis.asyncio import Redis

from collections_service.models import Collection
from fastcms_common import redis_keys
from fastcms_common.events import EventStream


class CollectionEvents:
    """The stream `events:collections`.

    An entry has `event` (record_deleted, collection_truncated, collection_deleted), `collection_id`, `collection` (its
    name) and, for a record, `record_id`. Only auth collections are told of: nobody else has anything elsewhere.
    """

    def __init__(self, redis: Redis) -> None:
        self._stream = EventStream(redis, redis_keys.COLLECTION_EVENTS)

    async def record_deleted(self, collection: Collection, record_id: str) -> None:
        await self._publish("record_deleted", collection, {"record_id": record_id})

    async def truncated(self, collection: Collection) -> None:
        await self._publish("collection_truncated", collection, {})

    async def collection_deleted(self, collection: Collection) -> None:
        await self._publish("collection_deleted", collection, {})

    async def _publish(self, event: str, collection: Collection, more: dict[str, str]) -> None:
        if collection.type == "auth":
            fields = {"event": event, "collection_id": collection.id, "collection": collection.name, **more}
            await self._stream.publish(fields)
