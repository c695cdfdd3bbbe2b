"""The database and Redis in traces: a span for each time that one is asked. No value, key or query is in them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, cast

from redis.asyncio import Redis
from redis.asyncio.client import Pipeline

from fastcms_common.storage import Store
from fastcms_common.tracing.spans import Spans

# What of a store asks the database for one table.
_OPERATIONS = (
    *("get", "get_json", "get_many", "find", "count", "first"),
    *("insert", "insert_many", "update", "update_many", "replace", "upsert", "delete", "delete_many"),
)


def traced_store(store: Store, url: str, spans: Spans) -> Store:
    """`store`, which is at `url`, with a span for each operation on a table."""
    return cast(Store, _TracedStore(store, url.partition(":")[0].partition("+")[0], spans))


class _TracedStore:
    def __init__(self, store: Store, system: str, spans: Spans) -> None:
        self._store = store
        for operation in _OPERATIONS:
            setattr(self, operation, _traced(getattr(store, operation), operation, system, spans))

    def __getattr__(self, name: str) -> Any:
        return getattr(self._store, name)


def _traced(
    asked: Callable[..., Awaitable[Any]], operation: str, system: str, spans: Spans
) -> Callable[..., Awaitable[Any]]:
    async def ask(table: str, *arguments: Any, **options: Any) -> Any:
        about = {"db.system.name": system, "db.operation.name": operation, "db.collection.name": table}
        with spans.within(f"{operation} {table}", about):
            return await asked(table, *arguments, **options)

    return ask


def traced_redis(spans: Spans) -> type[Redis]:
    """The class of a client whose commands and pipelines are in the trace of what they are sent for."""

    class TracedPipeline(Pipeline):
        async def execute(self, raise_on_error: bool = True) -> list[Any]:
            about = {"db.system.name": "redis", "db.operation.name": "PIPELINE"}
            with spans.within("PIPELINE", about | {"db.operation.batch.size": len(self.command_stack)}):
                return await super().execute(raise_on_error)

    class TracedRedis(Redis):
        async def execute_command(self, *command: Any, **options: Any) -> Any:
            name = str(command[0])
            with spans.within(name, {"db.system.name": "redis", "db.operation.name": name}):
                return await super().execute_command(*command, **options)  # type: ignore[no-untyped-call]

        def pipeline(self, transaction: bool = True, shard_hint: str | None = None) -> Pipeline:
            return TracedPipeline(self.connection_pool, self.response_callbacks, transaction, shard_hint)

    return TracedRedis
