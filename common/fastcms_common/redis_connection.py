"""The connection to Redis, and what its failures mean to a caller."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import redis.exceptions
from redis.asyncio import BlockingConnectionPool, Redis
from redis.asyncio.retry import Retry
from redis.backoff import ExponentialWithJitterBackoff
from redis.driver_info import DriverInfo

from fastcms_common import tracing
from fastcms_common.errors import Unavailable

# What a connection says of its client: found out once rather than by each connection, which costs 1 ms.
_DRIVER = DriverInfo()
# A server that restarts answers LOADING while it reads its log back, and READONLY while a replica takes over.
DOWN = (
    redis.exceptions.ConnectionError,
    redis.exceptions.TimeoutError,
    redis.exceptions.BusyLoadingError,
    redis.exceptions.ReadOnlyError,
)


def connect(url: str, **options: Any) -> Redis:
    """A client for `url` (redis://, rediss:// or unix://), answering bytes.

    Connects on first use. A command whose connection was lost is sent again, twice at the most, on a new one: what is
    written must bear being written twice. `DOWN` is what is raised when the server stays away.
    """
    settings: dict[str, Any] = {
        "protocol": 3,
        "socket_timeout": 2.0,
        "socket_connect_timeout": 1.0,
        "health_check_interval": 0,
        "driver_info": _DRIVER,
        "retry": Retry(ExponentialWithJitterBackoff(base=0.02, cap=0.2), 2),
        "retry_on_error": [redis.exceptions.ConnectionError],
        # More calls than connections wait for their turn rather than fail.
        "max_connections": 64,
        "timeout": 2.0,
    }
    kind = Redis
    if (spans := tracing.active()) is not None:
        from fastcms_common.tracing.stores import traced_redis

        kind = traced_redis(spans)
    return kind.from_pool(BlockingConnectionPool.from_url(url, **{**settings, **options}))


@contextmanager
def redis_errors() -> Iterator[None]:
    """Turns a Redis that is away into `Unavailable`."""
    try:
        yield
    except DOWN as error:
        raise Unavailable("Redis cannot be reached.", reason="REDIS_UNAVAILABLE") from error
