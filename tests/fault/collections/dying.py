"""A process that dies between two writes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from fastcms_common.storage import Store

WRITES = (
    "ensure",
    "prune",
    "insert",
    "insert_many",
    "replace",
    "update",
    "update_many",
    "delete",
    "delete_many",
    "drop",
)


class Dead(BaseException):
    """Nothing that the process does reaches the database any more."""


class Dying:
    """A store whose process dies before the write of this number: neither that nor anything after it is done."""

    def __init__(self, store: Store, writes: int) -> None:
        self._store = store
        self.left = writes

    def __getattr__(self, name: str) -> Any:
        if name in WRITES:
            self.left -= 1
        if self.left < 0:
            raise Dead
        return getattr(self._store, name)


async def dies(work: Callable[[], Any]) -> bool:
    """Whether the process died of it."""
    try:
        await work()
    except Dead:
        return True
    return False


class Frozen:
    """A store whose process stands still before the write of this number, and `meanwhile` others are at work."""

    def __init__(self, store: Store, writes: int, meanwhile: Callable[[], Awaitable[Any]]) -> None:
        self._store = store
        self.left = writes
        self._meanwhile = meanwhile

    def __getattr__(self, name: str) -> Any:
        does = getattr(self._store, name)
        if name not in WRITES:
            return does

        async def write(*arguments: Any, **options: Any) -> Any:
            self.left -= 1
            if self.left == -1:
                await self._meanwhile()
            return await does(*arguments, **options)

        return write
