"""The SQLite engine: one file in WAL mode, one writing thread with group commit, two reading ones.

An acknowledged write is on the disk (`synchronous=FULL`).
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from functools import partial
from pathlib import Path as FilePath
from queue import SimpleQueue
from typing import Any, Literal, TypeVar

import apsw
import orjson

from fastcms_common.errors import NotFound, Unavailable
from fastcms_common.storage import sqlite_schema as schema
from fastcms_common.storage import sqlite_statements as statements
from fastcms_common.storage.coalescing import Coalescer
from fastcms_common.storage.query import ALL, Query
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.sqlite_connection import connect
from fastcms_common.storage.sqlite_threads import Worker, Writer, time_limit
from fastcms_common.storage.store import After, Change, Duplicate, Plan, Sort, Store, Table, known_table
from fastcms_common.storage.values import Document, check_size

T = TypeVar("T")
READERS = 2
# How many documents one job of a bulk write touches, so that other writes get their turn in between.
CHUNK = 500


class SqliteStore(Store):
    """One SQLite file. Made by `open`; bound to the event loop that was running then."""

    def __init__(self, connect: Callable[..., apsw.Connection], name: str, time_limit_seconds: float) -> None:
        self._time_limit = time_limit_seconds
        self._tables: dict[str, TableRules] = {}
        self._reads: SimpleQueue[Any] = SimpleQueue()
        self._writes: SimpleQueue[Any] = SimpleQueue()
        self._readers = [Worker(f"{name}-reader", connect, self._reads) for _ in range(READERS)]
        self._writer = Writer(f"{name}-writer", partial(connect, writing=True), self._writes)
        self._gets = Coalescer(self._get_all)
        self._closed = False

    @classmethod
    async def open(
        cls,
        file: FilePath,
        *,
        time_limit_seconds: float = 20.0,
        lock_wait_seconds: float = 5.0,
        page_limit: int | None = None,
    ) -> SqliteStore:
        """Opens the file, and makes it and its folder where they are missing. Unavailable if that cannot be.

        `time_limit_seconds` bounds every single read (TimedOut), `lock_wait_seconds` the wait for another process's
        lock, `page_limit` the size of the file in pages of 4 KiB (Unavailable, both).
        """
        try:
            await asyncio.to_thread(file.parent.mkdir, parents=True, exist_ok=True)
        except OSError as error:
            raise Unavailable(f"{file.parent} is no folder to keep data in.", reason="STORAGE_UNAVAILABLE") from error
        options: dict[str, Any] = {"lock_wait_seconds": lock_wait_seconds, "page_limit": page_limit}
        store = cls(partial(connect, file, **options), file.stem, time_limit_seconds)
        try:
            await store._write(statements.nothing)
        except BaseException:
            await store.close()
            raise
        return store

    # -- tables ---------------------------------------------------------------------------------------------------

    async def ensure(self, table: Table) -> None:
        rules = TableRules.of(table)
        await self._write(lambda db: schema.ensure(db, rules))
        self._tables[table.name] = rules

    async def prune(self, table: Table) -> list[str]:
        rules = TableRules.of(table)
        dropped = await self._write(lambda db: schema.prune(db, rules))
        self._tables[table.name] = rules
        return dropped

    async def drop(self, table: str) -> None:
        await self._write(lambda db: schema.drop(db, table))
        self._tables.pop(table, None)

    async def rename(self, old: str, new: str) -> None:
        if old not in self._tables:
            raise NotFound(f"There is no table {old}.")
        rules = self._tables[old].renamed(new)
        await self._write(lambda db: schema.rename(db, old, rules))
        self._tables[new] = rules
        del self._tables[old]

    async def tables(self) -> list[str]:
        return await self._read(schema.names)

    # -- reading --------------------------------------------------------------------------------------------------

    async def get(self, table: str, id: str) -> Document | None:
        text = await self._gets.get(self._rules(table).name, id)
        return None if text is None else orjson.loads(text)

    async def get_json(self, table: str, id: str) -> bytes | None:
        text: str | None = await self._gets.get(self._rules(table).name, id)
        return None if text is None else text.encode()

    async def get_many(self, table: str, ids: Sequence[str]) -> list[Document | None]:
        rules = self._rules(table)
        texts = await self._read(lambda db: statements.texts(db, rules.name, ids))
        return [None if text is None else orjson.loads(text) for text in texts]

    async def find(
        self,
        table: str,
        where: Query = ALL,
        *,
        sort: Sort = (),
        limit: int | None = None,
        offset: int = 0,
        after: After | None = None,
        fields: Sequence[str] | None = None,
    ) -> list[Document]:
        search = statements.Search(self._rules(table), where, tuple(sort), limit, offset, after)
        docs = [orjson.loads(text) for text in await self._read(search.run)]
        if fields is None:
            return docs
        kept = {"id", *fields}
        return [{key: value for key, value in doc.items() if key in kept} for doc in docs]

    async def count(
        self, table: str, where: Query = ALL, limit: int | None = None, *, within: float | None = None
    ) -> int:
        rules = self._rules(table)
        return await self._read(lambda db: statements.count(db, rules, where, limit), within)

    async def explain(self, table: str, where: Query) -> Plan | None:
        rules = self._rules(table)
        return await self._read(lambda db: statements.explain(db, rules, where))

    async def scan(self, table: str, where: Query = ALL, *, batch: int = CHUNK) -> AsyncIterator[Document]:
        after: After | None = None
        while docs := await self.find(table, where, limit=batch, after=after):
            for doc in docs:
                yield doc
            if len(docs) < batch:
                return
            after = After((), docs[-1]["id"])

    # -- writing --------------------------------------------------------------------------------------------------

    async def insert(self, table: str, doc: Mapping[str, Any]) -> None:
        rules = self._rules(table)
        row = _row(rules.document(doc))
        await self._write(lambda db: statements.insert(db, rules, *row))

    async def insert_many(self, table: str, docs: Sequence[Mapping[str, Any]]) -> list[Duplicate | None]:
        rules = self._rules(table)
        rows = [_row(rules.document(doc)) for doc in docs]
        outcomes: list[Duplicate | None] = []
        for start in range(0, len(rows), CHUNK):
            chunk = rows[start : start + CHUNK]
            outcomes += await self._write(partial(statements.insert_each, rules=rules, rows=chunk))
        return outcomes

    async def update(
        self,
        table: str,
        id: str,
        change: Change,
        where: Query = ALL,
        *,
        returning: Literal["after", "before"] = "after",
    ) -> Document | None:
        rules = self._rules(table)
        change = rules.change(change)
        found = await self._write(lambda db: statements.update(db, rules, id, change, where))
        if found is None:
            return None
        before, after = found
        changed: Document = orjson.loads(after if returning == "after" else before)
        return changed

    async def update_many(self, table: str, where: Query, change: Change) -> int:
        rules = self._rules(table)
        change = rules.change(change)
        total, last = 0, ""
        while True:
            job = partial(statements.update_some, rules=rules, where=where, change=change, last=last, limit=CHUNK)
            ids = await self._write(job)
            total += len(ids)
            if len(ids) < CHUNK:
                return total
            last = ids[-1]

    async def replace(self, table: str, doc: Mapping[str, Any], where: Query = ALL) -> Document | None:
        rules = self._rules(table)
        row = _row(rules.document(doc))
        before = await self._write(lambda db: statements.replace(db, rules, *row, where))
        return None if before is None else orjson.loads(before)

    async def upsert(self, table: str, doc: Mapping[str, Any]) -> bool:
        rules = self._rules(table)
        row = _row(rules.document(doc))
        return await self._write(lambda db: statements.upsert(db, rules, *row))

    async def delete(self, table: str, id: str, where: Query = ALL) -> Document | None:
        rules = self._rules(table)
        before = await self._write(lambda db: statements.delete(db, rules, id, where))
        return None if before is None else orjson.loads(before)

    async def delete_many(self, table: str, where: Query) -> int:
        rules = self._rules(table)
        total = 0
        while deleted := await self._write(lambda db: statements.delete_some(db, rules, where, CHUNK)):
            total += deleted
        return total

    # -- the store itself -----------------------------------------------------------------------------------------

    async def ping(self) -> None:
        await self._write(statements.nothing)

    async def close(self) -> None:
        if self._closed:
            return
        self._closed = True
        for queue, workers in ((self._reads, self._readers), (self._writes, [self._writer])):
            for _ in workers:
                queue.put(None)
            for worker in workers:
                await worker.join()

    def _rules(self, table: str) -> TableRules:
        return known_table(self._tables, table)

    async def _get_all(self, table: str, ids: Sequence[str]) -> Sequence[str | None]:
        return await self._read(lambda db: statements.texts(db, table, ids))

    def _read(self, work: Callable[[apsw.Connection], T], within: float | None = None) -> asyncio.Future[T]:
        seconds = self._time_limit if within is None else min(within, self._time_limit)
        return self._submit(self._reads, lambda db: _limited(db, work, seconds))

    def _write(self, work: Callable[[apsw.Connection], T]) -> asyncio.Future[T]:
        return self._submit(self._writes, work)

    def _submit(self, queue: SimpleQueue[Any], work: Callable[[apsw.Connection], T]) -> asyncio.Future[T]:
        if self._closed:
            raise RuntimeError("this store is closed")
        future: asyncio.Future[T] = asyncio.get_running_loop().create_future()
        queue.put((work, future))
        return future


def _limited(db: apsw.Connection, work: Callable[[apsw.Connection], T], seconds: float) -> T:
    with time_limit(db, seconds):
        return work(db)


def _row(doc: Document) -> tuple[str, str]:
    text = orjson.dumps(doc)
    check_size(len(text))
    return doc["id"], text.decode()
