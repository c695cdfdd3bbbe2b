"""The MongoDB engine, on PyMongo's own asyncio client. An operation is atomic by being one document's: no transactions.

An acknowledged write is in the journal of a majority.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any, Literal

import orjson
from pymongo import AsyncMongoClient, ReturnDocument
from pymongo.errors import BulkWriteError, ConfigurationError, DuplicateKeyError, InvalidURI

from fastcms_common.errors import NotFound, Unavailable
from fastcms_common.storage import mongo_schema as schema
from fastcms_common.storage.coalescing import Coalescer
from fastcms_common.storage.mongo_changes import Step, adapted, update_of
from fastcms_common.storage.mongo_codec import decode, encode
from fastcms_common.storage.mongo_errors import DUPLICATE_KEY, Refused, duplicate, translated
from fastcms_common.storage.mongo_plans import plan_of
from fastcms_common.storage.mongo_query import Filter, filter_of
from fastcms_common.storage.mongo_search import Collection, Search
from fastcms_common.storage.predicate import at
from fastcms_common.storage.query import ALL, And, Query, eq, ne
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import After, Change, Duplicate, Plan, Sort, Store, Table, both, by_id, known_table
from fastcms_common.storage.values import Document, check_size

CHUNK = 500
# How often a change is tried again because the document moved under it.
TRIES = 20


class MongoStore(Store):
    """One database of a MongoDB server or cluster. Made by `open`; bound to the event loop of its first call."""

    def __init__(self, client: AsyncMongoClient[dict[str, Any]], name: str) -> None:
        self._client = client
        self._db = client[name]
        self._tables: dict[str, TableRules] = {}
        self._gets = Coalescer(self._get_all)

    @classmethod
    async def open(cls, url: str, name: str) -> MongoStore:
        """Makes the client; the server need not be up. ValueError for a URL that MongoDB does not understand.

        What the URL says of timeouts and concerns counts; else 2 s to find a server, 20 s for an answer, a majority and
        its journal for a write.
        """
        defaults: dict[str, Any] = {
            "serverSelectionTimeoutMS": 2_000,
            "connectTimeoutMS": 2_000,
            "socketTimeoutMS": 20_000,
            "waitQueueTimeoutMS": 5_000,
            "wTimeoutMS": 10_000,
            "w": "majority",
            "journal": True,
        }
        asked = url.lower()
        options = {key: value for key, value in defaults.items() if f"{key.lower()}=" not in asked.partition("?")[2]}
        try:
            client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(url, **options)
        except (ConfigurationError, InvalidURI) as error:
            raise ValueError(f"not a MongoDB URL: {error}") from error
        return cls(client, name)

    # -- tables ---------------------------------------------------------------------------------------------------

    async def ensure(self, table: Table) -> None:
        rules = TableRules.of(table)
        with translated(rules):
            await schema.ensure(self._db, rules)
        self._tables[table.name] = rules

    async def prune(self, table: Table) -> list[str]:
        rules = TableRules.of(table)
        with translated(rules):
            dropped = await schema.prune(self._db, rules)
        self._tables[table.name] = rules
        return dropped

    async def drop(self, table: str) -> None:
        with translated():
            await schema.drop(self._db, table)
        self._tables.pop(table, None)

    async def rename(self, old: str, new: str) -> None:
        if old not in self._tables:
            raise NotFound(f"There is no table {old}.")
        rules = self._tables[old].renamed(new)
        with translated():
            await schema.rename(self._db, old, rules)
        self._tables[new] = rules
        del self._tables[old]

    async def tables(self) -> list[str]:
        with translated():
            return await schema.names(self._db)

    # -- reading --------------------------------------------------------------------------------------------------

    async def get(self, table: str, id: str) -> Document | None:
        stored = await self._gets.get(self._rules(table).name, id)
        return None if stored is None else decode(stored)

    async def get_json(self, table: str, id: str) -> bytes | None:
        doc = await self.get(table, id)
        return None if doc is None else orjson.dumps(doc)

    async def get_many(self, table: str, ids: Sequence[str]) -> list[Document | None]:
        stored = await self._get_all(self._rules(table).name, ids)
        return [None if one is None else decode(one) for one in stored]

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
        rules = self._rules(table)
        search = Search(rules, where, tuple(sort), limit, offset, after, fields)
        with translated(rules):
            return [decode(stored) for stored in await search.run(self._collection(rules))]

    async def count(
        self, table: str, where: Query = ALL, limit: int | None = None, *, within: float | None = None
    ) -> int:
        rules = self._rules(table)
        if limit == 0:
            return 0
        bounds: dict[str, Any] = {} if limit is None else {"limit": limit}
        if within is not None:
            bounds["maxTimeMS"] = max(1, int(within * 1000))
        with translated(rules):
            return await self._collection(rules).count_documents(filter_of(where, rules.scalars), **bounds)

    async def explain(self, table: str, where: Query) -> Plan | None:
        rules = self._rules(table)
        asked = {"find": rules.name, "filter": filter_of(where, rules.scalars)}
        try:
            with translated(rules):
                return plan_of(await self._db.command({"explain": asked, "verbosity": "queryPlanner"}))
        except Refused:
            return None

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
        stored = _stored(rules.document(doc))
        try:
            with translated(rules):
                await self._collection(rules).insert_one(stored)
        except Duplicate as error:
            raise await self._named(rules, stored, error) from error

    async def insert_many(self, table: str, docs: Sequence[Mapping[str, Any]]) -> list[Duplicate | None]:
        rules = self._rules(table)
        stored = [_stored(rules.document(doc)) for doc in docs]
        outcomes: list[Duplicate | None] = [None] * len(stored)
        if not stored:
            return outcomes
        with translated(rules):
            try:
                await self._collection(rules).insert_many(stored, ordered=False)
            except BulkWriteError as error:
                for refusal in _refusals(error):
                    place = refusal["index"]
                    outcomes[place] = await self._named(rules, stored[place], duplicate(rules, refusal))
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
        return await self._update(rules, id, rules.change(change), where, returning)

    async def _update(
        self, rules: TableRules, id: str, change: Change, where: Query, returning: Literal["after", "before"]
    ) -> Document | None:
        collection, condition = self._collection(rules), filter_of(both(by_id(id), where), rules.scalars)
        step, refused = Step(change), None
        for _ in range(TRIES):
            try:
                with translated(rules):
                    stored = await _apply(collection, condition, step, returning)
            except Refused:
                with translated(rules):
                    present = await collection.find_one(condition)
                if present is None:
                    return None
                if present == refused:
                    raise
                step, refused = adapted(change, decode(present)), present
                continue
            if stored is not None or not step.conditions:
                return None if stored is None else decode(stored)
            # What was null when it was read is null no longer.
            step = Step(change)
        raise Unavailable("The document keeps changing.", reason="STORAGE_CONTENTION")

    async def update_many(self, table: str, where: Query, change: Change) -> int:
        """See `Store`. Each document on its own: a bulk update that is refused halfway cannot be taken up again."""
        rules = self._rules(table)
        change = rules.change(change)
        total = 0
        async for doc in self._ids(rules, where):
            total += await self._update(rules, doc["id"], change, where, "after") is not None
        return total

    async def replace(self, table: str, doc: Mapping[str, Any], where: Query = ALL) -> Document | None:
        rules = self._rules(table)
        stored = _stored(rules.document(doc))
        condition = filter_of(both(by_id(stored["_id"]), where), rules.scalars)
        with translated(rules):
            before = await self._collection(rules).find_one_and_replace(condition, stored)
        return None if before is None else decode(before)

    async def upsert(self, table: str, doc: Mapping[str, Any]) -> bool:
        rules = self._rules(table)
        stored = _stored(rules.document(doc))
        collection = self._collection(rules)
        with translated(rules):
            try:
                result = await collection.replace_one({"_id": stored["_id"]}, stored, upsert=True)
            except DuplicateKeyError as error:
                broken = await self._named(rules, stored, duplicate(rules, error.details or {}))
                if broken.index != "id":
                    raise broken from error
                # Two upserts of one new id: MongoDB lets both insert, and one of them lose. By now it is there.
                result = await collection.replace_one({"_id": stored["_id"]}, stored, upsert=True)
        return result.upserted_id is not None

    async def delete(self, table: str, id: str, where: Query = ALL) -> Document | None:
        rules = self._rules(table)
        condition = filter_of(both(by_id(id), where), rules.scalars)
        with translated(rules):
            before = await self._collection(rules).find_one_and_delete(condition)
        return None if before is None else decode(before)

    async def delete_many(self, table: str, where: Query) -> int:
        rules = self._rules(table)
        with translated(rules):
            return (await self._collection(rules).delete_many(filter_of(where, rules.scalars))).deleted_count

    # -- the store itself -----------------------------------------------------------------------------------------

    async def ping(self) -> None:
        with translated():
            await self._db.command("ping")

    async def close(self) -> None:
        await self._client.close()

    def _rules(self, table: str) -> TableRules:
        return known_table(self._tables, table)

    def _collection(self, rules: TableRules) -> Collection:
        return self._db[rules.name]

    async def _named(self, rules: TableRules, stored: Mapping[str, Any], error: Duplicate) -> Duplicate:
        """The error with the name of the index, looked for where the server does not say it."""
        if error.index:
            return error
        doc = decode(stored)
        for index in rules.indexes:
            values = [at(doc, path) for path in index.paths]
            if index.unique and None not in values:
                same = And(*(eq(path, value) for path, value in zip(index.paths, values, strict=True)))
                others = And(same, ne("id", doc["id"]))
                if await self._collection(rules).find_one(filter_of(others, rules.scalars), {"_id": 1}):
                    return Duplicate(index.name, [".".join(path) for path in index.paths])
        same_id = await self._collection(rules).find_one({"_id": doc["id"]}, {"_id": 1})
        return Duplicate("id", ["id"]) if same_id else error

    async def _get_all(self, table: str, ids: Sequence[str]) -> list[dict[str, Any] | None]:
        wanted: Filter = {"_id": ids[0] if len(ids) == 1 else {"$in": list(ids)}}
        with translated():
            stored = await self._db[table].find(wanted).to_list()
        found = {one["_id"]: one for one in stored}
        return [found.get(id) for id in ids]

    async def _ids(self, rules: TableRules, where: Query) -> AsyncIterator[Document]:
        after: After | None = None
        while docs := await self.find(rules.name, where, limit=CHUNK, after=after, fields=()):
            for doc in docs:
                yield doc
            after = After((), docs[-1]["id"])


async def _apply(
    collection: Collection, condition: Filter, step: Step, returning: Literal["after", "before"]
) -> dict[str, Any] | None:
    condition = {"$and": [condition, *step.conditions]} if step.conditions else condition
    update = update_of(step.change)
    if not update:
        return await collection.find_one(condition)
    which = ReturnDocument.AFTER if returning == "after" else ReturnDocument.BEFORE
    return await collection.find_one_and_update(condition, update, return_document=which)


def _refusals(error: BulkWriteError) -> list[dict[str, Any]]:
    """The documents that were not inserted for being duplicates; any other failure is raised as it is."""
    details = error.details or {}
    refusals: list[dict[str, Any]] = details.get("writeErrors", [])
    others = [refusal for refusal in refusals if refusal["code"] != DUPLICATE_KEY]
    if others or details.get("writeConcernErrors"):
        raise error
    return refusals


def _stored(doc: Document) -> dict[str, Any]:
    check_size(len(orjson.dumps(doc)))
    return encode(doc)
