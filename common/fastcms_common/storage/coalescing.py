"""Reads by id that share a round trip.

A driver's call has a fixed price, many times that of the read itself. All gets of one turn of the event loop become
one call; each caller still gets an answer, a copy and an error of its own, and one who gives up takes nothing from the
others.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from fastcms_common.errors import DomainError

# How many ids one call asks for at most: documents may be large.
TOGETHER = 200


class Coalescer:
    """Collects `get(table, id)` calls of one turn. `fetch(table, ids)` answers in the order of the ids; an answer must
    be immutable, because several callers may get the same one."""

    def __init__(self, fetch: Callable[[str, Sequence[str]], Awaitable[Sequence[Any]]]) -> None:
        self._fetch = fetch
        self._waiting: dict[str, dict[str, list[asyncio.Future[Any]]]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def get(self, table: str, id: str) -> asyncio.Future[Any]:
        """What `fetch` says for this id, or a DomainError of the caller's own."""
        loop = asyncio.get_running_loop()
        if not self._waiting:
            loop.call_soon(self._start)
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.setdefault(table, {}).setdefault(id, []).append(future)
        return future

    def _start(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for table, callers in waiting.items():
            ids = list(callers)
            for start in range(0, len(ids), TOGETHER):
                some = {id: callers[id] for id in ids[start : start + TOGETHER]}
                task = asyncio.ensure_future(self._answer(table, some))
                self._tasks.add(task)
                task.add_done_callback(self._tasks.discard)

    async def _answer(self, table: str, callers: dict[str, list[asyncio.Future[Any]]]) -> None:
        ids = [id for id, futures in callers.items() if not all(future.cancelled() for future in futures)]
        if not ids:
            return
        try:
            answers = await self._fetch(table, ids)
        except Exception as error:  # noqa: BLE001 - it is raised where the callers wait
            for future in (future for futures in callers.values() for future in futures if not future.done()):
                future.set_exception(_copy(error))
            return
        for id, answer in zip(ids, answers, strict=True):
            for future in callers[id]:
                if not future.done():
                    future.set_result(answer)


def _copy(error: Exception) -> Exception:
    """An error of one's own: a traceback grows wherever an exception is raised, and callers may add notes to it."""
    own = error.__class__.__new__(error.__class__, *error.args)
    own.args = error.args
    own.__dict__.update(error.__dict__)
    own.__cause__ = error if isinstance(error, DomainError) else error.__cause__
    return own
