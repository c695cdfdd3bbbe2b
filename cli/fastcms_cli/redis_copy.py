"""What a backup takes from Redis, and how it is put back: keys as `DUMP` gives them, all of one moment."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from contextlib import contextmanager

import redis
from redis.exceptions import RedisError

from fastcms_cli.deployment import Failed
from fastcms_common import redis_keys

BATCH = 500


@contextmanager
def connected(url: str) -> Iterator[redis.Redis]:
    """A client for the suite's Redis. Raises Failed, also for what the block's commands meet."""
    try:
        with redis.Redis.from_url(url, socket_connect_timeout=3, socket_timeout=60) as client:
            client.ping()
            yield client
    except (RedisError, ValueError) as error:
        raise Failed(f"Redis: {error}") from None


def dumped(client: redis.Redis) -> bytes:
    """The keys of `redis_keys.BACKED_UP`, one JSON object a line: `{key, dump}`, both base64."""
    keys = [key for pattern in redis_keys.BACKED_UP for key in client.scan_iter(pattern, count=BATCH)]
    with client.pipeline(transaction=True) as pipe:
        for key in keys:
            pipe.dump(key)
        dumps = pipe.execute()
    lines = [
        json.dumps({"key": base64.b64encode(key).decode(), "dump": base64.b64encode(dump).decode()})
        for key, dump in zip(keys, dumps, strict=True)
        if dump is not None
    ]
    return "".join(f"{line}\n" for line in lines).encode()


def restored(client: redis.Redis, content: bytes) -> None:
    """Puts the keys back. Raises Failed where this Redis is older than the one they come from."""
    for line in content.splitlines():
        entry = json.loads(line)
        try:
            client.restore(base64.b64decode(entry["key"]), 0, base64.b64decode(entry["dump"]), replace=True)
        except redis.ResponseError as error:
            raise Failed(f"this Redis does not read what the backup holds (is it older?): {error}") from None


def occupied(client: redis.Redis) -> bool:
    """Whether a suite has left anything here."""
    return any(True for pattern in redis_keys.ALL for _ in client.scan_iter(pattern, count=BATCH))


def clear(client: redis.Redis) -> None:
    """Takes away all that a suite has left."""
    for pattern in redis_keys.ALL:
        keys = list(client.scan_iter(pattern, count=BATCH))
        for start in range(0, len(keys), BATCH):
            client.unlink(*keys[start : start + BATCH])


def listened_to(client: redis.Redis) -> bool:
    """Whether a process of a suite is connected: all of them listen for sessions that end."""
    ((_, listeners),) = client.pubsub_numsub(redis_keys.SESSION_REVOKED)
    return bool(listeners)
