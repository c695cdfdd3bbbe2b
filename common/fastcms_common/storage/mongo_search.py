"""A `Store.find` on MongoDB."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from pymongo.asynchronous.collection import AsyncCollection

from fastcms_common.errors import Invalid
from fastcms_common.storage import mongo_expressions as expressions
from fastcms_common.storage.mongo_codec import mongo_path
from fastcms_common.storage.mongo_query import filter_of
from fastcms_common.storage.plan import full_sort, ranges_after
from fastcms_common.storage.query import Query
from fastcms_common.storage.rules import TableRules
from fastcms_common.storage.store import After, Sort, both

Collection: TypeAlias = AsyncCollection[dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Search:
    """`run` gives the documents as they are stored."""

    rules: TableRules
    where: Query
    sort: Sort
    limit: int | None
    offset: int
    after: After | None
    fields: Sequence[str] | None

    async def run(self, collection: Collection) -> list[dict[str, Any]]:
        """All ranges, one after the other, until there is enough."""
        if self.after is None:
            return await self._part(collection, self.where, self.limit)
        if self.offset:
            raise Invalid.field("offset", "does not go together with a keyset position")
        found: list[dict[str, Any]] = []
        for stretch in ranges_after(self.sort, self.after, self.rules.scalars):
            left = None if self.limit is None else self.limit - len(found)
            if left == 0:
                break
            found += await self._part(collection, both(stretch, self.where), left)
        return found

    async def _part(self, collection: Collection, where: Query, limit: int | None) -> list[dict[str, Any]]:
        if limit == 0:
            return []
        keys = full_sort(self.sort)
        if not all(path in self.rules.scalars for path, _ in keys):
            cursor = await collection.aggregate(self._pipeline(where, limit), allowDiskUse=True)
            return await cursor.to_list()
        order = [(mongo_path(path), way) for path, way in keys]
        projection = None if self.fields is None else self._projection()
        condition = filter_of(where, self.rules.scalars)
        found = collection.find(condition, projection, sort=order, skip=self.offset, limit=limit or 0)
        return await found.allow_disk_use(True).to_list()

    def _pipeline(self, where: Query, limit: int | None) -> list[dict[str, Any]]:
        """MongoDB sorts an array by its least element and an object by its fields: where there may be such, the keys to
        sort by are computed. `%k…` is the name of no stored key."""
        keys = [(f"%k{number}", path, way) for number, (path, way) in enumerate(full_sort(self.sort))]
        computed = {name: expressions.sort_key(path, self.rules.scalars) for name, path, _ in keys}
        stages: list[dict[str, Any]] = [
            {"$match": filter_of(where, self.rules.scalars)},
            {"$addFields": computed},
            {"$sort": {name: way for name, _, way in keys}},
        ]
        if self.offset:
            stages.append({"$skip": self.offset})
        if limit is not None:
            stages.append({"$limit": limit})
        stages.append({"$project": dict.fromkeys(computed, 0)})
        return [*stages, {"$project": self._projection()}] if self.fields is not None else stages

    def _projection(self) -> dict[str, Any]:
        return {"_id": 1} | {mongo_path((key,)): 1 for key in self.fields or ()}
